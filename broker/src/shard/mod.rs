//! A shard: one thread, its event loop and ring, and the partitions it owns.
//!
//! Only the owning shard ever touches a partition, so partitions need no locks. Which partitions
//! those are follows from the cluster image: `reconcile` opens what the image gives this broker,
//! and removes data only for topics that the image names as deleted.

mod reconcile;
pub(crate) mod router;
pub(crate) mod runtime;
pub(crate) mod space;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use thalweg_storage::votes::{GroupId, HardState};
use tokio::sync::Notify;
use uuid::Uuid;

use self::router::ShardId;
use crate::controller::{CONTROLLER_GROUP, Controller};
use crate::group::coordinators::Coordinators;
use crate::handlers::fetch_session::FetchSessions;
use crate::node::Node;
use crate::partition::error::PartitionError;
use crate::partition::{Environment, Partition};
use crate::replication::config::TICK;

/// One shard of this broker.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) node: Arc<Node>,
    pub(crate) env: Rc<Environment>,
    /// Fetch sessions of the connections on this shard (KIP-227).
    pub(crate) sessions: RefCell<FetchSessions>,
    /// Coordinators of the groups whose partitions this shard leads.
    pub(crate) groups: Coordinators,
    /// Producer ids taken from the controller and not handed out yet.
    pub(crate) producer_ids: RefCell<std::ops::Range<i64>>,
    /// On shard 0 only.
    controller: OnceCell<Rc<Controller>>,
    partitions: RefCell<HashMap<GroupId, Slot>>,
    /// What the votes files knew of groups that are not opened yet.
    hard_states: RefCell<HashMap<GroupId, HardState>>,
    opened: Notify,
    closing: Cell<bool>,
}

/// Where a partition of the image stands on this shard.
enum Slot {
    Opening,
    Open(Rc<Partition>),
    /// It could not be opened; the log says why. Not tried again before a restart.
    Failed,
}

impl Shard {
    /// A shard without partitions.
    pub(crate) fn new(
        id: ShardId,
        node: Arc<Node>,
        env: Rc<Environment>,
        hard_states: HashMap<GroupId, HardState>,
    ) -> Rc<Shard> {
        let sessions = FetchSessions::new(node.config().kafka.fetch_sessions_max);
        Rc::new(Shard {
            id,
            node,
            env,
            sessions: RefCell::new(sessions),
            groups: Coordinators::default(),
            producer_ids: RefCell::new(0..0),
            controller: OnceCell::new(),
            partitions: RefCell::default(),
            hard_states: RefCell::new(hard_states),
            opened: Notify::new(),
            closing: Cell::new(false),
        })
    }

    /// The open partition, if this shard owns it. A partition still being opened has no leader.
    pub(crate) fn partition(
        &self,
        topic: Uuid,
        partition: i32,
    ) -> Result<Rc<Partition>, PartitionError> {
        match self.partitions.borrow().get(&GroupId { topic, partition }) {
            Some(Slot::Open(partition)) => Ok(Rc::clone(partition)),
            Some(Slot::Opening | Slot::Failed) | None => Err(PartitionError::NotLeader),
        }
    }

    /// The controller, on the shard that has it.
    ///
    /// # Panics
    /// On any other shard than 0.
    pub(crate) fn controller(&self) -> Rc<Controller> {
        Rc::clone(
            self.controller.get().unwrap_or_else(|| panic!("{:?} has no controller", self.id)),
        )
    }

    /// Gives shard 0 its controller.
    fn set_controller(&self, controller: Rc<Controller>) {
        assert!(self.controller.set(controller).is_ok(), "a shard has one controller");
    }

    /// All open partitions.
    pub(crate) fn open_partitions(&self) -> Vec<Rc<Partition>> {
        let partitions = self.partitions.borrow();
        let open = partitions.values().filter_map(|slot| match slot {
            Slot::Open(partition) => Some(Rc::clone(partition)),
            Slot::Opening | Slot::Failed => None,
        });
        open.collect()
    }

    /// Where a partition's files are.
    fn partition_dir(&self, id: GroupId) -> PathBuf {
        self.topic_dir(id.topic).join(id.partition.to_string())
    }

    fn topic_dir(&self, topic: Uuid) -> PathBuf {
        self.node.data_dir.join("topics").join(topic.to_string())
    }

    /// Steps marked groups for ever: everything one turn of the event loop marked, together.
    async fn drive(self: Rc<Self>) {
        loop {
            for id in self.env.scheduler.take().await {
                if id == CONTROLLER_GROUP {
                    if let Some(controller) = self.controller.get() {
                        controller.step();
                    }
                } else if let Ok(partition) = self.partition(id.topic, id.partition) {
                    partition.step();
                    self.groups.on_step(&self.node, &partition);
                }
            }
        }
    }

    /// Moves the clocks of the groups that have someone to wait for.
    async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for partition in self.open_partitions() {
                partition.tick();
            }
        }
    }

    /// Applies retention, at the interval the configuration says.
    async fn retain(self: Rc<Self>) {
        loop {
            let config = self.node.config();
            let every = config.kafka.retention_check_interval_ms.max(1);
            tokio::time::sleep(std::time::Duration::from_millis(every)).await;
            let expiration = config.kafka.producer_id_expiration_ms;
            let expiration_ms = i64::try_from(expiration).unwrap_or(i64::MAX);
            for partition in self.open_partitions() {
                partition.retain(expiration_ms).await;
            }
        }
    }

    /// Closes every partition: flushes, snapshots, and leaves files that need no verification.
    async fn close(self: Rc<Self>) {
        self.closing.set(true);
        self.groups.end_all();
        let partitions = self.open_partitions();
        let mut hard_states: Vec<_> =
            partitions.iter().map(|partition| (partition.id, partition.hard_state())).collect();
        let controller = self.controller.get();
        hard_states.extend(controller.map(|group| (CONTROLLER_GROUP, group.hard_state())));
        for closing in partitions.chunks(reconcile::OPENING_MAX) {
            let closed = closing.iter().map(|partition| async move {
                if let Err(error) = partition.close().await {
                    tracing::warn!(topic = %partition.name, partition = partition.id.partition, %error, "closing");
                }
            });
            futures_util::future::join_all(closed).await;
        }
        if let Some(controller) = controller {
            controller.close().await;
        }
        // Last, so that a commit index never claims more than the closed logs hold.
        if let Err(error) = self.env.votes.save(hard_states).await {
            tracing::warn!(%error, "saving the groups' state at shutdown");
        }
    }
}
