//! How brokers with empty data directories become one cluster, once.
//!
//! Every broker asks all others it was told of, again and again, and answers them meanwhile. When
//! all seeds are there and none belongs to a cluster, the one with the lowest id draws the
//! cluster's id and writes down who the founders are: that file, `node.json`, is the decision. The
//! others find it by asking. So a crash at any moment leaves either no cluster or one that
//! everybody will find. A founder is its id *and* its data directory: a directory that was replaced
//! by an empty one does not vote in its predecessor's name.
//!
//! This runs before the broker's shards do, on the thread that starts the broker. A broker whose
//! directory names its cluster asks nobody.

mod answering;
mod asking;
mod verdict;

use std::net::TcpListener;
use std::time::Duration;

use thalweg_storage::data_dir::{DataDir, DataDirError};
use thiserror::Error;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::info;
use uuid::Uuid;

pub use self::answering::{Member, answer_form};
use self::verdict::{Verdict, judge};
use crate::config::{BrokerConfig, HostPort};
use crate::node_rpc::handshake::{Founder, Hello, Purpose, VERSION};

/// How many founders vote in the controller's group; the rest follow it.
pub const CONTROLLER_VOTERS_MAX: usize = 5;

/// How often everybody is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often the operator is told whom this broker waits for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Why a broker found no cluster. Each calls for somebody to decide something: what time may mend
/// is waited for.
#[derive(Debug, Error)]
pub enum FormError {
    /// Another broker will not have this one.
    #[error("the broker at {address} refuses this one: {reason}")]
    Refused {
        /// Who refuses.
        address: HostPort,
        /// What it said.
        reason: String,
    },
    /// Two brokers have one id.
    #[error("{}", duplicate_id(*.node, &.address.to_string()))]
    DuplicateId {
        /// The id.
        node: i32,
        /// Where the other one is.
        address: HostPort,
    },
    /// The cluster knows this id with other data.
    #[error("{}", replaced(*.node))]
    Replaced {
        /// The id.
        node: i32,
    },
    /// The seeds have founded a cluster already, without this broker.
    #[error(
        "the broker at {address} belongs to cluster {cluster_id}, which was founded without node \
         {node}: start this broker with --join {address} instead of --seeds"
    )]
    FoundedWithout {
        /// Who said so.
        address: HostPort,
        /// The cluster.
        cluster_id: String,
        /// This broker.
        node: i32,
    },
    /// An address among those of the others leads here.
    #[error(
        "{0} leads to this broker itself, or to a copy of its data directory: every founder needs \
         one address and a directory of its own"
    )]
    Itself(HostPort),
    /// The founders cannot reach this broker, nor it them.
    #[error(
        "node {node} belongs to a cluster with other brokers, but listens for none: set node.listen \
         (--node-listen IP:PORT)"
    )]
    NotListening {
        /// This broker.
        node: i32,
    },
    /// The node port cannot be listened on.
    #[error("cannot listen for brokers on {address}: {source}; choose another with --node-listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The decision cannot be written down.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The system refused something basic.
    #[error("cannot start an event loop: {0}")]
    System(#[source] std::io::Error),
}

/// What an operator reads when a directory was replaced: here, and where the other broker refuses.
fn replaced(node: i32) -> String {
    format!(
        "the data directory of node {node} was replaced: start it with a new --node-id and --join, \
         then `thalweg cluster drain {node}` and `thalweg cluster remove {node}`"
    )
}

/// What both operators read when two brokers were given one id.
fn duplicate_id(node: i32, address: &str) -> String {
    format!("node {node} is also the broker at {address}: give one of them another --node-id")
}

/// A broker that belongs to a cluster.
#[derive(Debug)]
pub struct Formed {
    /// The cluster, its founders, and who this broker is among them.
    pub member: Member,
    /// What other brokers are told to connect to; empty if this broker is alone.
    pub address: String,
    /// Where other brokers connect, bound and listening; `None` if this broker is alone.
    pub node_listener: Option<TcpListener>,
}

impl Formed {
    /// What other brokers are told to connect to, unless this broker is alone.
    pub fn node_address(&self) -> Option<&str> {
        Some(self.address.as_str()).filter(|address| !address.is_empty())
    }

    /// The founders that vote in the controller's group.
    pub fn controller_voters(&self) -> &[Founder] {
        let voters = &self.member.voters;
        voters.get(..CONTROLLER_VOTERS_MAX).unwrap_or(voters)
    }
}

/// Binds the node port that `config` asks for, if it asks for one.
pub fn bind(config: &BrokerConfig) -> Result<Option<TcpListener>, FormError> {
    let bind = |address| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let Some(address) = config.node_listen() else { return Ok(None) };
    bind(address).map(Some).map_err(|source| FormError::Listen { address, source })
}

