//! Putting a record into its batch. The usual case waits for nothing and allocates nothing; what
//! has to be waited for is the metadata of a new topic, and room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::accumulator::AppendError;
use super::delivery::Delivery;
use super::error::{ProduceError, ProduceFault};
use super::shared::Shared;
use crate::cluster::Cluster;
use crate::record::Record;

/// How far a record got without waiting.
enum Step {
    Enqueued(Delivery),
    /// The topic is new, or its metadata has changed.
    Unrouted,
    /// The buffer memory is used up.
    NoRoom,
}

/// Buffer memory that is to be given back unless a batch has taken it over.
struct Reservation<'a> {
    shared: &'a Shared,
    bytes: u32,
    is_held: bool,
}

/// A record names a partition that metadata of at least this age does not know.
const DOUBTFUL_AGE: Duration = Duration::from_secs(1);

/// Enqueues the record as the interceptors want it.
pub(super) async fn enqueue(
    cluster: &Arc<Cluster>,
    shared: &Shared,
    record: &Record<'_>,
) -> Result<Delivery, ProduceError> {
    let interceptors = &shared.settings.interceptors;
    if interceptors.is_empty() {
        return enqueue_as_is(cluster, shared, record).await;
    }
    let outgoing = interceptors.on_send(record);
    let outcome = enqueue_as_is(cluster, shared, &outgoing.as_record()).await;
    match &outcome {
        // Nothing is locked here, so the interceptor may use the producer.
        Ok(delivery) => delivery.tell(interceptors),
        Err(error) => interceptors.on_acknowledgement(&outgoing.topic, Err(error)),
    }
    outcome
}

async fn enqueue_as_is(
    cluster: &Arc<Cluster>,
    shared: &Shared,
    record: &Record<'_>,
) -> Result<Delivery, ProduceError> {
    let (size, limit) = (record.size_max(), shared.settings.buffer_memory);
    let Some(bytes) = u32::try_from(size).ok().filter(|_| size <= limit) else {
        return Err(error(record, None, ProduceFault::TooLargeForBuffer { size, limit }));
    };
    let mut reservation = Reservation { shared, bytes, is_held: false };
    loop {
        match step(cluster, record, &mut reservation)? {
            Step::Enqueued(delivery) => return Ok(delivery),
            Step::NoRoom => reservation.wait().await,
            Step::Unrouted => learn(cluster, shared, record).await?,
        }
    }
}

fn step(
    cluster: &Cluster,
    record: &Record<'_>,
    reservation: &mut Reservation<'_>,
) -> Result<Step, ProduceError> {
    let shared = reservation.shared;
    let routes = shared.routes.read();
    let route = routes.get(record.topic).filter(|route| route.is_of(cluster.metadata_version()));
    let Some(route) = route else { return Ok(Step::Unrouted) };
    let partition = route.partition(record, &shared.settings, &cluster.jitter);
    let Some(accumulator) = route.accumulator(partition) else {
        if route.topic.read_at.elapsed() >= DOUBTFUL_AGE {
            return Ok(Step::Unrouted);
        }
        let partition_count = route.partition_count();
        let fault = ProduceFault::NoSuchPartition { partition_count };
        return Err(error(record, Some(partition), fault));
    };
    if !reservation.is_made() {
        return Ok(Step::NoRoom);
    }
    let batch_bytes = shared.settings.batch_bytes;
    let size = reservation.bytes as usize;
    let appended = accumulator.append(record, size, batch_bytes, |batch| shared.register(batch));
    let appended = appended.map_err(|fault| {
        error(
            record,
            Some(partition),
            match fault {
                AppendError::Build(fault) => ProduceFault::Batch(fault),
                AppendError::Closed => ProduceFault::Closed,
            },
        )
    })?;
    reservation.is_held = false;
    if appended.is_news {
        shared.signal(accumulator.slot);
    }
    Ok(Step::Enqueued(appended.delivery))
}

/// Finds out where records of the topic go.
async fn learn(
    cluster: &Arc<Cluster>,
    shared: &Shared,
    record: &Record<'_>,
) -> Result<(), ProduceError> {
    let deadline = Instant::now() + cluster.options.operation_timeout;
    let known = cluster.metadata().topic(record.topic).cloned();
    let is_doubtful = |partition: i32| {
        known.as_ref().is_some_and(|topic| {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            partition >= count && topic.read_at.elapsed() >= DOUBTFUL_AGE
        })
    };
    if record.partition.is_some_and(is_doubtful) {
        // The topic may have been enlarged since. If nobody can say, the record is refused.
        let _ = cluster.refresh().await;
    }
    let version = cluster.metadata_version();
    let create = shared.settings.create_topics;
    let topic =
        cluster.topic(record.topic, create, deadline).await.map_err(|error| ProduceError {
            topic: error.topic,
            partition: None,
            broker: None,
            fault: ProduceFault::Topic(Box::new(error.fault)),
        })?;
    shared.learn_route(topic, version);
    Ok(())
}

fn error(record: &Record<'_>, partition: Option<i32>, fault: ProduceFault) -> ProduceError {
    ProduceError { topic: record.topic.into(), partition, broker: None, fault }
}

impl Reservation<'_> {
    /// Whether there is room for the record, which is then its own.
    fn is_made(&mut self) -> bool {
        self.is_held = self.is_held || self.shared.has_reserved(self.bytes);
        self.is_held
    }

    async fn wait(&mut self) {
        self.shared.reserve(self.bytes).await;
        self.is_held = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.is_held {
            self.shared.memory.add_permits(self.bytes as usize);
        }
    }
}
