//! The cluster as the client sees it: its metadata, and the way to each of its brokers.
//!
//! Producer, consumers and admin share one. Metadata is read again when it is old, when a broker
//! says that it is wrong, and for topics that were never asked about; one reading at a time, which
//! everybody who waits for news joins.

mod coordinators;
mod group_offsets;
mod leaders;
mod metadata;
mod offsets;
mod pool;
mod refresh;
mod route;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use thalweg_protocol::{ErrorCode, LeaderEpoch, NodeId};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use coordinators::Coordinators;
pub use coordinators::{GroupError, GroupFault};
pub(crate) use group_offsets::{Committer, GroupOffsets};
pub(crate) use leaders::PartitionOutcome;
pub use leaders::{PartitionError, PartitionFault};
pub use metadata::Broker;
pub(crate) use metadata::{Metadata, Topic};
pub use offsets::{FoundOffset, Isolation, OffsetAt};
pub(crate) use pool::Pool;
pub use route::Target;

use crate::address::BrokerAddress;
use crate::backoff::Jitter;
use crate::error::RequestError;
use crate::options::Options;
use crate::single_flight::SingleFlight;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) options: Arc<Options>,
    pub(crate) jitter: Arc<Jitter>,
    bootstrap: Vec<BrokerAddress>,
    pub(crate) pool: Pool,
    metadata: watch::Sender<Arc<Metadata>>,
    /// Counts the pictures, so that whoever has made something of one can tell a new one cheaply.
    metadata_version: AtomicU64,
    reading: SingleFlight<Result<(), RequestError>>,
    interest: Mutex<Interest>,
    coordinators: Coordinators,
}

/// Which topics every reading of metadata asks about.
#[derive(Debug, Default)]
struct Interest {
    topics: HashSet<Arc<str>>,
    /// Those of them that the brokers are to create if they are not there.
    creatable: HashSet<Arc<str>>,
    /// Those of them that groups subscribe to, whether they are there or not.
    kept: HashSet<Arc<str>>,
}

/// Metadata of a topic could not be had.
#[derive(Debug, Clone, Error)]
#[error("topic {topic}: {fault}")]
pub struct TopicError {
    /// The topic.
    pub topic: Arc<str>,
    /// What went wrong.
    #[source]
    pub fault: TopicFault,
}

/// Why metadata of a topic could not be had.
#[derive(Debug, Clone, Error)]
pub enum TopicFault {
    /// The cluster answered with an error.
    #[error("{0}{hint}", hint = hint(*.0))]
    Refused(ErrorCode),
    /// No broker answered.
    #[error("no broker answered: {0}")]
    Unanswered(#[source] RequestError),
}

fn hint(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::UnknownTopicOrPartition => "; create it first, or check its name",
        ErrorCode::InvalidTopicException => "; a name has 1 to 249 of a-z A-Z 0-9 . _ -",
        ErrorCode::TopicAuthorizationFailed => "; the client may not describe it",
        ErrorCode::LeaderNotAvailable => "; it has no leader yet",
        _ => "",
    }
}

impl TopicError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        self.fault.is_retriable()
    }
}

impl TopicFault {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            TopicFault::Refused(error) => error.is_retriable(),
            TopicFault::Unanswered(error) => error.is_retriable(),
        }
    }
}

impl Cluster {
    pub(crate) fn new(bootstrap: Vec<BrokerAddress>, options: Options) -> Arc<Self> {
        let options = Arc::new(options);
        let jitter = Arc::new(Jitter::new());
        Arc::new(Cluster {
            pool: Pool::new(options.clone(), jitter.clone()),
            bootstrap,
            metadata: watch::Sender::default(),
            metadata_version: AtomicU64::new(0),
            reading: SingleFlight::default(),
            interest: Mutex::default(),
            coordinators: Coordinators::default(),
            options,
            jitter,
        })
    }

