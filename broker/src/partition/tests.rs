//! Replicas of one partition on several brokers in one event loop: their groups talk through the
//! wire's form over links that can be cut, on simulated disks and a clock that jumps.

mod heal;
mod leadership;
mod members;
mod replicas;
mod scenarios;
mod storm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_storage::disk::Disk;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::shared::{LogShared, SharedConfig};
use thalweg_storage::votes::{GroupId, HardState, Votes, VotesConfig};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::append::Acks;
use super::error::PartitionError;
use super::{Environment, OpenPartition, Partition};
use crate::admin::metrics::{Metrics, MetricsOptions};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::controller::assignment::Assignment;
use crate::controller::command::Command;
use crate::replication::catch_up::CatchUp;
use crate::replication::config::TICK;
use crate::replication::outgoing::{GroupMessage, Outgoing};
use crate::replication::scheduler::Scheduler;
use crate::replication::wire;
use crate::shard::space::SpaceState;
use crate::topic_config::TopicSettings;

const ID: GroupId = GroupId { topic: Uuid::from_u128(7), partition: 0 };

/// Longer than any election should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with a clock that jumps over waiting.
pub(crate) fn simulate<F: Future<Output = ()>>(test: F) {
    crate::abort::simulate(|_why| {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

/// The replicas of one partition, and the links between them.
struct World {
    assignment: RefCell<Assignment>,
    configs: BTreeMap<String, String>,
    replicas: RefCell<BTreeMap<i32, Replica>>,
    disks: RefCell<BTreeMap<i32, Rc<SimDisk>>>,
    cut: RefCell<HashSet<(i32, i32)>>,
    /// Whether leadership goes back to the first replica.
    balance: Cell<bool>,
}

/// One broker's part of it.
struct Replica {
    partition: Rc<Partition>,
    tasks: Vec<AbortHandle>,
}

impl World {
    async fn new(nodes: &[i32], configs: &[(&str, &str)]) -> Rc<World> {
        let world = Rc::new(World {
            assignment: RefCell::new(Assignment::new(nodes.to_vec())),
            configs: configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            replicas: RefCell::default(),
            disks: RefCell::default(),
            cut: RefCell::default(),
            balance: Cell::new(false),
        });
        for node in nodes {
            world.start(*node).await;
        }
        world
    }

    /// Starts a replica on its disk.
    async fn start(self: &Rc<Self>, node: i32) {
        let disk = {
            let mut disks = self.disks.borrow_mut();
            let disk = disks
                .entry(node)
                .or_insert_with(|| Rc::new(SimDisk::new(node.unsigned_abs().into())));
            // A disk that lost its power is used through a new handle.
            *disk = Rc::new(disk.reopen());
            Rc::clone(disk)
        };
        let (env, hard_state) = environment(node, disk).await;
        let replica = self.open(&env, hard_state).await;
        self.replicas.borrow_mut().insert(node, replica);
    }

    async fn open(self: &Rc<Self>, env: &Rc<Environment>, hard_state: HardState) -> Replica {
        let assignment = self.assignment.borrow().clone();
        let config = BrokerConfig::default();
        let settings = TopicSettings::resolve(&config, &self.configs).expect("valid settings");
        let partition = Partition::open(
            env,
            OpenPartition {
                id: ID,
                name: "simulated".to_owned(),
                dir: PathBuf::from("/data/partition"),
                assignment,
                hard_state,
                settings: Arc::new(settings),
            },
        )
        .await
        .expect("the partition opens");
        let driving = Rc::clone(self).drive(Rc::clone(env), Rc::clone(&partition));
        let (ticking, world) = (Rc::clone(&partition), Rc::clone(self));
        let ticking = async move {
            for turn in 0_u32.. {
                sleep(TICK).await;
                ticking.tick();
                if turn % 10 == 0 {
                    ticking.look_for_damage();
                }
                if turn % 10 == 0
                    && let Some(finished) = ticking.pursue_assignment(world.balance.get())
                {
                    world.finish(finished);
                }
            }
        };
        let tasks = vec![spawn_local(driving).abort_handle(), spawn_local(ticking).abort_handle()];
        Replica { partition, tasks }
    }

    async fn drive(self: Rc<Self>, env: Rc<Environment>, partition: Rc<Partition>) {
        loop {
            env.scheduler.take().await;
            if !partition.step() {
                spawn_local(Rc::clone(&self).reopen(env.node));
            }
            for (to, ask) in env.outgoing.take_asked() {
                if !self.cut.borrow().contains(&(env.node, to))
                    && let Some(asked) = self.partition(to)
                {
                    asked.on_asked(env.node, ask.low, ask.high);
                }
            }
            for (to, given) in env.outgoing.take_given() {
                if !self.cut.borrow().contains(&(env.node, to))
                    && let Some(partition) = self.partition(to)
                {
                    let bytes = Bytes::from(wire::encode(&[given]).concat());
                    for given in wire::decode(bytes).expect("what was encoded can be decoded") {
                        partition.on_given(given.entries);
                    }
                }
            }
            for (to, message) in env.outgoing.take() {
                // Longer than a turn: messages of several turns are under way at once.
                let (world, from) = (Rc::clone(&self), env.node);
                spawn_local(async move {
                    sleep(Duration::from_millis(1)).await;
                    world.deliver(from, to, &message).await;
                });
            }
        }
    }

    async fn deliver(self: &Rc<Self>, from: i32, to: i32, message: &GroupMessage) {
        if self.cut.borrow().contains(&(from, to)) {
            return;
        }
        let bytes = Bytes::from(wire::encode(std::slice::from_ref(message)).concat());
        let Some(partition) = self.partition(to) else { return };
        for message in wire::decode(bytes).expect("what was encoded can be decoded") {
            if let Some(message) = partition.receive(message) {
                self.install(to, *message).await;
            }
        }
    }

    /// As a shard does it.
    async fn reopen(self: Rc<Self>, node: i32) {
        let Some(replica) = self.replicas.borrow_mut().remove(&node) else { return };
        replica.tasks.iter().for_each(AbortHandle::abort);
        let hard_state = replica.partition.hard_state();
        replica.partition.close().await.expect("it closes");
        let env = Rc::clone(&replica.partition.env);
        let replica = self.open(&env, hard_state).await;
        self.replicas.borrow_mut().insert(node, replica);
    }

    /// As a shard does it: close, note down, open again, and let Raft see the message.
    async fn install(self: &Rc<Self>, node: i32, message: GroupMessage) {
        let Some(replica) = self.replicas.borrow_mut().remove(&node) else { return };
        replica.tasks.iter().for_each(AbortHandle::abort);
        let (index, term, data) = message.snapshot().expect("a snapshot");
        let hard_state = HardState { commit: index, ..replica.partition.hard_state() };
        let env = Rc::clone(&replica.partition.env);
        assert!(replica.partition.prepare_install(index, term, &data).await);
        let replica = self.open(&env, hard_state).await;
        let partition = Rc::clone(&replica.partition);
        self.replicas.borrow_mut().insert(node, replica);
        assert!(partition.receive(message).is_none(), "installed once");
    }

    /// Sets where the partition is to live, as the image of the cluster would, unless it is moving
    /// already.
    fn retarget(&self, target: &[i32]) {
        let mut assignment = self.assignment.borrow_mut();
        if assignment.target.is_some() {
            return;
        }
        assignment.begin(target.to_vec(), 1);
        for replica in self.replicas.borrow().values() {
            replica.partition.set_assignment(&assignment);
        }
    }

    /// What the controller does when a leader says that a reassignment is done.
    fn finish(&self, finished: Command) {
        let Command::FinishReassignment { replicas, .. } = finished else {
            panic!("a partition's leader asks for {finished:?}");
        };
        let mut assignment = self.assignment.borrow_mut();
        if assignment.target.as_ref() == Some(&replicas) {
            let origin = assignment.initial_voters().to_vec();
            *assignment = Assignment { origin: Some(origin), ..Assignment::new(replicas) };
        }
        for replica in self.replicas.borrow().values() {
            replica.partition.set_assignment(&assignment);
        }
    }

    /// Takes a replica's process away; its disk keeps what was flushed, and what the seed says of
    /// the rest.
    fn power_cut(&self, node: i32, seed: u64) {
        let replica = self.replicas.borrow_mut().remove(&node);
        for task in replica.iter().flat_map(|replica| &replica.tasks) {
            task.abort();
        }
        if let Some(disk) = self.disks.borrow().get(&node) {
            disk.power_cut(seed);
        }
    }

    fn partition(&self, node: i32) -> Option<Rc<Partition>> {
        self.replicas.borrow().get(&node).map(|replica| Rc::clone(&replica.partition))
    }

    /// Cuts a broker off from all others, both ways.
    fn isolate(&self, node: i32) {
        for other in 0..10 {
            self.cut.borrow_mut().extend([(node, other), (other, node)]);
        }
    }

    fn heal(&self) {
        self.cut.borrow_mut().clear();
    }

    /// The replica that serves, among those that `may`.
    async fn leader_among(&self, may: impl Fn(i32) -> bool) -> Rc<Partition> {
        let found = async {
            loop {
                let leader = self
                    .replicas
                    .borrow()
                    .iter()
                    .filter(|(node, replica)| may(**node) && replica.partition.is_serving())
                    .map(|(_, replica)| Rc::clone(&replica.partition))
                    .max_by_key(|partition| partition.serving_epoch());
                if let Some(leader) = leader {
                    return leader;
                }
                sleep(TICK).await;
            }
        };
        timeout(PATIENCE, found).await.expect("somebody is elected")
    }

    async fn leader(&self) -> Rc<Partition> {
        self.leader_among(|_| true).await
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) {
        let so = async {
            while !is_so(self) {
                sleep(TICK).await;
            }
        };
        if timeout(PATIENCE, so).await.is_err() {
            let replicas = self.replicas.borrow();
            let states: Vec<_> = replicas
                .iter()
                .map(|(node, replica)| {
                    let partition = &replica.partition;
                    (
                        *node,
                        partition.serving_epoch(),
                        partition.high_watermark(),
                        partition.log.last_index(),
                        partition.group.borrow().members().clone(),
                        partition.group.borrow().others(),
                    )
                })
                .collect();
            panic!("never: {what}; {states:?}");
        }
    }

    /// Waits until all replicas have everything that the leader has committed.
    async fn converge(&self) {
        self.until("all replicas are equal", |world| {
            let replicas = world.replicas.borrow();
            let mut ends = replicas
                .values()
                .map(|it| (it.partition.high_watermark(), it.partition.log.last_index()));
            let first = ends.next();
            ends.all(|end| Some(end) == first)
                && replicas.values().any(|it| it.partition.is_serving())
        })
        .await;
    }
}

/// What a shard gives its partitions, on a simulated disk.
pub(crate) async fn environment(node: i32, disk: Rc<SimDisk>) -> (Rc<Environment>, HardState) {
    let disk: Rc<dyn Disk> = disk;
    let dir = PathBuf::from("/data/shard-0");
    disk.create_dir_all(&dir).await.expect("room");
    let (votes, mut states) =
        Votes::open(Rc::clone(&disk), &dir, VotesConfig::default()).await.expect("votes open");
    let options = MetricsOptions { shards: 1, topics_max: 1, started_at: 0.0 };
    let env = Environment {
        node,
        clock: Clock::system(),
        disk,
        shared: Rc::new(LogShared::new(SharedConfig::default())),
        votes: Rc::new(votes),
        scheduler: Rc::new(Scheduler::default()),
        outgoing: Rc::new(Outgoing::default()),
        catch_up: CatchUp::new(),
        leaders: Arc::default(),
        metrics: Metrics::new(&options).shard(0),
        space: Arc::new(SpaceState::new(1)),
    };
    (Rc::new(env), states.remove(&ID).unwrap_or_default())
}

/// A batch of one record.
fn batch(value: &str) -> Bytes {
    batch_of(value, &BatchOptions::default())
}

fn batch_of(value: &str, options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(256);
    builder.append(1, None, Some(value.as_bytes()), &[]).expect("it fits");
    builder.finish(options).expect("a batch")
}

impl Partition {
    /// Appends one record and waits for the majority.
    async fn write(&self, value: &str) -> Result<i64, PartitionError> {
        let mut ticket = self.append(batch(value), Acks::All)?;
        match timeout(PATIENCE, ticket.done()).await {
            Ok(done) => done.map(|()| ticket.base_offset),
            Err(_late) => Err(PartitionError::TimedOut),
        }
    }

    /// The bytes of all committed entries, internal ones too.
    async fn all_entries(&self) -> Vec<thalweg_storage::entry::Entry> {
        let mut all = Vec::new();
        let mut index = self.log.first_index();
        while index <= self.state.borrow().commit {
            let to = self.state.borrow().commit + 1;
            let entries = self.log.entries(index, to, 1 << 20).await.expect("readable");
            index += entries.len() as u64;
            all.extend(entries);
        }
        all
    }
}
