//! A shard: one thread, its event loop and ring, and the partitions it owns.
//!
//! Only the owning shard ever touches a partition, so partitions need no locks. Which partitions
//! those are follows from the cluster image: `reconcile` opens what the image gives this broker,
//! and removes data only for topics that the image names as deleted.

mod groups;
mod reconcile;
pub(crate) mod router;
pub(crate) mod runtime;
pub(crate) mod space;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use thalweg_storage::votes::{GroupId, HardState};
use tokio::sync::Notify;
use uuid::Uuid;

use self::router::ShardId;
use crate::controller::command::{Command, Outcome};
use crate::controller::{CONTROLLER_GROUP, Controller, ProposeError};
use crate::group::coordinators::Coordinators;
use crate::handlers::fetch_session::FetchSessions;
use crate::node::Node;
use crate::node_rpc::network::Network;
use crate::node_rpc::transport::Transport;
use crate::partition::error::PartitionError;
use crate::partition::{Environment, Partition};
use crate::replication::config::TICK;

/// Ticks between two looks at what is to be done about members: half a second.
const LOOK_EVERY_TICKS: u32 = 10;
/// Bytes verified at a time.
const SCRUB_PIECE_BYTES: usize = 1 << 20;
/// How long to rest when everything has been verified.
const SCRUB_ROUND_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);
/// How often a shard that hands over looks whether that is done.
const HAND_OVER_POLL: std::time::Duration = std::time::Duration::from_millis(10);

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
    /// The ways to other brokers.
    pub(crate) transport: Transport,
    /// On shard 0 only.
    controller: OnceCell<Rc<Controller>>,
    partitions: RefCell<HashMap<GroupId, Slot>>,
    /// What the votes files knew of groups that are not opened yet.
    hard_states: RefCell<HashMap<GroupId, HardState>>,
    opened: Notify,
    /// Replicas that were moved away and are being removed.
    purging: RefCell<HashSet<GroupId>>,
    closing: Cell<bool>,
}

/// Where a partition of the image stands on this shard.
enum Slot {
    Opening,
    Open(Rc<Partition>),
    /// It could not be opened; the log says why. Tried again by itself if the disk was full,
    /// otherwise not before a restart.
    Failed,
}

impl Shard {
    /// A shard without partitions.
    pub(crate) fn new(
        id: ShardId,
        node: Arc<Node>,
        env: Rc<Environment>,
        hard_states: HashMap<GroupId, HardState>,
        network: Rc<dyn Network>,
    ) -> Rc<Shard> {
        let sessions = FetchSessions::new(node.config().kafka.fetch_sessions_max);
        Rc::new(Shard {
            id,
            node,
            env,
            sessions: RefCell::new(sessions),
            groups: Coordinators::default(),
            producer_ids: RefCell::new(0..0),
            transport: Transport::new(network),
            controller: OnceCell::new(),
            partitions: RefCell::default(),
            hard_states: RefCell::new(hard_states),
            opened: Notify::new(),
            purging: RefCell::default(),
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

    /// The controller, if this shard has it and it is open.
    pub(crate) fn controller_if_open(&self) -> Option<Rc<Controller>> {
        self.controller.get().cloned()
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
                    let goes_on = partition.step();
                    self.groups.on_step(&self, &partition);
                    if !goes_on {
                        self.reopen(&partition);
                    }
                }
            }
            self.transport.flush(&self);
        }
    }

    /// Moves the clocks of the groups that have someone to wait for, and looks now and then what
    /// is to be done about their members.
    async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        for turn in 0_u32.. {
            ticks.tick().await;
            let partitions = self.open_partitions();
            for partition in &partitions {
                partition.tick();
            }
            if let Some(controller) = self.controller.get() {
                controller.tick();
            }
            if turn % LOOK_EVERY_TICKS == 0 {
                self.pursue_assignments(&partitions);
            }
        }
    }

    /// Lets every partition that leads take its next step towards its assignment.
    fn pursue_assignments(self: &Rc<Self>, partitions: &[Rc<Partition>]) {
        partitions.iter().for_each(Partition::look_for_damage);
        if partitions.iter().any(|partition| partition.is_serving()) {
            self.transport.keep_connected(self);
        }
        let config = self.node.config();
        let rate = config.kafka.leader_replication_throttled_rate;
        self.env.catch_up.set_rate(match rate {
            u64::MAX => rate,
            rate => rate / self.node.router.shards().count().max(1) as u64,
        });
        let balance = config.kafka.auto_leader_rebalance;
        for command in
            partitions.iter().filter_map(|partition| partition.pursue_assignment(balance))
        {
            let shard = Rc::clone(self);
            tokio::task::spawn_local(async move {
                if let Err(error) = shard.propose(command).await {
                    tracing::warn!(%error, "telling the controller; trying again");
                }
            });
        }
    }

    /// Has the controller carry out a command, from any shard.
    pub(crate) async fn propose(
        self: &Rc<Self>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let proposed = self.node.router.run(self, ShardId(0), move |shard| {
            let shard = Rc::clone(shard);
            async move { shard.propose_anywhere(&command).await }
        });
        proposed.await.unwrap_or(Err(ProposeError::OutcomeUnknown))
    }

    /// Hands the leadership of every group to another broker where there is one, and waits until
    /// that is done or `limit` has passed.
    pub(crate) async fn hand_over(&self, limit: std::time::Duration) {
        let mut waiting = self.open_partitions();
        let all = async {
            loop {
                waiting.retain(|partition| partition.hand_over());
                let controller = self.controller.get().is_some_and(|it| it.hand_over());
                if waiting.is_empty() && !controller {
                    return;
                }
                tokio::time::sleep(HAND_OVER_POLL).await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("some leaderships could not be handed over in time");
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

    /// Verifies everything on disk, over and over, at no more than the configured rate.
    async fn scrub(self: Rc<Self>) {
        loop {
            for partition in self.open_partitions() {
                while partition.scrub(SCRUB_PIECE_BYTES).await {
                    let rate = self.node.config().limits.scrub_bytes_per_second.max(1);
                    let micros = u64::try_from(SCRUB_PIECE_BYTES).unwrap_or(0) * 1_000_000 / rate;
                    tokio::time::sleep(std::time::Duration::from_micros(micros)).await;
                }
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(SCRUB_ROUND_PAUSE).await;
        }
    }

    /// Closes every partition: flushes, snapshots, and leaves files that need no verification.
    async fn close(self: Rc<Self>) {
        self.closing.set(true);
        self.groups.end_all();
        let partitions = self.open_partitions();
        let mut hard_states: Vec<_> =
            partitions.iter().map(|partition| (partition.id, partition.hard_state())).collect();
        for closing in partitions.chunks(reconcile::OPENING_MAX) {
            let closed = closing.iter().map(|partition| async move {
                if let Err(error) = partition.close().await {
                    tracing::warn!(topic = %partition.name, partition = partition.id.partition, %error, "closing");
                }
            });
            futures_util::future::join_all(closed).await;
        }
        if let Some(controller) = self.controller.get() {
            controller.close().await;
            hard_states.push((CONTROLLER_GROUP, controller.hard_state()));
        }
        // Last, so that a commit index never claims more than the closed logs hold.
        if let Err(error) = self.env.votes.save(hard_states).await {
            tracing::warn!(%error, "saving the groups' state at shutdown");
        }
    }
}
