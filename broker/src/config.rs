//! What an operator can set, and how it reaches the broker.
//!
//! Four layers, each stronger than the one before: the defaults, a TOML file, environment
//! variables named `THALWEG_…`, and flags. Thalweg's own settings are rows of [`keys::KEYS`]; those
//! that carry Kafka's names, most of which topics inherit, are rows of
//! [`kafka_names::BROKER_SETTINGS`]. Every layer hands texts to those rows, so a value means the
//! same wherever it is written, and every refusal names the place, the key and the reason.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

mod cluster;
mod entries;
mod error;
mod example;
mod file;
mod flags;
mod host_port;
pub mod kafka;
pub mod kafka_names;
pub mod keys;
mod load;
pub mod mirrors;
mod nearest;
mod reload;
mod row;
#[cfg(test)]
mod tests;
pub mod units;
pub mod value;

pub use cluster::NODE_LISTEN_DEFAULT;
pub use entries::{Entries, Entry, Origin};
pub use error::{ConfigError, Conflict};
pub use example::example;
pub use flags::ServeFlags;
pub use host_port::HostPort;
pub use kafka::{ConfigSource, KafkaSettings};
pub use load::{Layers, load};
pub use reload::{Reload, reload};

/// Everything a broker is told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// Where the log, the votes and `node.json` live.
    pub data_dir: PathBuf,
    /// Where Kafka clients connect. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// What clients are told to connect to; `None` for the address listened on.
    pub advertise: Option<HostPort>,
    /// Where the admin HTTP server listens; `None` for nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// How many shards (threads) serve; `None` for one per core.
    pub shards: Option<usize>,
    /// This broker's id in the cluster.
    pub node_id: i32,
    /// Where the broker stands, so that replicas stand apart.
    pub rack: Option<String>,
    /// The node addresses of all brokers that form the cluster, this one included.
    pub seeds: Vec<HostPort>,
    /// Node addresses of brokers of the cluster to be joined.
    pub join: Vec<HostPort>,
    /// Where other brokers connect, if it was said: [`BrokerConfig::node_listen`] decides.
    pub node_listen: Option<SocketAddr>,
    /// What other brokers are told to connect to; `None` for the address listened on.
    pub node_advertise: Option<HostPort>,
    /// How files are written.
    pub disk: DiskBackend,
    /// What is logged, and how it looks.
    pub log: LogOutput,
    /// What protects the broker from its clients and from its machine's limits.
    pub limits: Limits,
    /// How many topics have metrics of their own; the rest share one series.
    pub metrics_topics_max: usize,
    /// The settings under Kafka's names.
    pub kafka: KafkaSettings,
    /// Which keys were set, and where.
    pub entries: Entries,
}

/// Static limits of one broker, over all its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request frame; a larger one closes its connection.
    pub request_bytes_max: usize,
    /// Memory for request frames being received or handled, over all connections.
    pub request_memory_bytes: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// A connection that sends nothing for so long is closed.
    pub connection_idle_ms: u64,
    /// A frame that has begun to arrive must be whole after so long.
    pub frame_stall_ms: u64,
    /// Memory for the newest batches of all partitions, from which consumers that keep up read.
    pub tail_cache_bytes: usize,
    /// Segment files mapped at once.
    pub maps_max: usize,
    /// How fast each shard verifies what lies on disk.
    pub scrub_bytes_per_second: u64,
    /// Free disk space below which writes are refused.
    pub disk_reserve_bytes: u64,
    /// How long a stopping broker waits for its requests to be answered.
    pub shutdown_drain_ms: u64,
}

/// How log lines look and which are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOutput {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// A filter in the syntax of tracing's `EnvFilter`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// How files are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskBackend {
    /// `uring` where the kernel allows it, otherwise `std`.
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// A small pool of threads and ordinary system calls.
    Std,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            data_dir: PathBuf::from("./thalweg-data"),
            listen: SocketAddr::new(local, 9092),
            advertise: None,
            admin_listen: Some(SocketAddr::new(local, 9292)),
            shards: None,
            node_id: 1,
            rack: None,
            seeds: Vec::new(),
            join: Vec::new(),
            node_listen: None,
            node_advertise: None,
            disk: DiskBackend::Auto,
            log: LogOutput { format: LogFormat::Text, filter: "info".to_owned() },
            limits: Limits::default(),
            metrics_topics_max: 1000,
            kafka: KafkaSettings::default(),
            entries: Entries::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 << 20,
            request_memory_bytes: 256 << 20,
            connections_max: 20_000,
            connection_idle_ms: 600_000,
            frame_stall_ms: 30_000,
            tail_cache_bytes: 128 << 20,
            // The kernel's own default allows 65,530 maps a process, which others need too.
            maps_max: 16_384,
            scrub_bytes_per_second: 4 << 20,
            disk_reserve_bytes: 512 << 20,
            shutdown_drain_ms: 10_000,
        }
    }
}

impl BrokerConfig {
    /// How many shards to start: what was asked for, or one per core this process may use.
    pub fn shard_count(&self) -> usize {
        self.shards.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
        })
    }

    /// What clients are told to connect to, once `bound` is the address really listened on.
    pub fn advertised(&self, bound: SocketAddr) -> HostPort {
        match &self.advertise {
            Some(HostPort { host, port: 0 }) => HostPort { host: host.clone(), port: bound.port() },
            Some(advertise) => advertise.clone(),
            None => HostPort::from(bound),
        }
    }

    /// This configuration with the broker settings an admin client has stored in the cluster.
    pub fn with_dynamic(
        &self,
        cluster: &std::collections::BTreeMap<String, String>,
        broker: &std::collections::BTreeMap<String, String>,
    ) -> Self {
        Self { kafka: self.kafka.with_dynamic(cluster, broker), ..self.clone() }
    }
}
