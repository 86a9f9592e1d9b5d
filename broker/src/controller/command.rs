//! What can be asked of the controller, as it stands in group 0's log.
//!
//! Commands are JSON: they are few, they must stay readable for ever, and a person who looks at
//! the log at three in the morning should not need a schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::assignment::Assignment;
use super::image::Broker;

/// Overrides by name.
pub(crate) type Configs = BTreeMap<String, String>;

/// One change of the cluster image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Command {
    /// A broker says where it is reached. It lives, so it is not fenced.
    RegisterBroker { node: i32, broker: Broker },
    /// The active controller has lost sight of a broker, or hears from it again.
    SetFenced { node: i32, fenced: bool },
    /// A broker is gone for good.
    UnregisterBroker { node: i32 },
    /// A topic with all its partitions placed. The id was drawn by the proposer.
    CreateTopic { name: String, id: Uuid, partitions: Vec<Assignment>, configs: Configs },
    /// The topic is gone for clients; brokers remove its data.
    DeleteTopic { id: Uuid },
    /// A broker has removed the data of a deleted topic. Logs of versions that knew only one
    /// broker name none.
    TopicPurged {
        id: Uuid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<i32>,
    },
    /// Partitions are added behind the existing ones.
    AddPartitions {
        id: Uuid,
        /// The number of the first one, which must be the next; absent in old logs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<usize>,
        partitions: Vec<Assignment>,
    },
    /// The partition is to live on `target`; without one, where it lived before the reassignment
    /// under way. The same brokers in another order are that order at once.
    Reassign { id: Uuid, partition: i32, target: Option<Vec<i32>> },
    /// The partition's leader has made the target's brokers the voters of the group.
    FinishReassignment {
        id: Uuid,
        partition: i32,
        replicas: Vec<i32>,
        /// Index of the `Reassign` that is finished; absent in old logs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// A broker that a reassignment took out has removed its copy.
    ReplicaPurged { id: Uuid, partition: i32, node: i32 },
    /// Replaces a topic's overrides, if they still are `expected` (when that is given).
    SetTopicConfigs { id: Uuid, expected: Option<Configs>, configs: Configs },
    /// Replaces the overrides of one broker, or of all when `node` is absent, likewise.
    SetBrokerConfigs { node: Option<i32>, expected: Option<Configs>, configs: Configs },
    /// Changes nothing. Whoever has proposed it knows everything that was committed before.
    Barrier,
    /// A broker takes the next `count` producer ids for itself.
    AllocateProducerIds { count: u32 },
}

/// What a command that was accepted has to say to its proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The image has changed.
    Applied,
    /// The producer ids from `first` on, as many as were asked for.
    ProducerIds { first: i64 },
}

/// Why a command left the image as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommandError {
    /// `CreateTopic` of a name that is taken.
    #[error("topic '{0}' already exists")]
    TopicExists(String),
    /// `CreateTopic` was carried out before, and the topic deleted since.
    #[error("topic '{0}' was created, and has been deleted since")]
    TopicDeleted(String),
    /// The topic is not, or no longer, there.
    #[error("topic {0} does not exist")]
    UnknownTopic(Uuid),
    /// The topic has no such partition.
    #[error("topic '{topic}' has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    /// The broker never registered, or was removed.
    #[error("there is no broker {0} in this cluster")]
    UnknownBroker(i32),
    /// Another data directory registers under a known broker's id.
    #[error(
        "the data directory of node {node} was replaced: start it with a new --node-id and --join, \
         then `thalweg cluster drain {node}` and `thalweg cluster remove {node}`"
    )]
    DiskMismatch { node: i32 },
    /// A broker that was removed cannot come back under its id.
    #[error(
        "broker {node} was removed from this cluster: start it with an empty data directory, a new --node-id, and --join"
    )]
    Removed { node: i32 },
    /// A broker that has replicas cannot be removed.
    #[error(
        "broker {node} still has replicas of {partitions} partitions; move them away first: `thalweg cluster drain {node}`"
    )]
    BrokerInUse { node: i32, partitions: usize },
    /// A cluster has at least one broker that lives.
    #[error("broker {0} is the only one that lives: it cannot be removed")]
    LastBroker(i32),
    /// Replicas that no partition can have.
    #[error(
        "replicas {replicas:?}: a partition has at least one replica, and no two on one broker"
    )]
    InvalidReplicas { replicas: Vec<i32> },
    /// Replicas on a broker that never registered, or was removed.
    #[error("broker {0} is not in this cluster, so it cannot have replicas")]
    UnknownReplica(i32),
    /// A broker that still removes its copy cannot get it again at the same time.
    #[error(
        "broker {node} has yet to remove the copy that an earlier reassignment took from it; try again when it has"
    )]
    ReplicaLeaving { node: i32 },
    /// There is nothing to cancel, or to finish.
    #[error("no reassignment of this partition is under way")]
    NoReassignment,
    /// What was finished is not what is wanted now.
    #[error("the reassignment has another target by now")]
    TargetChanged,
    /// Partitions were added by someone else meanwhile, or by the same command before.
    #[error("topic '{topic}' has {partitions} partitions by now")]
    PartitionsChanged { topic: String, partitions: usize },
    /// A broker that lives cannot be removed.
    #[error("broker {node} is up: stop it first, and wait until it is fenced")]
    BrokerAlive { node: i32 },
    /// The overrides are no longer those the proposer started from.
    #[error("the configuration was changed by someone else meanwhile")]
    ConfigsChanged,
    /// Two ids collided, or a name collides with another once dots become underscores.
    #[error("topic '{0}' collides with existing topic '{1}'")]
    TopicCollides(String, String),
}
