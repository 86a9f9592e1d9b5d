//! What a coordinator does unasked: offsets that are too old go, and so do those in topics that
//! were deleted, also if that was while nobody coordinated.
//!
//! A topic counts as deleted only if this broker's image had it and has it no more, or if it is
//! missing from an image that is known to be as new as the controller's: an image that lags behind
//! does not have the newest topics yet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::KafkaStr;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::coordinator::Coordinator;
use crate::controller::command::Command;
use crate::controller::image::Image;

/// Groups looked at before others have their turn.
const TOGETHER: usize = 64;

/// Goes on until the coordinator ends.
pub(super) async fn run(coordinator: &Coordinator) {
    let mut images = coordinator.node.images.subscribe();
    images.mark_unchanged();
    let mut seen = coordinator.node.images.load();
    let mut checked = Instant::now();
    let mut is_sure = forget_topics_deleted_before(coordinator).await;
    while !coordinator.is_ended() {
        let every_ms = coordinator.settings().offsets_retention_check_interval_ms;
        let check_at = checked + Duration::from_millis(every_ms);
        tokio::select! {
            () = sleep_until(check_at) => {
                expire(coordinator).await;
                is_sure = is_sure || forget_topics_deleted_before(coordinator).await;
                checked = Instant::now();
            }
            changed = images.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = coordinator.node.images.load();
                forget_deleted_topics(coordinator, &seen, &now).await;
                seen = now;
            }
        }
    }
}

async fn expire(coordinator: &Coordinator) {
    for some in coordinator.group_ids().chunks(TOGETHER) {
        for id in some {
            coordinator.tend(id, |groups, turn| groups.expire(id, turn));
        }
        tokio::task::yield_now().await;
    }
}

/// Whether the topic to which an offset was committed was deleted between the two images. An offset
/// without a topic id is of the topic that had the name. What was committed to one made anew under
/// the same name stays, even if this broker has not heard of that one yet.
fn is_gone(before: &Image, now: &Image, name: &str, committed_to: Uuid) -> bool {
    before.topic(name).is_some_and(|old| {
        let is_of_old = committed_to.is_nil() || committed_to == old.id;
        is_of_old && now.topic(name).is_none_or(|new| new.id != old.id)
    })
}

/// Forgets offsets in topics that were deleted before this broker began to coordinate. False if the
/// controller could not be asked.
async fn forget_topics_deleted_before(coordinator: &Coordinator) -> bool {
    let image = coordinator.node.images.load();
    let mut missing = coordinator.topics_with_offsets();
    missing.retain(|(name, id)| !is_there(&image, name, *id));
    if missing.is_empty() {
        return true;
    }
    let Some(shard) = coordinator.shard.upgrade() else { return true };
    if let Err(error) = shard.propose(Command::Barrier).await {
        tracing::debug!(%error, "offsets of topics that may be deleted are kept for now");
        return false;
    }
    let image = coordinator.node.images.load();
    let deleted: BTreeSet<(KafkaStr, Uuid)> =
        missing.into_iter().filter(|(name, id)| !is_there(&image, name, *id)).collect();
    if !deleted.is_empty() {
        let is_gone = |name: &KafkaStr, id: Uuid| deleted.contains(&(name.clone(), id));
        forget(coordinator, is_gone).await;
    }
    true
}

/// Whether there is the topic to which an offset was committed; without its id, one of its name.
fn is_there(image: &Image, name: &str, id: Uuid) -> bool {
    if id.is_nil() { image.topic(name).is_some() } else { image.topic_by_id(id).is_some() }
}

async fn forget_deleted_topics(coordinator: &Coordinator, before: &Arc<Image>, now: &Arc<Image>) {
    if !before.topics.values().any(|topic| is_gone(before, now, &topic.name, topic.id)) {
        return;
    }
    forget(coordinator, |name, id| is_gone(before, now, name, id)).await;
}

async fn forget(coordinator: &Coordinator, is_gone: impl Fn(&KafkaStr, Uuid) -> bool) {
    for some in coordinator.group_ids().chunks(TOGETHER) {
        for id in some {
            coordinator.tend(id, |groups, turn| groups.delete_topics(id, &is_gone, turn));
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::apply::apply;
    use crate::controller::command::Command;

    fn with_topic(image: &Image, id: u128) -> Image {
        let (name, id) = ("t".to_owned(), Uuid::from_u128(id));
        let create = Command::CreateTopic { name, id, partitions: vec![], configs: [].into() };
        apply(image, image.applied + 1, &create).0
    }

    #[test]
    fn a_topic_is_there_by_its_id_or_by_its_name_where_that_is_all_that_is_known() {
        let image = with_topic(&Image::default(), 1);
        assert!(is_there(&image, "t", Uuid::from_u128(1)) && is_there(&image, "t", Uuid::nil()));
        assert!(!is_there(&image, "t", Uuid::from_u128(2)) && !is_there(&image, "u", Uuid::nil()));
    }

    #[test]
    fn only_what_was_committed_to_the_deleted_topic_is_gone() {
        let (nothing, old) = (Image::default(), with_topic(&Image::default(), 1));
        let anew = with_topic(&nothing, 2);
        let [nil, of_old, of_new] = [0, 1, 2].map(Uuid::from_u128);
        for now in [&nothing, &anew] {
            assert!(is_gone(&old, now, "t", of_old) && is_gone(&old, now, "t", nil));
            // The new topic's creation may come with a later image.
            assert!(!is_gone(&old, now, "t", of_new));
        }
        assert!(!is_gone(&old, &old, "t", of_old), "it is still there");
        assert!(!is_gone(&nothing, &anew, "t", of_new), "it was never there before");
    }
}
