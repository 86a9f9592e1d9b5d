//! AlterConfigs and IncrementalAlterConfigs as functions from the stored map to the next one.
//!
//! All or nothing: one bad key refuses the whole resource. Values are stored in their canonical
//! text. The order of checks is Kafka's (KIP-339): the shape of the request first (keys twice,
//! nulls, unknown operations: INVALID_REQUEST), then names and values (INVALID_CONFIG).

use std::collections::BTreeMap;

use thiserror::Error;

use super::settings::inherited;
use super::{InvalidConfig, TopicSettings, canonical, table};
use crate::config::BrokerConfig;
use crate::config::kafka_names::{self, BROKER_DRAINED};
use crate::config::mirrors;
use crate::config::value::{Kind, split_list};

/// What to do with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Give it this value.
    Set,
    /// Take the override away.
    Delete,
    /// Add these items to the list.
    Append,
    /// Take these items out of the list.
    Subtract,
}

impl TryFrom<i8> for Operation {
    type Error = AlterError;

    fn try_from(number: i8) -> Result<Self, AlterError> {
        match number {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            _ => Err(AlterError::UnknownOperation(number)),
        }
    }
}

/// One key of an alteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The configuration's name.
    pub name: &'a str,
    /// What to do.
    pub operation: Operation,
    /// With what; only [`Operation::Delete`] needs nothing.
    pub value: Option<&'a str>,
}

/// Why an alteration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AlterError {
    /// INVALID_REQUEST: a key is named twice.
    #[error("'{0}' is named twice")]
    NamedTwice(String),
    /// INVALID_REQUEST: a key has no value.
    #[error("'{0}' has no value: to take an override away, delete it")]
    NoValue(String),
    /// INVALID_REQUEST: an operation nobody knows.
    #[error("there is no operation {0}")]
    UnknownOperation(i8),
    /// INVALID_CONFIG: a name or a value is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

/// A topic's overrides after `changes`.
pub fn alter_topic(
    broker: &BrokerConfig,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    check_shape(changes)?;
    let mut next = current.clone();
    for change in changes {
        let Some(config) = table::find(change.name) else {
            // What another version of the broker stored must be possible to take away.
            if change.operation == Operation::Delete && next.remove(change.name).is_some() {
                continue;
            }
            return Err(InvalidConfig::Unknown(change.name.to_owned()).into());
        };
        // A list grows from what counts now, so that appending "compact" to a topic that inherits
        // "delete" makes both.
        let base = || next.get(config.name).cloned().unwrap_or_else(|| inherited(broker, config));
        match changed(change, config.name, config.kind, base)? {
            Some(value) => {
                let (_, value) = canonical(config.name, &value)?;
                next.insert(config.name.to_owned(), value);
            }
            None => drop(next.remove(config.name)),
        }
    }
    TopicSettings::resolve(broker, &next)?;
    Ok(next)
}

/// A topic's overrides when they are replaced as a whole.
pub fn replace_topic(
    broker: &BrokerConfig,
    pairs: &[(&str, Option<&str>)],
) -> Result<BTreeMap<String, String>, AlterError> {
    alter_topic(broker, &BTreeMap::new(), &sets(pairs))
}

/// The stored settings of all brokers after `changes`, as [`alter_broker`] makes them. What only
/// one broker can be told is refused.
pub fn alter_all_brokers(
    broker: &BrokerConfig,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    if changes.iter().any(|change| change.name == BROKER_DRAINED.name) {
        return Err(InvalidConfig::OfOneBroker(BROKER_DRAINED.name).into());
    }
    alter_broker(broker, current, changes)
}

/// The stored settings of one broker after `changes`. `broker` gives the values
/// that lists grow from.
pub fn alter_broker(
    broker: &BrokerConfig,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    check_shape(changes)?;
    let mut next = current.clone();
    for change in changes {
        let individual = Some(&BROKER_DRAINED).filter(|setting| setting.name == change.name);
        let setting = kafka_names::find(change.name).filter(|setting| setting.is_dynamic());
        let setting = setting.or(individual).ok_or_else(|| not_alterable(change.name))?;
        let base = || {
            let stored = next.get(setting.name).map(String::as_str);
            let counts = || broker.kafka.get(setting.name).map(|(value, _)| value);
            stored.or_else(counts).unwrap_or_default().to_owned()
        };
        match changed(change, setting.name, setting.kind, base)? {
            Some(value) => {
                let value = setting.kind.canonical(&value).map_err(|why| {
                    InvalidConfig::BadValue { name: setting.name, value: value.clone(), why }
                })?;
                next.insert(setting.name.to_owned(), value);
            }
            None => drop(next.remove(setting.name)),
        }
    }
    // Topics without overrides must still make sense on top of the new settings.
    let altered = broker.with_dynamic(&next, &BTreeMap::new());
    TopicSettings::resolve(&altered, &BTreeMap::new())?;
    Ok(next)
}

/// The stored settings of one broker, or of all, when they are replaced as a whole.
pub fn replace_broker(
    broker: &BrokerConfig,
    pairs: &[(&str, Option<&str>)],
) -> Result<BTreeMap<String, String>, AlterError> {
    alter_broker(broker, &BTreeMap::new(), &sets(pairs))
}

fn sets<'a>(pairs: &[(&'a str, Option<&'a str>)]) -> Vec<Change<'a>> {
    pairs.iter().map(|&(name, value)| Change { name, operation: Operation::Set, value }).collect()
}

fn check_shape(changes: &[Change<'_>]) -> Result<(), AlterError> {
    let mut seen = std::collections::BTreeSet::new();
    for change in changes {
        if !seen.insert(change.name) {
            return Err(AlterError::NamedTwice(change.name.to_owned()));
        }
        if change.operation != Operation::Delete && change.value.is_none() {
            return Err(AlterError::NoValue(change.name.to_owned()));
        }
    }
    Ok(())
}

/// The key's next value; `None` takes it away. `base` is the value a list grows from.
fn changed(
    change: &Change<'_>,
    name: &'static str,
    kind: Kind,
    base: impl Fn() -> String,
) -> Result<Option<String>, AlterError> {
    let value = change.value.unwrap_or_default();
    match change.operation {
        Operation::Set => Ok(Some(value.to_owned())),
        Operation::Delete => Ok(None),
        Operation::Append | Operation::Subtract if !kind.is_list() => {
            Err(InvalidConfig::NotAList { name }.into())
        }
        Operation::Append => {
            let base = base();
            let mut items: Vec<&str> = split_list(&base).collect();
            for item in split_list(value) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Some(items.join(",")))
        }
        Operation::Subtract => {
            let base = base();
            let gone: Vec<&str> = split_list(value).collect();
            let items: Vec<&str> = split_list(&base).filter(|item| !gone.contains(item)).collect();
            Ok(Some(items.join(",")))
        }
    }
}

fn not_alterable(name: &str) -> InvalidConfig {
    if kafka_names::find(name).is_some() || mirrors::find(name).is_some() {
        InvalidConfig::ReadOnly(name.to_owned())
    } else {
        InvalidConfig::Unknown(name.to_owned())
    }
}
