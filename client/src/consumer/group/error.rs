//! What can go wrong when a group reads: with one of its partitions, with the group itself, or with
//! keeping what has been read.

use std::sync::Arc;

use thalweg_protocol::ErrorCode;
use thiserror::Error;

use crate::cluster::GroupError;
use crate::consumer::ConsumeError;
use crate::topic_partition::TopicPartition;

/// No record can be given.
#[derive(Debug, Clone, Error)]
pub enum ConsumerError {
    /// One partition cannot be read on. It stands still until a seek, the others go on.
    #[error(transparent)]
    Partition(#[from] ConsumeError),
    /// The consumer cannot be a member of its group. This is final: it comes again with every call.
    /// What passes by itself (a coordinator that moves, a rebalance, being away for too long) is
    /// not reported; [`on_lost`](super::RebalanceListener::on_lost) tells of what it cost.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// Offsets were not committed, or not all of them.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// The consumer is no member of the group now, so the partitions may be somebody else's: it has
    /// not joined yet, or was away for too long.
    #[error("not a member of group {0} now, so its partitions may be read by others")]
    NotAMember(Arc<str>),
    /// The coordinator did not do it.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The coordinator refused it for a partition.
    #[error("{partition}: not committed: {error}")]
    Partition {
        /// The first partition refused.
        partition: TopicPartition,
        /// Why.
        error: ErrorCode,
    },
}

impl CommitError {
    /// Whether another attempt may succeed without anybody changing anything. The partitions may
    /// be others' by then.
    pub fn is_retriable(&self) -> bool {
        match self {
            CommitError::NotAMember(_) => true,
            CommitError::Group(error) => error.is_retriable(),
            CommitError::Partition { error, .. } => error.is_retriable(),
        }
    }
}
