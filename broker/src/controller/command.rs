//! What can be asked of the controller, as it stands in group 0's log.
//!
//! Commands are JSON: they are few, they must stay readable for ever, and a person who looks at
//! the log at three in the morning should not need a schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::image::{Assignment, Broker};

/// Overrides by name.
pub(crate) type Configs = BTreeMap<String, String>;

/// One change of the cluster image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Command {
    /// A broker says where clients reach it.
    RegisterBroker { node: i32, broker: Broker },
    /// A topic with all its partitions placed. The id was drawn by the proposer.
    CreateTopic { name: String, id: Uuid, partitions: Vec<Assignment>, configs: Configs },
    /// The topic is gone for clients; brokers remove its data.
    DeleteTopic { id: Uuid },
    /// A broker has removed the data of a deleted topic.
    TopicPurged { id: Uuid },
    /// Partitions are added behind the existing ones.
    AddPartitions { id: Uuid, partitions: Vec<Assignment> },
    /// Replaces a topic's overrides, if they still are `expected` (when that is given).
    SetTopicConfigs { id: Uuid, expected: Option<Configs>, configs: Configs },
    /// Replaces the overrides of one broker, or of all when `node` is absent, likewise.
    SetBrokerConfigs { node: Option<i32>, expected: Option<Configs>, configs: Configs },
    /// A broker takes the next `count` producer ids for itself.
    AllocateProducerIds { count: u32 },
}

/// What a command that was accepted has to say to its proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The image has changed.
    Applied,
    /// The producer ids from `first` on, as many as were asked for.
    ProducerIds { first: i64 },
}

/// Why a command left the image as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CommandError {
    /// `CreateTopic` of a name that is taken.
    #[error("topic '{0}' already exists")]
    TopicExists(String),
    /// The topic is not, or no longer, there.
    #[error("topic {0} does not exist")]
    UnknownTopic(Uuid),
    /// The overrides are no longer those the proposer started from.
    #[error("the configuration was changed by someone else meanwhile")]
    ConfigsChanged,
    /// Two ids collided, or a name collides with another once dots become underscores.
    #[error("topic '{0}' collides with existing topic '{1}'")]
    TopicCollides(String, String),
}
