//! From the four layers to one configuration, or to an error that says what to change and where.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::entries::{Entry, Origin};
use super::file::{self, NotToml};
use super::kafka_names::{self, BROKER_SETTINGS, BrokerSetting};
use super::keys::{self, KEYS, Key};
use super::mirrors;
use super::nearest::{distance, nearest};
use super::value::BadValue;
use super::{BrokerConfig, ServeFlags};

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
    /// Both servers want the same address.
    #[error("listen and admin_listen are both {0}: give one of them another port")]
    SameAddress(std::net::SocketAddr),
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

/// A row of one of the two tables of settings.
#[derive(Clone, Copy)]
pub(super) enum Row {
    Own(&'static Key),
    Kafka(&'static BrokerSetting),
}

impl Row {
    /// The row called `name`: Thalweg's own, or Kafka's.
    pub(super) fn find(name: &str) -> Option<Self> {
        keys::find(name).map(Self::Own).or_else(|| kafka_names::find(name).map(Self::Kafka))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Own(key) => key.name,
            Self::Kafka(setting) => setting.name,
        }
    }

    fn variable(self) -> String {
        match self {
            Self::Own(key) => key.variable(),
            Self::Kafka(setting) => keys::variable(&format!("kafka.{}", setting.name)),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        KEYS.iter().map(Self::Own).chain(BROKER_SETTINGS.iter().map(Self::Kafka))
    }
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
            return Err(Conflict::SameAddress(self.listen));
        }
        let (memory, request) = (self.limits.request_memory_bytes, self.limits.request_bytes_max);
        if memory < request {
            return Err(Conflict::RequestExceedsMemory { memory, request });
        }
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
}

fn unknown(origin: Origin, key: &str) -> ConfigError {
    let instead = mirrors::find(key)
        .map(|mirror| mirror.key)
        .or_else(|| nearest(key, Row::all().map(Row::name)))
        .map(str::to_owned);
    ConfigError::UnknownKey { origin, key: key.to_owned(), instead }
}

/// In a file the table matters too, and a key in the wrong one is a likelier slip than a letter.
fn unknown_in_file(origin: Origin, key: &str) -> ConfigError {
    let name = key.strip_prefix("kafka.").unwrap_or(key);
    let own = || nearest(name, KEYS.iter().map(|key| key.name)).map(str::to_owned);
    let kafka = || {
        let names = BROKER_SETTINGS.iter().map(|setting| setting.name);
        nearest(name, names).map(|name| format!("kafka.{name}"))
    };
    let instead = if let Some(mirror) = mirrors::find(name) {
        Some(mirror.key.to_owned())
    } else if name == key && kafka_names::find(name).is_none() {
        own().or_else(kafka)
    } else {
        kafka().or_else(own)
    };
    ConfigError::UnknownKey { origin, key: key.to_owned(), instead }
}
