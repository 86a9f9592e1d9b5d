//! A shard's thread: its event loop, disk and groups, from start to clean end.
//!
//! Called once by the broker for each shard. Votes are open before any partition is, partitions
//! before connections are accepted, and logs are closed after the last connection has gone.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thalweg_storage::disk::{Disk, DiskStats, StdDisk, UringDisk};
use thalweg_storage::shared::{LogShared, SharedConfig};
use thalweg_storage::votes::{
    GroupId, HardState, Votes, VotesConfig, VotesOpenError, VotesSaveError,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tracing::{info, warn};

use super::Shard;
use super::router::{Job, ShardId};
use super::space;
use crate::admin::metrics::{LogFigures, Metrics};
use crate::config::{BrokerConfig, DiskBackend};
use crate::controller::{CONTROLLER_GROUP, Controller, OpenControllerError};
use crate::node::Node;
use crate::node_rpc::accept;
use crate::node_rpc::network::{Network, TcpNetwork};
use crate::partition::Environment;
use crate::replication::catch_up::CatchUp;
use crate::replication::outgoing::Outgoing;
use crate::replication::scheduler::Scheduler;
use crate::server::listener;

/// Operations one shard may have in its ring at a time; more wait in a queue.
const RING_ENTRIES: u32 = 1024;
/// Threads for what does not go through the ring.
const POOL_THREADS: usize = 2;
/// Threads when nothing goes through a ring.
const STD_POOL_THREADS: usize = 8;
/// How often the gauges are brought up to date.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often a draining shard looks whether the last connection has gone.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// Why a shard could not start.
#[derive(Debug, Error)]
pub(crate) enum StartShardError {
    #[error("cannot start the shard's event loop: {0}")]
    Runtime(std::io::Error),
    #[error("cannot open the disk: {0}; try --disk std")]
    Disk(std::io::Error),
    #[error(transparent)]
    Votes(#[from] VotesOpenError),
    #[error(transparent)]
    Controller(#[from] OpenControllerError),
    #[error("cannot prepare the data directory: {0}")]
    DataDir(std::io::Error),
    #[error(transparent)]
    SaveVotes(#[from] VotesSaveError),
    #[error("a shard stopped while the broker was starting")]
    Panicked,
}

/// What a shard is started with.
pub(crate) struct ShardStart {
    pub(crate) id: ShardId,
    pub(crate) node: Arc<Node>,
    pub(crate) metrics: Metrics,
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// What all votes files knew of the groups this shard owns.
    pub(crate) hard_states: HashMap<GroupId, HardState>,
    /// Told when the shard's part of the cluster image can be read (on shard 0: when there is one).
    pub(crate) prepared: oneshot::Sender<Result<&'static str, StartShardError>>,
    /// Told when every partition of the first image is open.
    pub(crate) ready: oneshot::Sender<()>,
    /// Resolves when connections may be accepted.
    pub(crate) accept: oneshot::Receiver<()>,
}

/// A shard's disk and the ways to it and from it: the machine's, or simulated ones.
pub(crate) struct Surroundings {
    pub(crate) disk: Rc<dyn Disk>,
    pub(crate) disk_stats: Arc<DiskStats>,
    pub(crate) network: Rc<dyn Network>,
    /// Lets clients in.
    pub(crate) clients: Door,
    /// Lets other brokers in; on shard 0, unless this broker is alone.
    pub(crate) brokers: Option<Door>,
}

/// Accepts connections for a shard until the broker shuts down.
pub(crate) type Door =
    Box<dyn FnOnce(Rc<Shard>) -> Pin<Box<dyn Future<Output = std::io::Result<()>>>>>;

/// The sockets of a shard of this machine.
pub(crate) struct Sockets {
    pub(crate) clients: TcpListener,
    pub(crate) brokers: Option<TcpListener>,
}

/// Runs a shard on this thread until the broker shuts down.
pub(crate) fn run(start: ShardStart, sockets: Sockets) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = start.prepared.send(Err(StartShardError::Runtime(error)));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async {
        match open_disk(start.id, &start.node.config(), &start.metrics) {
            Ok((disk, disk_stats)) => {
                let Sockets { clients, brokers } = sockets;
                let surroundings = Surroundings {
                    disk,
                    disk_stats,
                    network: Rc::new(TcpNetwork),
                    clients: Box::new(|shard| Box::pin(listener::accept(clients, shard))),
                    brokers: brokers.map(|brokers| -> Door {
                        Box::new(|shard| Box::pin(accept::accept(brokers, shard)))
                    }),
                };
                serve(start, surroundings).await;
            }
            Err(error) => {
                let _ = start.prepared.send(Err(error));
            }
        }
    });
}

/// Runs a shard in these surroundings until the broker shuts down.
pub(crate) async fn serve(start: ShardStart, surroundings: Surroundings) {
    let ShardStart { id, node, metrics, jobs, hard_states, prepared, ready, .. } = start;
    let may_accept = start.accept;
    let Surroundings { disk, disk_stats, network, clients, brokers } = surroundings;
    let shard = match prepare(id, &node, metrics, hard_states, disk, network).await {
        Ok(shard) => shard,
        Err(error) => {
            let _ = prepared.send(Err(error));
            return;
        }
    };
    let _ = prepared.send(Ok(shard.env.disk.name()));
    spawn_local(Rc::clone(&shard).drive());
    spawn_local(run_jobs(Rc::clone(&shard), jobs));
    spawn_local(Rc::clone(&shard).tick());
    spawn_local(Rc::clone(&shard).retain());
    spawn_local(Rc::clone(&shard).scrub());
    spawn_local(sample(Rc::clone(&shard), disk_stats));
    spawn_local(Rc::clone(&shard).follow_images(ready));
    if id == ShardId(0) {
        let shard = Rc::clone(&shard);
        spawn_local(async move {
            let node = Arc::clone(&shard.node);
            space::watch(Rc::clone(&shard.env.disk), &node.data_dir, &node).await;
        });
    }
    if id == ShardId(0) {
        spawn_local(Rc::clone(&shard).watch_brokers());
    }
    if let Some(brokers) = brokers {
        let shard = Rc::clone(&shard);
        spawn_local(async move {
            if let Err(error) = brokers(shard).await {
                warn!(%error, "no other broker can connect to this one");
            }
        });
    }
    let mut shutdown = node.shutdown.clone();
    let accepting = Rc::clone(&shard);
    spawn_local(async move {
        if may_accept.await.is_ok()
            && let Err(error) = clients(accepting).await
        {
            warn!(%error, "this shard accepts no connections");
        }
    });
    let _ = shutdown.wait_for(|stopping| *stopping).await;
    shard.groups.dismiss_waiting();
    drain(&shard).await;
    shard.close().await;
}

/// Opens what the shard needs before it has partitions.
async fn prepare(
    id: ShardId,
    node: &Arc<Node>,
    metrics: Metrics,
    hard_states: HashMap<GroupId, HardState>,
    disk: Rc<dyn Disk>,
    network: Rc<dyn Network>,
) -> Result<Rc<Shard>, StartShardError> {
    let config = node.config();
    let dir = node.data_dir.join(format!("shard-{}", id.0));
    disk.create_dir_all(&dir).await.map_err(StartShardError::DataDir)?;
    let votes = open_votes(&disk, &dir, &hard_states).await?;
    let shards = config.shard_count().max(1);
    let env = Rc::new(Environment {
        node: node.id,
        clock: node.clock,
        shared: Rc::new(LogShared::new(SharedConfig {
            tail_cache_bytes_max: config.limits.tail_cache_bytes / shards,
            mappings_max: config.limits.maps_max / shards,
        })),
        disk,
        votes: Rc::new(votes),
        scheduler: Rc::new(Scheduler::default()),
        outgoing: Rc::new(Outgoing::default()),
        catch_up: CatchUp::new(),
        leaders: Arc::clone(&node.leaders),
        metrics,
        space: Arc::clone(&node.space),
    });
    let shard = Shard::new(id, Arc::clone(node), Rc::clone(&env), hard_states, network);
    if id == ShardId(0) {
        let dir = node.data_dir.join("controller");
        let hard_state =
            shard.hard_states.borrow_mut().remove(&CONTROLLER_GROUP).unwrap_or_default();
        let controller = Controller::open(&env, &dir, hard_state, node).await?;
        shard.set_controller(controller);
    }
    Ok(shard)
}

fn open_disk(
    id: ShardId,
    config: &BrokerConfig,
    metrics: &Metrics,
) -> Result<(Rc<dyn Disk>, Arc<DiskStats>), StartShardError> {
    let stats = || {
        let metrics = metrics.clone();
        Arc::new(DiskStats::with_sync_observer(Box::new(move |took| metrics.on_flush(took))))
    };
    if config.disk != DiskBackend::Std {
        let stats = stats();
        match UringDisk::new(RING_ENTRIES, POOL_THREADS, Arc::clone(&stats)) {
            Ok(disk) => return Ok((Rc::new(disk), stats)),
            Err(error) if config.disk == DiskBackend::Uring => {
                return Err(StartShardError::Disk(error));
            }
            Err(error) if id == ShardId(0) => {
                info!(%error, "io_uring is not available here: using a pool of threads instead");
            }
            Err(_said_by_shard_0) => {}
        }
    }
    let stats = stats();
    let disk = StdDisk::new(STD_POOL_THREADS, Arc::clone(&stats)).map_err(StartShardError::Disk)?;
    Ok((Rc::new(disk), stats))
}

/// Opens the shard's votes file and brings it up to what all files together know: after a change of
/// the number of shards, groups have moved.
async fn open_votes(
    disk: &Rc<dyn Disk>,
    dir: &Path,
    hard_states: &HashMap<GroupId, HardState>,
) -> Result<Votes, StartShardError> {
    let (votes, own) = Votes::open(Rc::clone(disk), dir, VotesConfig::default()).await?;
    let moved: Vec<_> = hard_states
        .iter()
        .filter(|(id, state)| own.get(id) != Some(state))
        .map(|(id, state)| (*id, *state))
        .collect();
    if !moved.is_empty() {
        info!(groups = moved.len(), dir = %dir.display(), "taking over groups from other shards");
        votes.save(moved).await?;
    }
    Ok(votes)
}

async fn run_jobs(shard: Rc<Shard>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job(&shard);
    }
}

/// Keeps the gauges up to date.
async fn sample(shard: Rc<Shard>, disk: Arc<DiskStats>) {
    loop {
        tokio::time::sleep(SAMPLE_EVERY).await;
        let open = shard.open_partitions();
        let leading = open.iter().filter(|partition| partition.is_serving()).count();
        open.iter().for_each(|partition| partition.count_size());
        let metrics = &shard.env.metrics;
        metrics.set_partitions(open.len(), leading);
        let stats = shard.env.shared.stats();
        metrics.set_log(LogFigures {
            windows: stats.windows_written.get(),
            flushes: stats.flushes.get(),
            reads_cached: stats.cached_reads.get(),
            reads_cold: stats.cold_reads.get(),
            waiting_for_space: stats.full_logs.get(),
            tail_cache_bytes: shard.env.shared.tail_cache_bytes(),
            maps: shard.env.shared.mappings().try_into().unwrap_or(u64::MAX),
            ring_in_flight: disk.in_flight(),
        });
        if shard.id == ShardId(0) {
            let limits = &shard.node.config().limits;
            let used = shard.node.memory.used_bytes();
            metrics.set_request_memory(used, limits.request_memory_bytes);
        }
    }
}

/// Lets connections finish what they have begun, up to the configured time. Jobs of other shards
/// go on being served meanwhile.
async fn drain(shard: &Shard) {
    let limit = Duration::from_millis(shard.node.config().limits.shutdown_drain_ms);
    let emptied = async {
        while shard.node.connections.open() > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    if tokio::time::timeout(limit, emptied).await.is_err() && shard.id == ShardId(0) {
        warn!(
            open = shard.node.connections.open(),
            "closing connections that did not finish in time"
        );
    }
}
