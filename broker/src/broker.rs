//! A whole broker in this process: started from a configuration, stopped cleanly.
//!
//! The binary's `serve` is a thin layer over this; tests start brokers of their own with it, on
//! port 0 and a temporary directory.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use thalweg_storage::data_dir::{DataDir, DataDirError};
use thalweg_storage::disk::{DiskStats, StdDisk};
use thalweg_storage::votes::{GroupId, HardState, Votes, VotesConfig, VotesOpenError};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::admin::health::Health;
use crate::admin::http::{AdminError, AdminServer};
use crate::admin::metrics::{Metrics, MetricsOptions};
use crate::clock::Clock;
use crate::config::{BrokerConfig, HostPort};
use crate::controller::CONTROLLER_GROUP;
use crate::controller::command::Command;
use crate::controller::image::Broker as BrokerInfo;
use crate::forming::{self, FormError};
use crate::node::{NewNode, Node};
use crate::server::listener::{self, ListenError};
use crate::shard::router::{Router, ShardId};
use crate::shard::runtime::{self, ShardStart, Sockets, StartShardError};

/// How long a broker that stops tries to hand its leaderships to others.
const HAND_OVER_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory is somebody else's, or unreadable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no cluster for this broker.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The address for clients cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address for operators cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The groups' votes cannot be read.
    #[error(transparent)]
    Votes(#[from] VotesOpenError),
    /// A shard could not open what it needs.
    #[error("{0}")]
    Shard(String),
    /// The system refused something basic.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<StartShardError> for StartError {
    fn from(error: StartShardError) -> StartError {
        StartError::Shard(error.to_string())
    }
}

/// A running broker. Dropping it without [`Broker::stop`] leaves its threads running.
pub struct Broker {
    node: Arc<Node>,
    address: SocketAddr,
    /// What other brokers are told to connect to.
    node_address: Option<String>,
    admin: Option<AdminServer>,
    shards: Vec<JoinHandle<()>>,
    shutdown: watch::Sender<bool>,
    disk: &'static str,
    /// Its lock is held for as long as the broker runs.
    _data_dir: DataDir,
}

