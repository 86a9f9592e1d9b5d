//! Writing records: gathered into batches, sent to the leaders of their partitions, acknowledged.
//!
//! [`Producer::send`] waits for the acknowledgement, [`Producer::enqueue`] only for room, and gives
//! a [`Delivery`] to await later. Records are written once, into the buffer that is sent; one task
//! does the sending.

mod accumulator;
mod batch;
mod builder;
mod delivery;
mod driver;
mod enqueue;
mod error;
mod exchange;
mod identity;
mod interceptor;
mod lineup;
mod murmur2;
mod partitioner;
mod routes;
mod shared;

use std::sync::Arc;

pub use builder::{Acks, ProducerBuilder};
pub use delivery::{Delivery, RecordMetadata};
pub use error::{Attempt, ProduceError, ProduceFault};
pub use interceptor::{Interceptor, OutgoingHeader, OutgoingRecord};
pub use partitioner::{ChoosePartition, Partitioner};

use crate::cluster::Cluster;
use crate::record::Record;
use builder::Settings;
use delivery::settled;
use driver::Driver;
use shared::Shared;

/// Writes records. Cheap to clone, and meant to be shared: the more records go through one
/// producer, the better its batches.
///
/// When the last clone is dropped, what was enqueued is still sent, as long as the runtime lives;
/// [`close`](Self::close) waits for it.
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Closes the producer when the last clone of it goes.
#[derive(Debug)]
struct Handle {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Producer {
    fn start(cluster: Arc<Cluster>, settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(settings));
        tokio::spawn(Driver::new(cluster.clone(), shared.clone()).run());
        Producer { handle: Arc::new(Handle { cluster, shared }) }
    }

    /// Writes a record and waits until the broker has acknowledged it.
    ///
    /// Cancelled before the record is in its batch, it sends nothing; after that the record is sent
    /// all the same. To know which, use [`enqueue`](Self::enqueue).
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata, ProduceError> {
        self.enqueue(record).await?.await
    }

    /// Puts a record into its batch, and returns without waiting for the broker. Waits for the
    /// topic's metadata if the topic is new, and for room if `buffer_memory` is used up.
    ///
    /// Records enqueued one after another to the same partition are written in that order.
    ///
    /// Cancel-safe: until it has returned, the record is not sent.
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        let Handle { cluster, shared } = &*self.handle;
        enqueue::enqueue(cluster, shared, &record).await
    }

    /// Sends everything that has been enqueued, without waiting for fuller batches, and waits until
    /// each record is acknowledged or has failed. What is enqueued meanwhile is not waited for.
    ///
    /// Cancel-safe: the records are sent whether or not somebody waits.
    pub async fn flush(&self) {
        self.handle.shared.close_batches();
        for completion in self.handle.shared.incomplete() {
            settled(completion).await;
        }
    }

    /// Refuses further records, on all clones, and waits as [`flush`](Self::flush) does.
    ///
    /// Cancel-safe: it is closed either way.
    pub async fn close(&self) {
        self.handle.shared.close();
        self.flush().await;
    }
}
