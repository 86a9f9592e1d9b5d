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

async fn forget_deleted_topics(coordinator: &Coordinator, before: &Arc<Image>, now: &Arc<Image>) {
    let was_deleted = |name: &KafkaStr| {
        let (old, new) = (before.topic(name), now.topic(name));
        old.is_some_and(|old| new.is_none_or(|new| new.id != old.id))
    };
    let names = before.topics.keys();
    if !names.into_iter().any(|name| was_deleted(&KafkaStr::copied_from(name))) {
        return;
    }
    // What was committed to a topic made anew under the same name stays, even if this broker has
    // not heard of that one yet.
    let is_gone = |name: &KafkaStr, id: Uuid| {
        let is_of_old = before.topic(name).is_some_and(|old| id.is_nil() || id == old.id);
        was_deleted(name) && is_of_old && now.topic(name).is_none_or(|new| new.id != id)
    };
    for some in coordinator.group_ids().chunks(TOGETHER) {
        for id in some {
            coordinator.tend(id, |groups, turn| groups.delete_topics(id, is_gone, turn));
        }
        tokio::task::yield_now().await;
    }
}