impl Broker {
    /// Starts a broker and returns when it serves.
    pub fn start(config: BrokerConfig) -> Result<Broker, StartError> {
        let started_at = Clock::system();
        let mut data_dir = DataDir::open(&config.data_dir, config.node_id, Uuid::new_v4())?;
        let formed = forming::form(&config, &mut data_dir, forming::bind(&config)?)?;
        let shards = u16::try_from(config.shard_count()).unwrap_or(u16::MAX).max(1);
        let (listeners, address) = listener::bind(config.listen, shards)?;
        #[expect(clippy::cast_precision_loss, reason = "seconds with a fraction, for a gauge")]
        let started_at = started_at.now_ms() as f64 / 1000.0;
        let metrics = Metrics::new(&MetricsOptions {
            shards: usize::from(shards),
            topics_max: config.metrics_topics_max,
            started_at,
        });
        let health = Arc::new(Health::new());
        let admin = match config.admin_listen {
            Some(address) => {
                Some(AdminServer::start(address, metrics.clone(), Arc::clone(&health))?)
            }
            None => None,
        };
        let (shutdown, stopping) = watch::channel(false);
        let (router, jobs) = Router::new(shards);
        let node = Arc::new(Node::new(NewNode {
            member: formed.member.clone(),
            controller_voters: formed.controller_voters().iter().map(|it| it.node).collect(),
            node_address: formed.node_address().map(str::to_owned),
            config,
            clock: Clock::system(),
            metrics,
            health,
            router,
            shutdown: stopping,
        }));
        let node_address = formed.node_address().map(str::to_owned);
        let mut broker = Broker {
            node,
            address,
            node_address,
            admin,
            shards: Vec::new(),
            shutdown,
            disk: "",
            _data_dir: data_dir,
        };
        match broker.start_shards(jobs, listeners, formed.node_listener) {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.stop();
                Err(error)
            }
        }
    }

    /// Shard 0 first: it has the controller, and with it the image the others follow.
    fn start_shards(
        &mut self,
        jobs: Vec<tokio::sync::mpsc::Receiver<crate::shard::router::Job>>,
        listeners: Vec<std::net::TcpListener>,
        mut node_listener: Option<std::net::TcpListener>,
    ) -> Result<(), StartError> {
        let mut votes = gather_votes(&self.node)?;
        let mut waiting = Vec::new();
        for (id, (jobs, listener)) in (0..).map(ShardId).zip(jobs.into_iter().zip(listeners)) {
            let (prepared, is_prepared) = oneshot::channel();
            let (ready, is_ready) = oneshot::channel();
            let (accept, may_accept) = oneshot::channel();
            let start = ShardStart {
                id,
                node: Arc::clone(&self.node),
                metrics: self.node.metrics.shard(usize::from(id.0)),
                jobs,
                hard_states: votes.by_shard.remove(&id).unwrap_or_default(),
                prepared,
                ready,
                accept: may_accept,
            };
            // The first shard's.
            let sockets = Sockets { clients: listener, brokers: node_listener.take() };
            let thread = std::thread::Builder::new().name(format!("shard-{}", id.0));
            let spawned = thread.spawn(move || runtime::run(start, sockets));
            let spawned =
                spawned.map_err(|source| StartError::System { what: "start a shard", source })?;
            self.shards.push(spawned);
            let prepared = is_prepared.blocking_recv();
            self.disk =
                prepared.unwrap_or(Err(StartShardError::Panicked)).map_err(StartError::from)?;
            waiting.push((is_ready, accept));
        }
        let mut accepting = Vec::new();
        for (is_ready, accept) in waiting {
            is_ready.blocking_recv().map_err(|_gone| StartShardError::Panicked)?;
            accepting.push(accept);
        }
        votes.remove_stale_dirs();
        self.register()?;
        for accept in accepting {
            // A shard that is gone by now is noticed when the broker stops.
            let _ = accept.send(());
        }
        self.node.health.begin_serving();
        Ok(())
    }

    /// Tells the controller where clients reach this broker, if that is news.
    fn register(&self) -> Result<(), StartError> {
        let Some(command) = registration(&self.node, self.node.config().advertised(self.address))
        else {
            return Ok(());
        };
        let (done, registered) = oneshot::channel();
        let job = Box::new(move |shard: &Rc<crate::shard::Shard>| {
            let shard = Rc::clone(shard);
            tokio::task::spawn_local(async move {
                let _ = done.send(register(&shard, &command).await);
            });
        });
        let gone = |_| StartShardError::Panicked;
        self.node.router.tell_blocking(ShardId(0), job).map_err(gone)?;
        match registered.blocking_recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StartError::Shard(format!("cannot register: {error}"))),
            Err(_gone) => Err(StartShardError::Panicked.into()),
        }
    }

    /// Where clients connect, with the port that was really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators look, unless that is switched off.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminServer::address)
    }

    /// The cluster this broker belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.node.cluster_id
    }

    /// What other brokers connect to, unless this broker is alone.
    pub fn node_address(&self) -> Option<&str> {
        self.node_address.as_deref()
    }

    /// What clients are told to connect to.
    pub fn advertised(&self) -> String {
        self.node.config().advertised(self.address).to_string()
    }

    /// The disk backend in use: `uring` or `std`.
    pub fn disk(&self) -> &'static str {
        self.disk
    }

    /// The configuration from file, environment and flags that is in force.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.node.static_config()
    }

    /// Takes over a reloaded configuration.
    pub fn reconfigure(&self, config: BrokerConfig) {
        self.node.set_static_config(config);
    }

    /// Hands every leadership to other brokers, while clients are still served.
    fn hand_over(&self) {
        let mut waiting = Vec::new();
        for id in self.node.router.shards() {
            let (done, handed_over) = oneshot::channel::<()>();
            let job = Box::new(move |shard: &Rc<crate::shard::Shard>| {
                let shard = Rc::clone(shard);
                tokio::task::spawn_local(async move {
                    shard.hand_over(HAND_OVER_LIMIT).await;
                    drop(done);
                });
            });
            if self.node.router.tell_blocking(id, job).is_ok() {
                waiting.push(handed_over);
            }
        }
        for handed_over in waiting {
            // Dropping the sender is the word.
            let _ = handed_over.blocking_recv();
        }
    }

    /// Hands over what it leads, takes no more requests, answers those under way, flushes,
    /// snapshots, and ends all threads.
    pub fn stop(mut self) {
        self.node.health.begin_draining();
        self.hand_over();
        self.shutdown.send_replace(true);
        for shard in self.shards.drain(..) {
            if shard.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
    }
}

