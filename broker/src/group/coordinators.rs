//! The coordinators of one shard: one for each partition of `__consumer_offsets` that this shard
//! owns and leads. The shard tells this registry after every step of such a partition.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use uuid::Uuid;

use super::OFFSETS_TOPIC;
use super::coordinator::Coordinator;
use crate::partition::Partition;
use crate::shard::Shard;

/// The coordinators of a shard, by partition.
#[derive(Default)]
pub(crate) struct Coordinators {
    by_partition: RefCell<HashMap<i32, Rc<Coordinator>>>,
}

impl Coordinators {
    /// A partition was stepped: its coordinator follows its leadership.
    pub(crate) fn on_step(&self, shard: &Rc<Shard>, partition: &Rc<Partition>) {
        if partition.name != OFFSETS_TOPIC {
            return;
        }
        let serving = partition.serving_epoch();
        let mut coordinators = self.by_partition.borrow_mut();
        let index = partition.id.partition;
        if let Some(current) = coordinators.get(&index) {
            let same = current.partition.id == partition.id;
            if same && serving == Some(current.epoch()) {
                return;
            }
            current.end();
            coordinators.remove(&index);
        }
        if let Some(epoch) = serving {
            coordinators.insert(index, Coordinator::start(shard, partition, epoch));
        }
    }

    /// The topic is being deleted.
    pub(crate) fn on_purge(&self, topic: Uuid) {
        self.by_partition.borrow_mut().retain(|_, coordinator| {
            let stays = coordinator.partition.id.topic != topic;
            if !stays {
                coordinator.end();
            }
            stays
        });
    }

    /// The broker is stopping: a member that waits for others would keep it from ending.
    pub(crate) fn dismiss_waiting(&self) {
        for coordinator in self.by_partition.borrow().values() {
            coordinator.dismiss_waiting();
        }
    }

    /// The shard closes: nobody waits any longer.
    pub(crate) fn end_all(&self) {
        for (_, coordinator) in self.by_partition.borrow_mut().drain() {
            coordinator.end();
        }
    }

    /// The coordinator of a partition, if it is here.
    pub(crate) fn get(&self, partition: i32) -> Result<Rc<Coordinator>, ErrorCode> {
        let coordinators = self.by_partition.borrow();
        coordinators.get(&partition).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// All that are here.
    pub(crate) fn all(&self) -> Vec<Rc<Coordinator>> {
        self.by_partition.borrow().values().cloned().collect()
    }
}
