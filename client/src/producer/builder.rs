//! What a producer is configured with. Settings that contradict each other are reconciled when it
//! is built, as each says.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::compression::Codec;

use super::interceptor::{Interceptor, Interceptors};
use super::{Partitioner, Producer};
use crate::cluster::Cluster;

/// How much must have happened to a record before the broker acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nothing: there is no acknowledgement, and a record may be lost without anybody noticing.
    None,
    /// The partition's leader has it. It is lost if the leader is lost soon after.
    Leader,
    /// As many replicas have it as the topic demands.
    #[default]
    All,
}

impl Acks {
    pub(super) fn on_the_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// The settings of a [`Producer`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    settings: Settings,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) acks: Acks,
    pub(super) codec: Codec,
    pub(super) level: Option<i32>,
    pub(super) linger: Option<Duration>,
    pub(super) batch_bytes: usize,
    pub(super) request_bytes_max: usize,
    pub(super) buffer_memory: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) idempotent: bool,
    pub(super) partitioner: Partitioner,
    pub(super) create_topics: bool,
    pub(super) interceptors: Interceptors,
}

/// What brokers remember of an idempotent producer: its last five batches in each partition.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            acks: Acks::All,
            codec: Codec::None,
            level: None,
            linger: None,
            batch_bytes: 128 * 1024,
            request_bytes_max: 1024 * 1024,
            buffer_memory: 64 * 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            max_in_flight: IDEMPOTENT_IN_FLIGHT_MAX,
            idempotent: true,
            partitioner: Partitioner::default(),
            create_topics: false,
            interceptors: Interceptors::none(),
        }
    }
}

impl ProducerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        ProducerBuilder { cluster, settings: Settings::default() }
    }

    /// How much must have happened to a record before it counts as written. Anything but
    /// [`Acks::All`] also switches idempotence off. Default [`Acks::All`].
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// How batches are compressed, at the codec's usual level. Default [`Codec::None`].
    pub fn compression(mut self, codec: Codec) -> Self {
        self.settings.codec = codec;
        self.settings.level = None;
        self
    }

    /// How batches are compressed, and how hard ([`Codec::levels`]).
    pub fn compression_at(mut self, codec: Codec, level: i32) -> Self {
        self.settings.codec = codec;
        self.settings.level = Some(level);
        self
    }

    /// How long a record waits for others to share its batch, even when the broker is idle. By
    /// default a record goes at once if nothing is on its way to the broker, and otherwise waits
    /// for the answer to that, for 2 ms at the longest: a lone record is quick, and many travel
    /// together.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = Some(linger);
        self
    }

    /// The size at which a batch is full, before compression. A larger record has a batch to
    /// itself. Default 128 KiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes = bytes;
        self
    }

    /// How much one request carries in all, unless a single batch is larger. Default 1 MiB.
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.request_bytes_max = bytes;
        self
    }

    /// How much memory the records may take that are not yet acknowledged. Beyond it, sending waits
    /// for room. Default 64 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.settings.buffer_memory = bytes;
        self
    }

    /// How long to try to deliver a record, counted from when it was enqueued. A record that is on
    /// its way when time is up is given the rest of its request's time. Default 2 min.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// How many requests may be on their way to one broker; at most 5 if the producer is
    /// idempotent. Default 5.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests.max(1);
        self
    }

    /// Whether batches are numbered, so that one that is sent again is written once, and the order
    /// holds whatever is sent again (KIP-98, KIP-679). Without it, records that were sent again may
    /// be there twice, and out of order unless `max_in_flight` is 1. Default true.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.settings.idempotent = idempotent;
        self
    }

    /// Which partition a record goes to. Default [`Partitioner::KeyHash`].
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.settings.partitioner = partitioner;
        self
    }

    /// Whether the brokers may create a topic that is not there, if they are configured to. Default
    /// false: a misspelt name is an error.
    pub fn create_topics(mut self, create: bool) -> Self {
        self.settings.create_topics = create;
        self
    }

    /// Shows each record to this interceptor, after those set before it.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// Makes the producer and starts its task.
    ///
    /// # Panics
    /// If called outside a Tokio runtime.
    pub fn build(self) -> Producer {
        let ProducerBuilder { cluster, mut settings } = self;
        settings.idempotent &= settings.acks == Acks::All;
        if settings.idempotent {
            settings.max_in_flight = settings.max_in_flight.min(IDEMPOTENT_IN_FLIGHT_MAX);
        }
        // What is promised for a record must fit the semaphore that counts it.
        settings.buffer_memory = settings.buffer_memory.min(u32::MAX as usize);
        Producer::start(cluster, settings)
    }
}
