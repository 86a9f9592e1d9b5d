//! From the four layers to one configuration, or to an error that says what to change and where.
//!
//! Defaults, file, environment, flags: a later layer beats an earlier one, setting by setting. Each
//! setting remembers where it came from, for errors and for DescribeConfigs.

use std::ffi::OsString;
use std::path::Path;

use super::entries::{Entry, Origin};
use super::error::{ConfigError, Conflict};
use super::file;
use super::kafka_names;
use super::keys;
use super::nearest::distance;
use super::row::{Row, unknown, unknown_in_file};
use super::value::BadValue;
use super::{BrokerConfig, ServeFlags};

/// What the layers above the defaults hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'a> {
    /// The file's path and content.
    pub file: Option<(&'a Path, &'a str)>,
    /// The environment.
    pub environment: &'a [(String, String)],
    /// The flags.
    pub flags: Option<&'a ServeFlags>,
}

/// Settings of consumer groups, each with those that bound it from below and from above.
const CONSUMER_GROUP_BOUNDS: [[&str; 3]; 3] = [
    [
        "group.consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ],
    [
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ],
    [
        "group.consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ],
];

/// Reads the configuration that `flags`, the process's environment and the file named by
/// `--config` make together.
pub fn load(flags: &ServeFlags) -> Result<BrokerConfig, ConfigError> {
    let environment: Vec<(String, String)> = std::env::vars_os().filter_map(as_text).collect();
    let content = flags.config.as_deref().map(read).transpose()?;
    let file = flags.config.as_deref().zip(content.as_deref());
    BrokerConfig::from_layers(Layers { file, environment: &environment, flags: Some(flags) })
}

/// The content of the configuration file.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

/// A variable that is not UTF-8 cannot be one of ours.
fn as_text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

impl BrokerConfig {
    /// The configuration that `layers` make on top of the defaults.
    pub fn from_layers(layers: Layers<'_>) -> Result<Self, ConfigError> {
        let config = Self::unchecked(layers)?;
        config.check()?;
        Ok(config)
    }

    /// The same before anybody asked whether the settings go together.
    pub(super) fn unchecked(layers: Layers<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some((path, content)) = layers.file {
            config.apply_file(path, content)?;
        }
        config.apply_environment(layers.environment)?;
        for (flag, key, text) in layers.flags.iter().flat_map(|flags| flags.given()) {
            let origin = Origin::Flag(match flag {
                "--set" => format!("--set {key}"),
                flag => flag.to_owned(),
            });
            let row = Row::find(key.strip_prefix("kafka.").unwrap_or(key));
            let row = row.ok_or_else(|| unknown(origin.clone(), key))?;
            config.set(row, text, origin)?;
        }
        Ok(config)
    }

    fn apply_file(&mut self, path: &Path, content: &str) -> Result<(), ConfigError> {
        let lines = file::lines(content)
            .map_err(|source| ConfigError::NotToml { path: path.to_owned(), source })?;
        for line in lines {
            let origin = Origin::File { path: path.to_owned(), line: line.line };
            let row = match line.key.strip_prefix("kafka.") {
                Some(name) => kafka_names::find(name).map(Row::Kafka),
                None => keys::find(&line.key).map(Row::Own),
            };
            let row = row.ok_or_else(|| unknown_in_file(origin.clone(), &line.key))?;
            let Some(text) = line.text else {
                let text = line.key;
                return Err(ConfigError::BadValue {
                    origin,
                    key: row.name(),
                    text,
                    why: BadValue::NotAScalar,
                });
            };
            self.set(row, &text, origin)?;
        }
        Ok(())
    }

    /// A variable that begins like ours but is not ours may be a slip or somebody else's:
    /// Kubernetes gives every pod `THALWEG_PORT` and the like once a service is called thalweg.
    /// So only what is a letter or two away from one of ours is refused.
    fn apply_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, text) in environment {
            if !name.starts_with("THALWEG_") || name == "THALWEG_CONFIG" {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            if let Some(row) = Row::all().find(|row| row.variable() == *name) {
                self.set(row, text, origin)?;
            } else if let Some(meant) =
                Row::all().map(Row::variable).find(|known| distance(known, name) <= 2)
            {
                let key = name.clone();
                return Err(ConfigError::UnknownKey { origin, key, instead: Some(meant) });
            }
        }
        Ok(())
    }

    pub(super) fn set(&mut self, row: Row, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let result = match row {
            Row::Own(key) => (key.apply)(self, text),
            Row::Kafka(setting) => self.kafka.set(setting, text),
        };
        let text = text.to_owned();
        match result {
            Ok(()) => {
                self.entries.insert(row.name(), Entry { text, origin });
                Ok(())
            }
            Err(why) => Err(ConfigError::BadValue { origin, key: row.name(), text, why }),
        }
    }

    /// Whether the settings go together.
    pub(super) fn check(&self) -> Result<(), Conflict> {
        if self.listen.ip().is_unspecified() && self.advertise.is_none() {
            return Err(Conflict::NothingToAdvertise);
        }
        if self.admin_listen == Some(self.listen) && self.listen.port() != 0 {
            return Err(Conflict::SameAddress("listen", "admin_listen", self.listen));
        }
        self.check_cluster()?;
        let (memory, request) = (self.limits.request_memory_bytes, self.limits.request_bytes_max);
        if memory < request {
            return Err(Conflict::RequestExceedsMemory { memory, request });
        }
        self.check_consumer_groups()?;
        let lag = |name| self.kafka.get(name).and_then(|(text, _)| text.parse::<i64>().ok());
        let min = lag("log.cleaner.min.compaction.lag.ms");
        let max = lag("log.cleaner.max.compaction.lag.ms");
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(Conflict::CompactionLag { min: min.to_string(), max: max.to_string() });
        }
        Ok(())
    }

    /// Whether what consumer groups are given is within the bounds, as Kafka demands at its start.
    fn check_consumer_groups(&self) -> Result<(), Conflict> {
        let value_of = |name| self.kafka.get(name).and_then(|(text, _)| text.parse().ok());
        for [name, min_name, max_name] in CONSUMER_GROUP_BOUNDS {
            let (value, min, max) = (value_of(name), value_of(min_name), value_of(max_name));
            if let (Some(value), Some(min), Some(max)) = (value, min, max)
                && !(min..=max).contains(&value)
            {
                return Err(Conflict::OutOfBounds { name, value, min_name, min, max_name, max });
            }
        }
        let consumer = &self.kafka.groups.consumer;
        let (interval, timeout) = (consumer.heartbeat_interval_ms, consumer.session_timeout_ms);
        if interval >= timeout {
            return Err(Conflict::HeartbeatsTooSeldom { interval, timeout });
        }
        Ok(())
    }
}
