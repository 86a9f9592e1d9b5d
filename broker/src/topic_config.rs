//! Topic configurations: the table of all that Kafka 4.3 lists, the typed settings a partition runs
//! with, and what admin clients may ask and change.
//!
//! A topic's overrides are a map of texts, each of which has passed its row's check. They are laid
//! over the broker's settings ([`crate::config::kafka`]) to make [`TopicSettings`]. Everything
//! here is a pure function: the controller decides when an alteration is stored.

mod alter;
mod describe;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use alter::{
    AlterError, Change, Operation, alter_all_brokers, alter_broker, alter_topic, replace_broker,
    replace_topic,
};
pub use describe::{
    DescribedConfig, DescribedSynonym, describe_broker, describe_cluster_default, describe_drained,
    describe_topic,
};
pub use settings::{TopicCompression, TopicSettings};
pub use table::{Effect, TOPIC_CONFIGS, TopicConfig, broker_documentation};

use crate::config::value::BadValue;
use thiserror::Error;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    /// A name that is in no table.
    #[error("there is no configuration called '{0}'")]
    Unknown(String),
    /// A value that its name cannot have.
    #[error("'{value}' is no value for {name}: {why}")]
    BadValue {
        /// The configuration.
        name: &'static str,
        /// The value as sent.
        value: String,
        /// What it should be.
        why: BadValue,
    },
    /// Compaction would have to happen before it may.
    #[error("min.compaction.lag.ms ({min}) is more than max.compaction.lag.ms ({max})")]
    CompactionLag {
        /// The least wait.
        min: i64,
        /// The longest wait.
        max: i64,
    },
    /// A broker setting that only counts at start.
    #[error("{0} cannot be changed while the broker runs: set it in its configuration file")]
    ReadOnly(String),
    /// A setting that all brokers cannot have at once.
    #[error("{0} is set for one broker, by its id, and not for all at once")]
    OfOneBroker(&'static str),
    /// APPEND or SUBTRACT on something that is not a list.
    #[error("{name} is not a list: nothing can be appended to it or subtracted from it")]
    NotAList {
        /// The configuration.
        name: &'static str,
    },
}

/// Whether a topic may set `name` to `value`.
pub fn validate(name: &str, value: &str) -> Result<(), InvalidConfig> {
    canonical(name, value).map(drop)
}

/// The row of `name` and the one way to write `value`.
fn canonical(name: &str, value: &str) -> Result<(&'static TopicConfig, String), InvalidConfig> {
    let config = table::find(name).ok_or_else(|| InvalidConfig::Unknown(name.to_owned()))?;
    match config.kind.canonical(value) {
        Ok(canonical) => Ok((config, canonical)),
        Err(why) => {
            Err(InvalidConfig::BadValue { name: config.name, value: value.to_owned(), why })
        }
    }
}
