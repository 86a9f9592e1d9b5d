//! Why records of a partition cannot be had. What passes by itself (a leader that moves, a broker
//! that restarts) is not among it.

use std::sync::Arc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::batch::{BatchError, RecordError};
use thiserror::Error;

use crate::address::BrokerAddress;
use crate::cluster::{PartitionError, TopicFault};
use crate::error::RequestError;
use crate::topic_partition::TopicPartition;

/// A partition cannot be read on. It is left alone until the consumer is told to
/// [`seek`](super::PartitionConsumer::seek) in it; the others are not affected.
#[derive(Debug, Clone, Error)]
#[error("{partition}{at}: {fault}", at = at(.offset, .broker))]
pub struct ConsumeError {
    /// The partition.
    pub partition: TopicPartition,
    /// Where reading stopped, if it had begun.
    pub offset: Option<i64>,
    /// The broker asked, if any was.
    pub broker: Option<BrokerAddress>,
    /// What went wrong.
    #[source]
    pub fault: ConsumeFault,
}

/// Why a partition cannot be read on.
#[derive(Debug, Clone, Error)]
pub enum ConsumeFault {
    /// The topic's partitions could not be found out.
    #[error("{0}")]
    Topic(#[source] Box<TopicFault>),
    /// The topic has no such partition.
    #[error("there is no such partition: the topic has {partition_count}")]
    NoSuchPartition {
        /// How many partitions the topic has.
        partition_count: usize,
    },
    /// The consumer does not read this partition.
    #[error("the consumer does not read it")]
    NotAssigned,
    /// What was to be stored was read before the last seek in the partition, or before this
    /// consumer was given it.
    #[error("offset {offset} was read before a seek or a rebalance, and is not stored")]
    Outdated {
        /// The offset that was to be stored.
        offset: i64,
    },
    /// The position is outside the log: retention or a deletion has overtaken it, or it was never
    /// right.
    #[error("there is no such offset; seek, or choose what to do with on_offset_out_of_range")]
    OffsetOutOfRange,
    /// The group has committed nothing in it, and is not to begin anywhere by itself.
    #[error("the group has no offset for it; seek, or choose where to begin by auto_offset_reset")]
    NothingCommitted,
    /// Records that were read have since been replaced: a leader was elected that did not have them
    /// (KIP-320).
    #[error("the log was cut at offset {end_offset}, behind what was read already; seek to go on")]
    Truncated {
        /// Where what was read and what is there now part.
        end_offset: i64,
    },
    /// Where to begin could not be found out.
    #[error("{0}")]
    Start(#[source] Box<PartitionError>),
    /// The broker refused to read.
    #[error("refused with {0}{hint}", hint = hint(*.0))]
    Refused(ErrorCode),
    /// The broker cannot be asked.
    #[error("{0}")]
    Unanswered(#[source] Arc<RequestError>),
    /// A batch is damaged.
    #[error("damaged batch: {0}; seek beyond it to skip it")]
    Batch(BatchError),
    /// The records of a batch cannot be read.
    #[error("unreadable records: {0}; seek beyond them to skip them")]
    Records(RecordError),
}

fn at(offset: &Option<i64>, broker: &Option<BrokerAddress>) -> String {
    let offset = offset.map(|offset| format!(" offset {offset}")).unwrap_or_default();
    let broker = broker.as_ref().map(|broker| format!(", {broker}")).unwrap_or_default();
    offset + &broker
}

fn hint(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::TopicAuthorizationFailed => "; the client may not read this topic",
        ErrorCode::UnsupportedCompressionType => "; the codec needs a newer broker or client",
        _ => "",
    }
}

impl ConsumeError {
    /// Whether seeking to the same offset again may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match &self.fault {
            ConsumeFault::Topic(fault) => fault.is_retriable(),
            ConsumeFault::Start(error) => error.is_retriable(),
            ConsumeFault::Refused(error) => error.is_retriable(),
            ConsumeFault::Unanswered(error) => error.is_retriable(),
            // It may have been damaged on its way here, or in one replica only.
            ConsumeFault::Batch(_) => true,
            ConsumeFault::NoSuchPartition { .. }
            | ConsumeFault::NotAssigned
            | ConsumeFault::Outdated { .. }
            | ConsumeFault::OffsetOutOfRange
            | ConsumeFault::NothingCommitted
            | ConsumeFault::Truncated { .. }
            | ConsumeFault::Records(_) => false,
        }
    }
}
