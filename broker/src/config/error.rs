//! Why a configuration is refused: where, what, and what to write instead. What is wrong with one
//! setting is found when it is read; what does not go together, when all are.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::entries::Origin;
use super::file::NotToml;
use super::host_port::HostPort;
use super::value::BadValue;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{}: {}", path.display(), source.line, source.message)]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: NotToml,
    },
    /// A setting nobody knows.
    #[error("{origin}: there is no setting '{key}'{}", hint(.instead.as_deref()))]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The name as written.
        key: String,
        /// The name that was probably meant.
        instead: Option<String>,
    },
    /// A value that its setting cannot have.
    #[error("{origin}: '{text}' is no value for {key}: {why}")]
    BadValue {
        /// Where it was written.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value as written.
        text: String,
        /// What it should be.
        why: BadValue,
    },
    /// Two settings that do not go together.
    #[error("{0}")]
    Conflict(#[from] Conflict),
}

/// Settings that are each valid, but not together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Conflict {
    /// Clients would be sent to an address that is nobody's.
    #[error(
        "listen is every interface, which clients cannot connect to: say with advertise \
         (--advertise HOST:PORT) which address they should use"
    )]
    NothingToAdvertise,
    /// A single request of the largest size would never fit.
    #[error(
        "limits.request_memory_bytes ({memory}) is less than limits.request_bytes_max ({request}): \
         one large request could never be read"
    )]
    RequestExceedsMemory {
        /// The memory for all requests.
        memory: usize,
        /// The largest request.
        request: usize,
    },
    /// Two servers want the same address.
    #[error("{0} and {1} are both {2}: give one of them another port")]
    SameAddress(&'static str, &'static str, SocketAddr),
    /// Other brokers would be sent to an address that is nobody's.
    #[error(
        "node.listen is every interface, which brokers cannot connect to: say with node.advertise \
         (--node-advertise HOST:PORT) which address they should use"
    )]
    NothingToAdvertiseToNodes,
    /// An address for other brokers, but no door behind it.
    #[error(
        "node.advertise is set, but nobody listens for brokers: set node.listen, seeds or join too"
    )]
    AdvertisedByNobody,
    /// A cluster is formed or joined.
    #[error(
        "seeds form a new cluster and join adds to one that is there: set one or the other, not both"
    )]
    SeedsAndJoin,
    /// Every founder must know which of the seeds it is itself.
    #[error(
        "seeds must name all founding brokers, this one included, but {0} is not among them: say \
         with node.listen or node.advertise (--node-listen IP:PORT, --node-advertise HOST:PORT) \
         which of them this broker is"
    )]
    NotASeed(HostPort),
    /// Two founders cannot share an address.
    #[error("seeds names {0} twice")]
    SeedTwice(HostPort),
    /// Nobody to ask.
    #[error("join must name another broker, but {0} is this one")]
    JoinsItself(HostPort),
    /// A setting has bounds that are settings too.
    #[error("{name} ({value}) is not between {min_name} ({min}) and {max_name} ({max})")]
    OutOfBounds {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: i64,
        /// The setting that bounds it from below.
        min_name: &'static str,
        /// Its value.
        min: i64,
        /// The setting that bounds it from above.
        max_name: &'static str,
        /// Its value.
        max: i64,
    },
    /// Every member would be taken for dead between two heartbeats.
    #[error(
        "group.consumer.heartbeat.interval.ms ({interval}) is not less than \
         group.consumer.session.timeout.ms ({timeout})"
    )]
    HeartbeatsTooSeldom {
        /// The interval.
        interval: i32,
        /// The timeout.
        timeout: i32,
    },
    /// Compaction would have to happen before it may.
    #[error(
        "log.cleaner.min.compaction.lag.ms ({min}) is more than \
         log.cleaner.max.compaction.lag.ms ({max})"
    )]
    CompactionLag {
        /// The least wait.
        min: String,
        /// The longest wait.
        max: String,
    },
}

fn hint(instead: Option<&str>) -> String {
    instead.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}
