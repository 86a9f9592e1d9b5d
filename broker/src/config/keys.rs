//! Thalweg's own settings: one row each, with how to read it, write it, and what it means.
//!
//! The file, the environment, the flags, the example file and reload all go through these rows.
//! Defaults stand in [`BrokerConfig::default`]; a row shows them as it shows any value.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::units::Unit;
use super::value::{BadValue, Kind, split_list};
use super::{BrokerConfig, DiskBackend, HostPort, LogFormat};

/// One of Thalweg's own settings.
pub struct Key {
    /// Its name in the file; `a.b` is `b` in the table `[a]`.
    pub name: &'static str,
    /// What it does.
    pub documentation: &'static str,
    /// Whether a reload changes it; otherwise the broker must be started anew.
    pub live: bool,
    /// Reads a value into the configuration.
    pub apply: fn(&mut BrokerConfig, &str) -> Result<(), BadValue>,
    /// Writes the value so that `apply` reads the same.
    pub show: fn(&BrokerConfig) -> String,
}

impl Key {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The environment variable for the setting called `name`.
pub(super) fn variable(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() }).collect();
    format!("THALWEG_{name}")
}

/// A row for a number with a unit, held in a field of any unsigned type.
macro_rules! number {
    ($name:literal, $unit:ident, $min:literal, $live:literal, $($field:ident).+, $doc:literal) => {
        Key {
            name: $name,
            documentation: $doc,
            live: $live,
            apply: |config, text| {
                let number = Kind::Long { min: $min }.canonical(&Unit::$unit.plain(text)?)?;
                config.$($field).+ = number.parse().map_err(|_| BadValue::NotAnInteger)?;
                Ok(())
            },
            show: |config| {
                let number = config.$($field).+;
                i64::try_from(number)
                    .map_or_else(|_| number.to_string(), |number| Unit::$unit.pretty(number))
            },
        }
    };
}