/// What to tell the controller about where this broker is reached, if that is news.
pub(crate) fn registration(node: &Node, advertised: HostPort) -> Option<Command> {
    let broker = BrokerInfo {
        host: advertised.host,
        port: advertised.port,
        rack: node.config().rack.clone(),
        node_address: node.own_address(),
        disk: Some(node.member.disk),
        ..BrokerInfo::default()
    };
    let known = node.images.load().brokers.get(&node.id) == Some(&broker);
    (!known).then_some(Command::RegisterBroker { node: node.id, broker })
}

/// Registers with the active controller, however long it takes until there is one: most of the
/// controllers may still be starting. Only a refusal is final.
pub(crate) async fn register(
    shard: &Rc<crate::shard::Shard>,
    command: &Command,
) -> Result<(), crate::controller::ProposeError> {
    loop {
        match shard.propose_anywhere(command).await {
            Ok(_applied) => return Ok(()),
            Err(refused @ crate::controller::ProposeError::Refused(_)) => return Err(refused),
            Err(error) => tracing::info!(%error, "waiting for a majority of the controllers"),
        }
    }
}

/// All groups' hard states as the votes files of all shards have them, by the shard that owns each
/// now. The number of shards may have changed since they were written.
struct GatheredVotes {
    by_shard: HashMap<ShardId, HashMap<GroupId, HardState>>,
    /// Directories of shards that there are no more.
    stale: Vec<PathBuf>,
}

fn gather_votes(node: &Node) -> Result<GatheredVotes, StartError> {
    let system = |what| move |source| StartError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("start an event loop"))?;
    let shards: BTreeSet<String> =
        node.router.shards().map(|id| format!("shard-{}", id.0)).collect();
    let mut gathered = GatheredVotes { by_shard: HashMap::new(), stale: Vec::new() };
    let mut merged = HashMap::<GroupId, HardState>::new();
    for dir in shard_dirs(&node.data_dir).map_err(system("list the data directory"))? {
        let states = LocalSet::new().block_on(&runtime, async {
            let disk = StdDisk::new(1, Arc::new(DiskStats::default()));
            let disk = Rc::new(disk.map_err(system("open the disk"))?);
            let opened = Votes::open(disk, &dir, VotesConfig::default()).await?;
            Ok::<_, StartError>(opened.1)
        })?;
        for (id, state) in states {
            let known = merged.entry(id).or_default();
            *known = newer(*known, state);
        }
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !shards.contains(name) {
            gathered.stale.push(dir);
        }
    }
    for (id, state) in merged {
        let owner = match id {
            CONTROLLER_GROUP => ShardId(0),
            GroupId { topic, partition } => node.router.owner(topic, partition),
        };
        gathered.by_shard.entry(owner).or_default().insert(id, state);
    }
    Ok(gathered)
}

/// A group that moved between shards may stand in two files. Its later term counts; within a term
/// the vote that was cast; and the commit index only grows.
fn newer(a: HardState, b: HardState) -> HardState {
    let commit = a.commit.max(b.commit);
    let by_age = (a.term, a.vote).max((b.term, b.vote));
    HardState { term: by_age.0, vote: by_age.1, commit }
}

fn shard_dirs(data_dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_shard = name.to_str().and_then(|name| name.strip_prefix("shard-"));
        if is_shard.is_some_and(|n| n.parse::<u16>().is_ok()) && entry.file_type()?.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}

impl GatheredVotes {
    /// Every group's state is durable with its new shard: the old files would only be read again.
    fn remove_stale_dirs(&self) {
        for dir in &self.stale {
            if let Err(error) = std::fs::remove_dir_all(dir) {
                tracing::warn!(dir = %dir.display(), %error, "removing the directory of a former shard");
            }
        }
    }
}
