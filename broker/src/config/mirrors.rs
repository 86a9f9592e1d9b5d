//! Kafka's names for settings that Thalweg has under its own.
//!
//! They are described to admin clients, who look for them, but can only be set under
//! Thalweg's names: an error that names the right key is kinder than two keys for one thing.

use super::BrokerConfig;
use super::value::Kind;

/// A setting described under Kafka's name.
pub struct Mirror {
    /// Kafka's name.
    pub name: &'static str,
    /// Thalweg's name.
    pub key: &'static str,
    /// The value's type in DescribeConfigs.
    pub config_type: i8,
    /// The value as Kafka would write it.
    pub show: fn(&BrokerConfig) -> String,
}

const INT: i8 = Kind::INT.config_type();
const STRING: i8 = Kind::OneOf(&[]).config_type();
const LONG: i8 = Kind::LONG.config_type();
const LIST: i8 = Kind::ListOf(&[]).config_type();

/// All mirrored settings.
pub static MIRRORS: &[Mirror] = &[
    Mirror {
        name: "advertised.listeners",
        key: "advertise",
        config_type: LIST,
        show: |config| format!("PLAINTEXT://{}", config.advertised(config.listen)),
    },
    Mirror {
        name: "broker.id",
        key: "node_id",
        config_type: INT,
        show: |config| config.node_id.to_string(),
    },
    Mirror {
        name: "broker.rack",
        key: "rack",
        config_type: STRING,
        show: |config| config.rack.clone().unwrap_or_default(),
    },
    Mirror {
        name: "connections.max.idle.ms",
        key: "limits.connection_idle_ms",
        config_type: LONG,
        show: |config| config.limits.connection_idle_ms.to_string(),
    },
    Mirror {
        name: "listeners",
        key: "listen",
        config_type: LIST,
        show: |config| format!("PLAINTEXT://{}", config.listen),
    },
    Mirror {
        name: "log.dirs",
        key: "data_dir",
        config_type: LIST,
        show: |config| config.data_dir.display().to_string(),
    },
    Mirror {
        name: "max.connections",
        key: "limits.connections_max",
        config_type: INT,
        show: |config| config.limits.connections_max.to_string(),
    },
    Mirror {
        name: "node.id",
        key: "node_id",
        config_type: INT,
        show: |config| config.node_id.to_string(),
    },
    Mirror {
        name: "queued.max.request.bytes",
        key: "limits.request_memory_bytes",
        config_type: LONG,
        show: |config| config.limits.request_memory_bytes.to_string(),
    },
    Mirror {
        name: "socket.request.max.bytes",
        key: "limits.request_bytes_max",
        config_type: INT,
        show: |config| config.limits.request_bytes_max.to_string(),
    },
];

/// The setting that Kafka calls `name`.
pub fn find(name: &str) -> Option<&'static Mirror> {
    MIRRORS.iter().find(|mirror| mirror.name == name)
}