/// All of Thalweg's own settings, in the order of the example file.
pub static KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        documentation: "The directory that holds everything the broker must not forget. It is \
            created if it does not exist.",
        live: false,
        apply: |config, text| {
            config.data_dir = PathBuf::from(non_empty(text)?);
            Ok(())
        },
        show: |config| config.data_dir.display().to_string(),
    },
    Key {
        name: "listen",
        documentation: "The address on which Kafka clients connect. 0.0.0.0 or [::] listens on \
            every interface; set advertise then. Port 0 takes any free port.",
        live: false,
        apply: |config, text| {
            config.listen = address(text)?;
            Ok(())
        },
        show: |config| config.listen.to_string(),
    },
    Key {
        name: "advertise",
        documentation: "The host and port that clients are told to connect to, if it is not the \
            address listened on. Port 0 stands for the port listened on. Empty: the listen address.",
        live: false,
        apply: |config, text| {
            config.advertise = match text.trim() {
                "" => None,
                text => Some(text.parse()?),
            };
            Ok(())
        },
        show: |config| config.advertise.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Key {
        name: "admin_listen",
        documentation: "The address of the admin HTTP server: /metrics, /healthz, /readyz. It has \
            no authentication, so keep it off public interfaces. \"off\" turns it off.",
        live: false,
        apply: |config, text| {
            config.admin_listen = match text.trim() {
                "off" => None,
                text => Some(address(text)?),
            };
            Ok(())
        },
        show: |config| config.admin_listen.map_or_else(|| "off".to_owned(), |it| it.to_string()),
    },
    Key {
        name: "node_id",
        documentation: "This broker's id, unique in its cluster and the same for as long as its \
            data directory lives.",
        live: false,
        apply: |config, text| {
            let id = Kind::INT.canonical(text)?;
            config.node_id = id.parse().map_err(|_| BadValue::NotAnInteger)?;
            Ok(())
        },
        show: |config| config.node_id.to_string(),
    },
    Key {
        name: "rack",
        documentation: "The rack, room or zone this broker stands in. Replicas of a partition are \
            spread over racks first. Empty: none.",
        live: false,
        apply: |config, text| {
            config.rack = Some(text.trim().to_owned()).filter(|rack| !rack.is_empty());
            Ok(())
        },
        show: |config| config.rack.clone().unwrap_or_default(),
    },
    Key {
        name: "seeds",
        documentation: "The node addresses of all brokers that found the cluster, this one \
            included, such as \"a:9192,b:9192,c:9192\". The same list on each of them. Once the \
            cluster is formed it is not read any more. Empty: this broker is alone, or joins.",
        live: false,
        apply: |config, text| {
            config.seeds = addresses(text)?;
            Ok(())
        },
        show: |config| list(&config.seeds),
    },
    Key {
        name: "join",
        documentation: "Node addresses of one or more brokers of the cluster that this broker, \
            new and with an id of its own, is to join. Once it belongs to the cluster it is not \
            read any more. Empty: this broker is alone, or one of the seeds.",
        live: false,
        apply: |config, text| {
            config.join = addresses(text)?;
            Ok(())
        },
        show: |config| list(&config.join),
    },
    Key {
        name: "shards",
        documentation: "How many threads serve, each with partitions of its own. \"auto\" is one \
            per core this process may use.",
        live: false,
        apply: |config, text| {
            config.shards = match text.trim() {
                "auto" => None,
                text => {
                    let count = Kind::Int { min: 1, max: 1024 }.canonical(text)?;
                    Some(count.parse().map_err(|_| BadValue::NotAnInteger)?)
                }
            };
            Ok(())
        },
        show: |config| config.shards.map_or_else(|| "auto".to_owned(), |count| count.to_string()),
    },
    Key {
        name: "disk",
        documentation: "How files are written: \"uring\" (io_uring), \"std\" (threads), or \
            \"auto\", which takes io_uring where the kernel allows it.",
        live: false,
        apply: |config, text| {
            config.disk = match text.trim() {
                "auto" => DiskBackend::Auto,
                "uring" => DiskBackend::Uring,
                "std" => DiskBackend::Std,
                _ => return Err(BadValue::NotOneOf(DISK_BACKENDS)),
            };
            Ok(())
        },
        show: |config| match config.disk {
            DiskBackend::Auto => "auto".to_owned(),
            DiskBackend::Uring => "uring".to_owned(),
            DiskBackend::Std => "std".to_owned(),
        },
    },
    Key {
        name: "node.listen",
        documentation: "The address on which other brokers connect. They are not authenticated, \
            so keep it off public interfaces. Empty: 127.0.0.1:9192 with seeds or join, nowhere \
            otherwise.",
        live: false,
        apply: |config, text| {
            config.node_listen = match text.trim() {
                "" => None,
                text => Some(address(text)?),
            };
            Ok(())
        },
        show: |config| config.node_listen.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Key {
        name: "node.advertise",
        documentation: "The host and port that other brokers are told to connect to, if it is not \
            node.listen. Port 0 stands for the port listened on. Empty: the address of node.listen.",
        live: false,
        apply: |config, text| {
            config.node_advertise = match text.trim() {
                "" => None,
                text => Some(text.parse()?),
            };
            Ok(())
        },
        show: |config| config.node_advertise.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Key {
        name: "log.format",
        documentation: "How log lines look: \"text\" for people, \"json\" for machines.",
        live: false,
        apply: |config, text| {
            config.log.format = match text.trim() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(BadValue::NotOneOf(LOG_FORMATS)),
            };
            Ok(())
        },
        show: |config| match config.log.format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
    },
    Key {
        name: "log.filter",
        documentation: "What is logged: a level, or target=level pairs separated by commas, such \
            as \"info,thalweg::replication=debug\".",
        live: true,
        apply: |config, text| {
            let filter = non_empty(text)?;
            tracing_subscriber::EnvFilter::try_new(filter).map_err(|_| BadValue::NotAFilter)?;
            config.log.filter = filter.to_owned();
            Ok(())
        },
        show: |config| config.log.filter.clone(),
    },
    number!(
        "limits.request_bytes_max",
        Bytes,
        1024,
        false,
        limits.request_bytes_max,
        "The largest request. A larger one closes its connection before it is read."
    ),
    number!(
        "limits.request_memory_bytes",
        Bytes,
        1024,
        false,
        limits.request_memory_bytes,
        "Memory for requests being received or handled, over all connections. When it is used up, \
         the broker stops reading until some are answered."
    ),
    number!(
        "limits.connections_max",
        None,
        1,
        false,
        limits.connections_max,
        "Connections open at once. Further ones are closed as they arrive."
    ),
    number!(
        "limits.connection_idle_ms",
        Milliseconds,
        1,
        true,
        limits.connection_idle_ms,
        "A connection that has sent nothing for so long is closed."
    ),
    number!(
        "limits.frame_stall_ms",
        Milliseconds,
        1,
        true,
        limits.frame_stall_ms,
        "A request that has begun to arrive must be complete after so long, or its connection is \
         closed: it holds memory meanwhile."
    ),
    number!(
        "limits.tail_cache_bytes",
        Bytes,
        0,
        false,
        limits.tail_cache_bytes,
        "Memory for the newest records of all partitions. Consumers that keep up are served from \
         it and never touch the disk."
    ),
    number!(
        "limits.maps_max",
        None,
        16,
        false,
        limits.maps_max,
        "Segment files mapped into memory at once, over all partitions. The kernel's own limit is \
         vm.max_map_count, 65,530 by default."
    ),
    number!(
        "limits.scrub_bytes_per_second",
        Bytes,
        1,
        true,
        limits.scrub_bytes_per_second,
        "How many bytes of sealed segments each thread verifies a second, over and over. Damage is \
         reported, and healed from another replica if there is one."
    ),
    number!(
        "limits.disk_reserve_bytes",
        Bytes,
        0,
        false,
        limits.disk_reserve_bytes,
        "Free disk space below which writes are refused, but at most a twentieth of the \
         filesystem. Reads go on, and writes resume by themselves once 1.25 times as much is free."
    ),
    number!(
        "limits.shutdown_drain_ms",
        Milliseconds,
        0,
        true,
        limits.shutdown_drain_ms,
        "How long a stopping broker waits for the requests it has begun to be answered."
    ),
    number!(
        "metrics.topics_max",
        None,
        0,
        false,
        metrics_topics_max,
        "How many topics have metrics of their own. Further ones share the label topic=\"__other\", \
         so that a client that creates many topics cannot drown the metrics store."
    ),
];

const DISK_BACKENDS: &[&str] = &["auto", "uring", "std"];
const LOG_FORMATS: &[&str] = &["text", "json"];

fn non_empty(text: &str) -> Result<&str, BadValue> {
    let text = text.trim();
    if text.is_empty() { Err(BadValue::Empty) } else { Ok(text) }
}

/// Addresses of other brokers. No port stands for another here.
fn addresses(text: &str) -> Result<Vec<HostPort>, BadValue> {
    let parse = |item: &str| item.parse().ok().filter(|it: &HostPort| it.port != 0);
    split_list(text).map(|item| parse(item).ok_or(BadValue::NotAHostPortList)).collect()
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// An address to listen on. The one name that needs no resolver is `localhost`; any other could
/// stand for several addresses, or for another one tomorrow.
fn address(text: &str) -> Result<SocketAddr, BadValue> {
    let text = text.trim();
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| BadValue::NotAnAddress)
}
