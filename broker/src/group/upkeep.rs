//! What a coordinator does unasked: offsets that are too old go, and so do those in topics that
//! were deleted.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::KafkaStr;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::coordinator::Coordinator;
use crate::controller::image::Image;

/// Groups looked at before others have their turn.
const TOGETHER: usize = 64;

/// Goes on until the coordinator ends.
pub(super) async fn run(coordinator: &Coordinator) {
    let mut images = coordinator.node.images.subscribe();
    images.mark_unchanged();
    let mut seen = coordinator.node.images.load();
    let mut checked = Instant::now();
    while !coordinator.is_ended() {
        let every_ms = coordinator.settings().offsets_retention_check_interval_ms;
        let check_at = checked + Duration::from_millis(every_ms);
        tokio::select! {
            () = sleep_until(check_at) => {
                expire(coordinator).await;
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

async fn forget_deleted_topics(coordinator: &Coordinator, before: &Arc<Image>, now: &Arc<Image>) {
    if !before.topics.values().any(|topic| is_gone(before, now, &topic.name, topic.id)) {
        return;
    }
    let is_gone = |name: &KafkaStr, id: Uuid| is_gone(before, now, name, id);
    for some in coordinator.group_ids().chunks(TOGETHER) {
        for id in some {
            coordinator.tend(id, |groups, turn| groups.delete_topics(id, is_gone, turn));
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