/// Finds, joins or founds the cluster of the broker whose `data_dir` this is, which may take until
/// the other brokers have been started. `listener` is what [`bind`] returned.
pub fn form(
    config: &BrokerConfig,
    data_dir: &mut DataDir,
    listener: Option<TcpListener>,
) -> Result<Formed, FormError> {
    let bound = listener.as_ref().map(TcpListener::local_addr).transpose();
    let bound = bound.map_err(FormError::System)?;
    let address = bound.map(|bound| config.node_advertised(bound));
    let newcomer = Newcomer {
        node: config.node_id,
        disk: data_dir.directory_id(),
        address: address.as_ref().map(ToString::to_string).unwrap_or_default(),
        seeds: config.seeds.clone(),
        others: others(config, address.as_ref()),
    };
    if data_dir.cluster_id().is_none() {
        let (cluster_id, voters) = match &listener {
            Some(listener) if !newcomer.others.is_empty() => newcomer.meet(listener)?,
            _ => (new_cluster_id(), vec![newcomer.founder()]),
        };
        data_dir.join_cluster(&cluster_id, &voters)?;
        info!(cluster_id, founders = voters.len(), "this broker belongs to a cluster now");
    }
    let member = newcomer.member(data_dir);
    let is_alone = member.voters.iter().all(|founder| founder.disk == member.disk);
    if listener.is_none() && !is_alone {
        return Err(FormError::NotListening { node: member.node });
    }
    Ok(Formed { member, address: newcomer.address, node_listener: listener })
}

/// Whom to ask: everybody this broker was told of but itself.
fn others(config: &BrokerConfig, own: Option<&HostPort>) -> Vec<HostPort> {
    let told = config.seeds.iter().chain(&config.join);
    told.filter(|it| own.is_none_or(|own| !it.is_same_place(own))).cloned().collect()
}

/// A broker that looks for its cluster.
#[derive(Clone, Debug)]
struct Newcomer {
    node: i32,
    disk: Uuid,
    address: String,
    /// All founders' addresses, its own included; empty for a broker that joins.
    seeds: Vec<HostPort>,
    /// The addresses to ask.
    others: Vec<HostPort>,
}

impl Newcomer {
    fn founder(&self) -> Founder {
        Founder { node: self.node, disk: self.disk, address: self.address.clone() }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            purpose: Purpose::Form,
            cluster_id: None,
            node: self.node,
            disk: self.disk,
            address: self.address.clone(),
        }
    }

    /// What this broker is, now that `data_dir` names its cluster. Its own address is today's.
    fn member(&self, data_dir: &DataDir) -> Member {
        let mut voters = data_dir.voters().to_vec();
        if voters.is_empty() {
            voters.push(self.founder());
        }
        for founder in voters.iter_mut().filter(|founder| founder.disk == self.disk) {
            founder.address.clone_from(&self.address);
        }
        Member {
            node: self.node,
            disk: self.disk,
            cluster_id: data_dir.cluster_id().unwrap_or_default().to_owned(),
            voters,
        }
    }

    /// Asks and answers until it is clear which cluster this is: its id and its founders.
    fn meet(&self, listener: &TcpListener) -> Result<(String, Vec<Founder>), FormError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(FormError::System)?;
        let met = LocalSet::new().block_on(&runtime, async {
            let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
            let listener = listener.map_err(FormError::System)?;
            tokio::select! {
                met = self.ask_until_clear() => met,
                twin = answering::serve_newcomer(listener, self) => Err(twin),
            }
        });
        // A name that is still being looked up holds nobody.
        runtime.shutdown_background();
        met
    }

    async fn ask_until_clear(&self) -> Result<(String, Vec<Founder>), FormError> {
        let mut rounds = interval(ASK_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None::<Instant>;
        loop {
            rounds.tick().await;
            match judge(self, &asking::ask_all(self).await)? {
                Verdict::Adopt { cluster_id, voters } => return Ok((cluster_id, voters)),
                Verdict::Found { voters } => return Ok((new_cluster_id(), voters)),
                Verdict::Wait { for_whom } => {
                    if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                        told = Some(Instant::now());
                        info!("waiting for the other brokers: {}", for_whom.join("; "));
                    }
                }
            }
        }
    }
}

/// Kafka's cluster ids are random ids in 22 characters of URL-safe base 64.
fn new_cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = Uuid::new_v4().as_u128();
    let digit = |n: u32| {
        let at = usize::try_from((bits >> (n * 6)) & 0x3f).unwrap_or(0);
        char::from(ALPHABET.get(at).copied().unwrap_or(b'A'))
    };
    (0..22).map(digit).collect()
}

#[cfg(test)]
mod tests;
