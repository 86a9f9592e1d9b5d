//! A cluster in memory behind real sockets, which does what it is told to do wrong.
//!
//! It keeps logs, checks the numbers of idempotent producers as Kafka does, and answers the handful
//! of requests that clients live on. [`FakeCluster::fault`] makes the next request of a kind go
//! wrong.

#![expect(dead_code, reason = "each test file uses its own part of it")]

mod broker;
pub(crate) mod epochs;
pub(crate) mod group;
mod handlers;
mod log;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_client::protocol::{ApiKey, ErrorCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use uuid::Uuid;

pub(crate) use log::Partition;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// It is refused, with nothing done.
    Refuse(ErrorCode),
    /// It is done, and refused all the same.
    DoAndRefuse(ErrorCode),
    /// The connection ends before anything is done.
    HangUp,
    /// It is done, and the connection ends before the answer.
    DoAndHangUp,
    /// It is never answered, nor is anything behind it.
    FallSilent,
    /// It is answered with these bytes instead, the size included.
    Say(Vec<u8>),
    /// It waits until [`FakeCluster::release`].
    Hold,
}

pub(crate) struct FakeCluster {
    shared: Arc<Shared>,
    accepting: Vec<AbortHandle>,
    addresses: Vec<String>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) released: Notify,
    pub(crate) progress: Notify,
    /// Some group has changed.
    pub(crate) groups: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    /// Host and port of each broker, whose id is its place plus one.
    pub(crate) ports: Vec<u16>,
    pub(crate) topics: BTreeMap<String, Topic>,
    /// Metadata does not know of any topic yet.
    pub(crate) hides_topics: bool,
    pub(crate) groups: BTreeMap<String, group::Group>,
    pub(crate) epoch_group: epochs::EpochGroup,
    pub(crate) faults: HashMap<ApiKey, VecDeque<Fault>>,
    /// What was asked: by which version of what, of whom.
    pub(crate) requests: Vec<(ApiKey, i16, i32)>,
    pub(crate) connections: usize,
    pub(crate) next_producer_id: i64,
    /// Requests that are being held.
    pub(crate) held: usize,
    /// The highest versions to offer, where they are not the client's own.
    pub(crate) versions_max: HashMap<ApiKey, i16>,
}

pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
}

impl FakeCluster {
    /// A cluster of so many brokers, without topics.
    pub(crate) async fn start(brokers: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            released: Notify::new(),
            progress: Notify::new(),
            groups: Notify::new(),
        });
        let (mut accepting, mut addresses) = (Vec::new(), Vec::new());
        for id in (1..).take(brokers) {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let address = listener.local_addr().expect("it is bound");
            shared.lock().ports.push(address.port());
            addresses.push(address.to_string());
            let serving = broker::serve(listener, id, shared.clone());
            accepting.push(tokio::spawn(serving).abort_handle());
        }
        FakeCluster { shared, accepting, addresses }
    }

    /// Adds a topic, whose partitions are led by the brokers in turn.
    pub(crate) fn topic(&self, name: &str, partitions: usize) {
        let mut state = self.state();
        let brokers = state.ports.len();
        let partitions = (0..partitions).map(|at| Partition::led_by((at % brokers + 1) as i32));
        let topic = Topic { id: Uuid::new_v4(), partitions: partitions.collect() };
        state.topics.insert(name.into(), topic);
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.addresses.join(",")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Has the next request of a kind go wrong; further faults of that kind hit those after it.
    pub(crate) fn fault(&self, api: ApiKey, fault: Fault) {
        self.state().faults.entry(api).or_default().push_back(fault);
    }

    /// Lets a held request go on.
    pub(crate) fn release(&self) {
        self.shared.released.notify_one();
    }

    /// Waits until a request has been carried out or held, again and again, until `is_so`.
    pub(crate) async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let waiting = async {
            loop {
                let progress = self.shared.progress.notified();
                if is_so(&self.state()) {
                    return;
                }
                progress.await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, waiting).await.expect("it comes to that in time");
    }

    /// Changes a group behind its members' backs.
    pub(crate) fn with_group<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut group::Group) -> T,
    ) -> T {
        let outcome = change(self.state().groups.entry(name.into()).or_default());
        self.shared.groups.notify_waiters();
        outcome
    }

    /// How many requests of a kind there were.
    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.state().requests.iter().filter(|(asked, ..)| *asked == api).count()
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.accepting.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding this lock")
    }
}

impl State {
    pub(crate) fn partition(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    pub(crate) fn topic_name(&self, id: Uuid) -> Option<String> {
        let mut topics = self.topics.iter();
        topics.find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone())
    }
}
