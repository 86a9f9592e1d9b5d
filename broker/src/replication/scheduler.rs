//! Which groups of a shard have something to do.
//!
//! Anyone on the shard marks a group; the driver takes all marked ones after the tasks now queued
//! have run, so that one turn's work is stepped together.

use std::cell::RefCell;
use std::collections::HashSet;

use thalweg_storage::votes::GroupId;
use tokio::sync::Notify;

/// The groups of one shard that wait to be stepped.
#[derive(Default)]
pub(crate) struct Scheduler {
    waiting: RefCell<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    order: Vec<GroupId>,
    marked: HashSet<GroupId>,
}

impl Scheduler {
    /// Marks a group. Marking twice steps once.
    pub(crate) fn schedule(&self, group: GroupId) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.marked.insert(group) {
            waiting.order.push(group);
            if waiting.order.len() == 1 {
                self.wake.notify_one();
            }
        }
    }

    /// Waits until at least one group is marked, lets everything that is ready now run first,
    /// and takes all marked groups in the order of marking.
    pub(crate) async fn take(&self) -> Vec<GroupId> {
        loop {
            self.wake.notified().await;
            tokio::task::yield_now().await;
            let mut waiting = self.waiting.borrow_mut();
            waiting.marked.clear();
            let order = std::mem::take(&mut waiting.order);
            if !order.is_empty() {
                return order;
            }
        }
    }
}
