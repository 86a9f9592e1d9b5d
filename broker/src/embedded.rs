//! A whole broker as one future, in surroundings that are handed to it: for a simulation, which
//! decides about disk, network and clock, and may drop the future as if the process had died.
//!
//! It is the same broker from the shard inwards. What is left out belongs to a process: its
//! threads, the data directory's lock and `node.json` (the simulation says who founded the
//! cluster), the admin HTTP server, and signals. There is one shard.
//!
//! Must run inside a `LocalSet`, and only one broker in each.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use thalweg_storage::data_dir::Founder;
use thalweg_storage::disk::{Disk, DiskStats};
use thalweg_storage::votes::{GroupId, HardState, Votes, VotesConfig};
use tokio::sync::{oneshot, watch};

use crate::abort;
use crate::admin::health::Health;
use crate::admin::metrics::{Metrics, MetricsOptions};
use crate::broker::{StartError, registration};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::forming::Member;
use crate::node::{NewNode, Node};
use crate::node_rpc::accept;
pub use crate::node_rpc::network::{BoxedStream, Connecting, Network, Stream};
use crate::server::listener;
use crate::shard::Shard;
use crate::shard::router::{Router, ShardId};
use crate::shard::runtime::{self, Door, ShardStart, StartShardError, Surroundings};

/// Everything that a broker has from outside.
pub struct Parts {
    /// Its configuration; the data directory is one on `disk`.
    pub config: BrokerConfig,
    /// Where its files are.
    pub disk: Rc<dyn Disk>,
    /// The way to other brokers.
    pub network: Rc<dyn Network>,
    /// Clients that call.
    pub clients: Box<dyn Listener>,
    /// Other brokers that call.
    pub brokers: Box<dyn Listener>,
    /// The time of day in milliseconds since 1970.
    pub now_ms: fn() -> i64,
    /// Its cluster.
    pub cluster_id: String,
    /// Who founded that, by id; this broker among them.
    pub founders: Vec<Founder>,
    /// Turns true when the broker is to stop cleanly.
    pub shutdown: watch::Receiver<bool>,
}

/// A call that was taken: the stream and who called.
pub type Call = Pin<Box<dyn Future<Output = io::Result<(BoxedStream, SocketAddr)>>>>;

/// Where others connect.
pub trait Listener {
    /// The next call.
    fn accept(&self) -> Call;
}

/// From now on, whatever would end the process calls `on_end` with the reason, and the task it
/// happens in stops for ever. For the whole process.
pub fn simulate_the_end(on_end: fn(&str)) {
    abort::simulate(on_end);
}

/// From now on the brokers of this thread acknowledge `acks=all` when only their leader has the
/// records: a mistake that the simulation must find.
#[cfg(feature = "planted-bugs")]
pub fn plant_ack_before_quorum() {
    planted::ACK_BEFORE_QUORUM.set(true);
}

/// Mistakes that are planted on this thread.
#[cfg(feature = "planted-bugs")]
pub(crate) mod planted {
    use std::cell::Cell;

    thread_local! {
        pub(crate) static ACK_BEFORE_QUORUM: Cell<bool> = const { Cell::new(false) };
    }
}

/// Runs a broker until it is told to stop, or is dropped.
pub async fn run(parts: Parts) -> Result<(), StartError> {
    let Parts { config, disk, network, clients, brokers, now_ms, .. } = parts;
    let own = parts.founders.iter().find(|founder| founder.node == config.node_id);
    let own = own.ok_or_else(|| StartError::Shard("this broker is no founder".to_owned()))?.clone();
    let hard_states = hard_states(&disk, &config.data_dir).await?;
    let options = MetricsOptions { shards: 1, topics_max: 1, started_at: 0.0 };
    let metrics = Metrics::new(&options);
    let (router, mut jobs) = Router::new(1);
    let advertised = config.advertised(config.listen);
    let node = Arc::new(Node::new(NewNode {
        member: Member {
            node: own.node,
            disk: own.disk,
            cluster_id: parts.cluster_id,
            voters: parts.founders.clone(),
        },
        controller_voters: parts.founders.iter().map(|founder| founder.node).collect(),
        node_address: Some(own.address.clone()),
        config,
        clock: Clock::simulated(now_ms),
        metrics: metrics.clone(),
        health: Arc::new(Health::new()),
        router,
        shutdown: parts.shutdown,
    }));
    let (prepared, is_prepared) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let (accept, may_accept) = oneshot::channel();
    let start = ShardStart {
        id: ShardId(0),
        node: Arc::clone(&node),
        metrics: metrics.shard(0),
        jobs: jobs.pop().ok_or(StartShardError::Panicked)?,
        hard_states,
        prepared,
        ready,
        accept: may_accept,
    };
    let surroundings = Surroundings {
        disk,
        disk_stats: Arc::new(DiskStats::default()),
        network,
        clients: client_door(clients),
        brokers: Some(broker_door(brokers)),
    };
    let mut served = tokio::task::spawn_local(runtime::serve(start, surroundings));
    let panicked = |_gone| StartShardError::Panicked;
    is_prepared.await.map_err(panicked)??;
    is_ready.await.map_err(panicked)?;
    if let Some(command) = registration(&node, advertised) {
        let (done, registered) = oneshot::channel();
        let job = Box::new(move |shard: &Rc<Shard>| {
            let shard = Rc::clone(shard);
            tokio::task::spawn_local(async move {
                let _ = done.send(crate::broker::register(&shard, &command).await);
            });
        });
        node.router.tell(ShardId(0), job).await.map_err(|_gone| StartShardError::Panicked)?;
        let registered = tokio::select! {
            biased;
            // Told to stop before there was a controller.
            ended = &mut served => {
                return ended.map_err(|_panicked| StartShardError::Panicked.into());
            }
            registered = registered => registered.map_err(panicked)?,
        };
        registered.map_err(|error| StartError::Shard(format!("cannot register: {error}")))?;
    }
    // A shard that is gone by now is noticed below.
    let _ = accept.send(());
    served.await.map_err(|_panicked| StartShardError::Panicked.into())
}

async fn hard_states(
    disk: &Rc<dyn Disk>,
    data_dir: &Path,
) -> Result<HashMap<GroupId, HardState>, StartError> {
    let dir = data_dir.join("shard-0");
    disk.create_dir_all(&dir)
        .await
        .map_err(|source| StartError::System { what: "make the data directory", source })?;
    Ok(Votes::open(Rc::clone(disk), &dir, VotesConfig::default()).await?.1)
}

fn client_door(listener: Box<dyn Listener>) -> Door {
    Box::new(|shard| {
        Box::pin(async move {
            loop {
                let (stream, peer) = listener.accept().await?;
                let (read, write) = tokio::io::split(stream);
                listener::admit(read, write, peer, &shard);
            }
        })
    })
}

fn broker_door(listener: Box<dyn Listener>) -> Door {
    Box::new(|shard| {
        Box::pin(async move {
            loop {
                let (stream, peer) = listener.accept().await?;
                let shard = Rc::clone(&shard);
                tokio::task::spawn_local(async move {
                    if let Err(error) = accept::admit_here(stream, peer, &shard).await {
                        shard.node.strangers.on_refused(peer, &error);
                    }
                });
            }
        })
    })
}
