//! What arrives from other brokers for this shard's groups.

use std::rc::Rc;

use thalweg_storage::votes::{GroupId, HardState};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::router::ShardId;
use super::{Shard, Slot};
use crate::controller::CONTROLLER_GROUP;
use crate::controller::leaders::Announced;
use crate::partition::Partition;
use crate::replication::outgoing::{Ask, GroupMessage};
use crate::replication::vote;

impl Shard {
    /// The shard of this broker that owns a group.
    pub(crate) fn owner_of(&self, group: GroupId) -> ShardId {
        match group {
            CONTROLLER_GROUP => ShardId(0),
            GroupId { topic, partition } => self.node.router.owner(topic, partition),
        }
    }

    /// Takes a message for one of this shard's groups. A group that is not open yet (or is unknown
    /// because this broker's image is older than the sender's) does not miss it: it is sent again.
    pub(crate) fn on_group_message(self: &Rc<Self>, message: GroupMessage) {
        if self.closing.get() {
            return;
        }
        let group = message.group;
        if group == CONTROLLER_GROUP {
            if let Some(controller) = self.controller.get() {
                controller.receive(message);
            }
            return;
        }
        let slot = self.partition(group.topic, group.partition);
        let Ok(partition) = slot else {
            debug!(?group, "a message for a group that is not here");
            return;
        };
        if let Some(message) = partition.receive(message) {
            self.install(&partition, *message);
        }
    }

    /// Takes entries that one of this shard's partitions has asked for.
    pub(crate) fn on_given(self: &Rc<Self>, given: GroupMessage) {
        if let Ok(partition) = self.partition(given.group.topic, given.group.partition) {
            partition.on_given(given.entries);
        }
    }

    /// Another broker's replica is damaged and asks for entries.
    pub(crate) fn on_asked(self: &Rc<Self>, from: i32, ask: Ask) {
        if let Ok(partition) = self.partition(ask.group.topic, ask.group.partition) {
            partition.on_asked(from, ask.low, ask.high);
        }
    }

    /// Begins a partition anew where its leader's log begins.
    fn install(self: &Rc<Self>, partition: &Rc<Partition>, message: GroupMessage) {
        let Some((index, term, data)) = message.snapshot() else { return };
        self.partitions.borrow_mut().insert(partition.id, Slot::Opening);
        let (shard, partition) = (Rc::clone(self), Rc::clone(partition));
        tokio::task::spawn_local(async move {
            let mut hard_state = partition.hard_state();
            let noted = partition.prepare_install(index, term, &data).await;
            if noted {
                hard_state.commit = index;
            }
            if shard.open_again(partition.id, hard_state).await && noted {
                // Now the log begins where the message says, and Raft finds nothing to install.
                shard.on_group_message(message);
            }
        });
    }

    /// Closes a partition and opens it again, because it has to begin from what it has saved.
    pub(super) fn reopen(self: &Rc<Self>, partition: &Rc<Partition>) {
        self.partitions.borrow_mut().insert(partition.id, Slot::Opening);
        let (shard, partition) = (Rc::clone(self), Rc::clone(partition));
        tokio::task::spawn_local(async move {
            let hard_state = partition.hard_state();
            if let Err(error) = partition.close().await {
                warn!(topic = %partition.name, partition = partition.id.partition, %error, "closing");
            }
            shard.open_again(partition.id, hard_state).await;
        });
    }

    /// Opens a partition that was closed, unless it is no longer this broker's.
    async fn open_again(self: &Rc<Self>, id: GroupId, hard_state: HardState) -> bool {
        // A vote of the group that was closed may be on its way to the disk; the group that comes
        // takes it for durable.
        vote::save(&self.env.votes, id, hard_state).await;
        self.hard_states.borrow_mut().insert(id, hard_state);
        let Some(open) = self.opening(id) else {
            self.partitions.borrow_mut().remove(&id);
            self.opened.notify_waiters();
            return false;
        };
        Rc::clone(self).open_partition(open, Rc::new(Semaphore::new(1))).await;
        true
    }

    /// The connection to a broker broke.
    pub(crate) fn on_unreachable(&self, node: i32) {
        for partition in self.open_partitions() {
            partition.on_unreachable(node);
        }
        if let Some(controller) = self.controller.get() {
            controller.on_unreachable(node);
        }
    }

    /// The partitions that this shard leads.
    pub(crate) fn led(&self) -> Vec<(GroupId, Announced)> {
        let open = self.open_partitions();
        let led = open.iter().filter_map(|it| Some((it.id, it.announcement()?)));
        led.collect()
    }
}
