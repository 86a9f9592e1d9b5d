//! A setting of either table, and what was meant by a name that is in neither.

use super::entries::Origin;
use super::error::ConfigError;
use super::kafka_names::{self, BROKER_SETTINGS, BrokerSetting};
use super::keys::{self, KEYS, Key};
use super::mirrors;
use super::nearest::nearest;

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

    pub(super) fn variable(self) -> String {
        match self {
            Self::Own(key) => key.variable(),
            Self::Kafka(setting) => keys::variable(&format!("kafka.{}", setting.name)),
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        KEYS.iter().map(Self::Own).chain(BROKER_SETTINGS.iter().map(Self::Kafka))
    }
}

/// The error for `key`, written in the environment or a flag.
pub(super) fn unknown(origin: Origin, key: &str) -> ConfigError {
    let instead = mirrors::find(key)
        .map(|mirror| mirror.key)
        .or_else(|| nearest(key, Row::all().map(Row::name)))
        .map(str::to_owned);
    ConfigError::UnknownKey { origin, key: key.to_owned(), instead }
}

/// The error for `key`, written in a file. There the table matters too, and a key in the wrong one
/// is a likelier slip than a letter.
pub(super) fn unknown_in_file(origin: Origin, key: &str) -> ConfigError {
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
