//! Why a record was not written, or why nobody knows whether it was. The difference matters to
//! whoever thinks of sending it again, so every error can tell.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::batch::BuildError;
use thiserror::Error;

use crate::address::BrokerAddress;
use crate::cluster::TopicFault;
use crate::error::{ConnectError, RequestError};

/// A record was not acknowledged.
#[derive(Debug, Clone, Error)]
#[error("{place}: {fault}", place = self.place())]
pub struct ProduceError {
    /// The topic the record was for.
    pub topic: Arc<str>,
    /// The partition, if it had come to one.
    pub partition: Option<i32>,
    /// The broker that was asked last, if any was.
    pub broker: Option<BrokerAddress>,
    /// What went wrong.
    #[source]
    pub fault: ProduceFault,
}

/// Why a record was not acknowledged.
#[derive(Debug, Clone, Error)]
pub enum ProduceFault {
    /// The topic's partitions could not be found out.
    #[error("{0}")]
    Topic(Box<TopicFault>),
    /// The record names a partition that the topic does not have.
    #[error("there is no such partition: the topic has {partition_count}")]
    NoSuchPartition {
        /// How many partitions the topic has.
        partition_count: i32,
    },
    /// The record alone is larger than all memory for records.
    #[error("the record takes {size} bytes, more than buffer_memory, {limit}")]
    TooLargeForBuffer {
        /// What the record takes.
        size: usize,
        /// The `buffer_memory` of the producer.
        limit: usize,
    },
    /// The batch could not be put together.
    #[error("{0}")]
    Batch(BuildError),
    /// The broker refused the batch; nothing of it was written.
    #[error("refused with {error}{detail}{hint}", detail = detail(.message), hint = hint(*.error))]
    Refused {
        /// The broker's reason.
        error: ErrorCode,
        /// What the broker said about it, if anything.
        message: Option<Arc<str>>,
    },
    /// The delivery timeout was over first.
    #[error("not acknowledged within {limit:?} (delivery_timeout); {fate}; last: {last}",
        fate = fate(*.may_be_written), last = last_words(.last))]
    TimedOut {
        /// The `delivery_timeout` of the producer.
        limit: Duration,
        /// Whether it may have been written all the same.
        may_be_written: bool,
        /// What the last attempt ended with, if there was one.
        last: Option<Box<Attempt>>,
    },
    /// The batch was sent and its only attempt failed, as the producer does not try again.
    #[error("{0}")]
    Attempt(Attempt),
    /// The cluster gave the producer no id, without which it cannot be idempotent.
    #[error("no producer id: {0}; idempotent(false) does without")]
    Unidentified(Attempt),
    /// The producer was closed before the record was written.
    #[error("the producer is closed")]
    Closed,
}

/// How one attempt to reach a broker failed.
#[derive(Debug, Clone, Error)]
pub enum Attempt {
    /// The broker could not be reached.
    #[error("{0}")]
    Unreached(#[source] Arc<ConnectError>),
    /// There was no answer.
    #[error("{0}")]
    Unanswered(#[source] Arc<RequestError>),
    /// The answer was an error.
    #[error("{0}")]
    Refused(ErrorCode),
    /// The answer did not mention the partition.
    #[error("the broker's answer left the partition out")]
    LeftOut,
}

impl Attempt {
    pub(super) fn is_retriable(&self) -> bool {
        match self {
            Attempt::Unreached(error) => error.is_retriable(),
            Attempt::Unanswered(error) => error.is_retriable(),
            Attempt::Refused(error) => error.is_retriable(),
            Attempt::LeftOut => true,
        }
    }

    /// Whether the batch is certainly not in the log for all that this attempt did.
    pub(super) fn wrote_nothing(&self) -> bool {
        match self {
            Attempt::Unreached(_) => true,
            Attempt::Unanswered(error) => !error.was_sent(),
            Attempt::Refused(error) => !matches!(
                error,
                ErrorCode::RequestTimedOut
                    | ErrorCode::NotEnoughReplicasAfterAppend
                    | ErrorCode::UnknownServerError
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::NetworkException
            ),
            Attempt::LeftOut => false,
        }
    }
}

impl ProduceError {
    fn place(&self) -> String {
        let partition = self.partition.map(|partition| format!(" partition {partition}"));
        let broker = self.broker.as_ref().map(|broker| format!(", {broker}"));
        let (partition, broker) = (partition.unwrap_or_default(), broker.unwrap_or_default());
        format!("topic {}{partition}{broker}", self.topic)
    }

    /// Whether sending the record again may succeed without anybody changing anything. It may then
    /// be in the log twice if [`may_be_written`](Self::may_be_written).
    pub fn is_retriable(&self) -> bool {
        match &self.fault {
            ProduceFault::Topic(fault) => fault.is_retriable(),
            ProduceFault::Refused { error, .. } => error.is_retriable(),
            ProduceFault::TimedOut { .. } => true,
            ProduceFault::Attempt(attempt) | ProduceFault::Unidentified(attempt) => {
                attempt.is_retriable()
            }
            ProduceFault::NoSuchPartition { .. }
            | ProduceFault::TooLargeForBuffer { .. }
            | ProduceFault::Batch(_)
            | ProduceFault::Closed => false,
        }
    }

    /// Whether the record may be in the log although it was not acknowledged.
    pub fn may_be_written(&self) -> bool {
        match &self.fault {
            ProduceFault::TimedOut { may_be_written, .. } => *may_be_written,
            ProduceFault::Attempt(attempt) => !attempt.wrote_nothing(),
            ProduceFault::Refused { error, .. } => *error == ErrorCode::UnknownServerError,
            _ => false,
        }
    }
}

fn detail(message: &Option<Arc<str>>) -> String {
    message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
}

fn fate(may_be_written: bool) -> &'static str {
    if may_be_written { "it may be written all the same" } else { "it is not written" }
}

fn last_words(attempt: &Option<Box<Attempt>>) -> String {
    attempt.as_ref().map_or_else(|| "no broker was reached".into(), ToString::to_string)
}

fn hint(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "; lower batch_bytes or raise the topic's max.message.bytes"
        }
        ErrorCode::TopicAuthorizationFailed => "; the client may not write to this topic",
        ErrorCode::ClusterAuthorizationFailed => "; the client may not write idempotently",
        ErrorCode::InvalidRequiredAcks => "; the broker does not take these acks",
        ErrorCode::InvalidTimestamp => "; the topic does not take timestamps so far from now",
        ErrorCode::UnsupportedCompressionType => "; choose another compression",
        _ => "",
    }
}