    /// A pool of connections beside the shared one.
    pub(crate) fn separate_pool(&self) -> Pool {
        Pool::new(self.options.clone(), self.jitter.clone())
    }

    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        self.metadata.borrow().clone()
    }

    /// Grows with every new picture.
    pub(crate) fn metadata_version(&self) -> u64 {
        self.metadata_version.load(Ordering::Acquire)
    }

    /// Replaces the picture by what `next` makes of it, if that is anything.
    fn publish(&self, next: impl FnOnce(&Metadata) -> Option<Metadata>) {
        self.metadata.send_if_modified(|metadata| {
            let Some(next) = next(metadata) else { return false };
            *metadata = Arc::new(next);
            self.metadata_version.fetch_add(1, Ordering::AcqRel);
            true
        });
    }

    /// Tells of every new picture.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.metadata.subscribe()
    }

    /// A topic that the cluster knows, asked for if need be until `deadline`. A topic that is not
    /// there is created if `create` says so and the brokers allow it; else it is waited for a
    /// little, as a topic that was made just now is not yet known to every broker.
    ///
    /// Cancel-safe.
    pub(crate) async fn topic(
        self: &Arc<Self>,
        name: &str,
        create: bool,
        deadline: Instant,
    ) -> Result<Arc<Topic>, TopicError> {
        if let Some(topic) = self.known_topic(name) {
            return Ok(topic);
        }
        let name: Arc<str> = name.into();
        self.take_interest(&name, create);
        let give_up = deadline.min(Instant::now() + self.options.unknown_topic_wait);
        let mut failures = 0;
        loop {
            let outcome = self.refresh().await;
            let now = Instant::now();
            let (fault, limit) = match (outcome, self.metadata().topic(&name)) {
                (_, Some(topic)) if topic.error.is_none() => return Ok(topic.clone()),
                (Err(error), _) => (TopicFault::Unanswered(error), deadline),
                // The reading may have begun before our interest was known: the next one will tell.
                (Ok(()), None) => {
                    (TopicFault::Refused(ErrorCode::UnknownTopicOrPartition), give_up)
                }
                (Ok(()), Some(topic)) => match topic.error {
                    ErrorCode::UnknownTopicOrPartition if !create => {
                        (TopicFault::Refused(topic.error), give_up)
                    }
                    error => (TopicFault::Refused(error), deadline),
                },
            };
            failures += 1;
            let delay = self.options.retry_backoff.delay(failures, &self.jitter);
            let error = TopicError { topic: name.clone(), fault };
            if !error.is_retriable() || now + delay >= limit {
                self.lose_interest(&name);
                return Err(error);
            }
            sleep(delay).await;
        }
    }

    pub(crate) fn known_topic(&self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.metadata.borrow().topic(name).cloned();
        topic.filter(|topic| topic.error.is_none())
    }

    /// Renews metadata in the background if it is old. Whoever uses it over time calls this now and
    /// then.
    pub(crate) fn maybe_begin_refresh(self: &Arc<Self>, now: Instant) -> bool {
        let read_at = self.metadata.borrow().read_at;
        let is_old = read_at.is_some_and(|read_at| now - read_at > self.options.metadata_max_age);
        if is_old {
            self.reading.begin(|| self.clone().read());
        }
        is_old
    }

    /// Takes note of the leader that a broker named when it refused to be one.
    pub(crate) fn learn_leader(
        &self,
        topic: &str,
        partition: i32,
        leader: (NodeId, LeaderEpoch),
        endpoint: Option<Broker>,
    ) {
        self.publish(|metadata| {
            metadata.with_leader(topic, partition, leader.0, leader.1, endpoint)
        });
    }

    fn take_interest(&self, topic: &Arc<str>, create: bool) {
        let mut interest = self.interest();
        interest.topics.insert(topic.clone());
        if create {
            interest.creatable.insert(topic.clone());
        }
    }

    /// Takes an interest that outlives that of others who look for the topic in vain.
    pub(crate) fn keep_interest(&self, topic: &Arc<str>) {
        let mut interest = self.interest();
        interest.topics.insert(topic.clone());
        interest.kept.insert(topic.clone());
    }

    fn lose_interest(&self, topic: &str) {
        let mut interest = self.interest();
        interest.creatable.remove(topic);
        if interest.kept.contains(topic) {
            return;
        }
        interest.topics.remove(topic);
        drop(interest);
        self.publish(|metadata| metadata.without(topic));
    }

    fn interest(&self) -> std::sync::MutexGuard<'_, Interest> {
        self.interest.lock().expect("no one panics while holding this lock")
    }
}
