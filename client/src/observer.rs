//! What a client tells whoever watches it: requests, batches, retries, what was fetched and how far
//! behind that is, commits and rebalances. For metrics of any kind, without this crate choosing
//! one.
//!
//! All is told by request or by batch, never by record, and nothing is measured or gathered while
//! nobody watches.

use std::fmt::Debug;
use std::time::Duration;

use thalweg_protocol::ApiKey;

use crate::address::BrokerAddress;
use crate::error::RequestFault;
use crate::topic_partition::TopicPartition;

/// Is told what a client does, on the client's own tasks: so it should only count, and must not
/// block. All methods do nothing unless written.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A request has been answered, or will not be.
    fn on_request(&self, request: &ObservedRequest<'_>) {
        let _ = request;
    }

    /// A batch of a producer has been acknowledged, or has failed for good.
    fn on_batch(&self, batch: &ObservedBatch<'_>) {
        let _ = batch;
    }

    /// A batch of a producer could not be written and will be sent again.
    fn on_retry(&self, topic: &str, partition: i32) {
        let _ = (topic, partition);
    }

    /// A consumer has fetched from a partition.
    fn on_fetch(&self, fetch: &ObservedFetch<'_>) {
        let _ = fetch;
    }

    /// A consumer has committed to its group, or failed to.
    fn on_commit(&self, group: &str, partitions: usize, succeeded: bool) {
        let _ = (group, partitions, succeeded);
    }

    /// A consumer has got partitions, or given them up.
    fn on_rebalance(&self, group: &str, change: ObservedChange, partitions: &[TopicPartition]) {
        let _ = (group, change, partitions);
    }
}

/// A request, from when it was queued.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ObservedRequest<'a> {
    /// The broker asked.
    pub broker: &'a BrokerAddress,
    /// What was asked.
    pub api: ApiKey,
    /// How long it took: to be written, carried out, and answered.
    pub latency: Duration,
    /// The size of the answer; 0 without one.
    pub response_bytes: usize,
    /// Why there is no answer, if there is none.
    pub fault: Option<&'a RequestFault>,
}

/// A batch of records that was to be written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ObservedBatch<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// How many records it has.
    pub records: usize,
    /// Its size on the wire, compressed.
    pub bytes: usize,
    /// Whether it was acknowledged.
    pub succeeded: bool,
}

/// What one answer brought of one partition.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ObservedFetch<'a> {
    /// The partition.
    pub partition: &'a TopicPartition,
    /// How many batches it brought.
    pub batches: usize,
    /// Their size on the wire, compressed.
    pub bytes: usize,
    /// How many offsets are left up to the end of the partition, those read ahead not counted.
    pub lag: i64,
    /// How much is read ahead of the application now, of all partitions.
    pub buffered_bytes: usize,
}

/// What a rebalance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedChange {
    /// The partitions are the consumer's now.
    Assigned,
    /// They were given up in good order.
    Revoked,
    /// They may have been somebody else's already.
    Lost,
}
