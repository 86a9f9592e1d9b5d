//! What a consumer of a group is configured with. Defaults are those of Kafka's Java client, except
//! that rebalances are cooperative.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::KafkaStr;
use tokio::sync::mpsc;

use super::assignor::Assignor;
use super::listener::{AnyListener, RebalanceListener};
use super::member::Member;
use super::shared::Shared;
use super::{Consumer, STEPS_MAX};
use crate::cluster::{Cluster, Isolation};
use crate::consumer::builder::{OffsetReset, Settings};
use crate::consumer::{Interceptor, PartitionConsumer};

/// The settings of a [`Consumer`].
#[must_use = "a builder does nothing until it builds"]
pub struct GroupConsumerBuilder {
    cluster: Arc<Cluster>,
    records: Settings,
    settings: GroupSettings,
    group: Arc<str>,
    topics: Vec<Arc<str>>,
    listener: Option<Box<dyn AnyListener>>,
}

/// How a group agrees upon who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// One of the members decides, by the assignors they have in common. Every broker knows it.
    #[default]
    Classic,
    /// The coordinator decides, and partitions move without the others stopping (KIP-848). Brokers
    /// know it since Kafka 4.0. The coordinator also decides upon session timeout and heartbeats.
    Consumer,
}

#[derive(Debug, Clone)]
pub(super) struct GroupSettings {
    pub(super) protocol: GroupProtocol,
    pub(super) server_assignor: Option<KafkaStr>,
    pub(super) regex: Option<KafkaStr>,
    pub(super) assignors: Vec<Assignor>,
    pub(super) group_instance_id: Option<KafkaStr>,
    pub(super) rack: Option<KafkaStr>,
    pub(super) session_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
    pub(super) max_poll_interval: Duration,
    pub(super) auto_commit: Option<Duration>,
    /// Whether asking for the next record says that the one before is done with.
    pub(super) auto_store: bool,
    pub(super) auto_offset_reset: OffsetReset,
    /// Whether to wait for transactions that are about to change an offset.
    pub(super) require_stable: bool,
}

impl GroupConsumerBuilder {
    pub(in crate::consumer) fn new(cluster: Arc<Cluster>, records: Settings, group: &str) -> Self {
        GroupConsumerBuilder {
            cluster,
            records,
            settings: GroupSettings {
                protocol: GroupProtocol::Classic,
                server_assignor: None,
                regex: None,
                assignors: vec![Assignor::CooperativeSticky],
                group_instance_id: None,
                rack: None,
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: Duration::from_secs(3),
                max_poll_interval: Duration::from_secs(300),
                auto_commit: Some(Duration::from_secs(5)),
                auto_store: true,
                auto_offset_reset: OffsetReset::Latest,
                require_stable: false,
            },
            group: group.into(),
            topics: Vec::new(),
            listener: None,
        }
    }

    /// Reads these topics too. Those that do not exist are read once they do.
    pub fn subscribe<T: AsRef<str>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(|topic| Arc::from(topic.as_ref())));
        self
    }

    /// Reads all topics whose whole name matches the expression too, also those that come later.
    /// It is in the syntax of RE2. With [`GroupProtocol::Consumer`] the coordinator tries it on
    /// the topics there are; with [`GroupProtocol::Classic`] each member does, as often as it reads
    /// metadata, and leaves out the cluster's own topics.
    pub fn subscribe_regex(mut self, expression: &str) -> Self {
        self.settings.regex = Some(KafkaStr::copied_from(expression));
        self
    }

    /// How the group agrees upon who reads what. Default [`GroupProtocol::Classic`].
    pub fn group_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.settings.protocol = protocol;
        self
    }

    /// By which strategy the coordinator is to divide, such as `uniform` or `range`, in the
    /// consumer protocol. By default it chooses.
    pub fn server_assignor(mut self, name: &str) -> Self {
        self.settings.server_assignor = Some(KafkaStr::copied_from(name));
        self
    }

    /// The strategies that this member offers, the preferred first; the group uses one that all its
    /// members offer. Default [`Assignor::CooperativeSticky`] alone.
    ///
    /// Rebalances are cooperative if that is the only one. Offering another beside it, as Kafka's
    /// Java client does by default, means giving up everything in every rebalance: nobody knows
    /// beforehand which one will be used.
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.settings.assignors = assignors.into_iter().collect();
        self
    }

    /// Makes this a static member (KIP-345): under this name it may go and come back within the
    /// session timeout without a rebalance. So it does not leave the group when it is closed.
    pub fn group_instance_id(mut self, id: &str) -> Self {
        self.settings.group_instance_id = Some(KafkaStr::copied_from(id));
        self
    }

    /// Where this member stands, for assignors that heed it.
    pub fn rack(mut self, rack: &str) -> Self {
        self.settings.rack = Some(KafkaStr::copied_from(rack));
        self
    }

    /// Without a heartbeat for so long the coordinator considers this member dead. Default 45 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.session_timeout = timeout;
        self
    }

    /// How often to heartbeat, which a task of its own does. Default 3 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.heartbeat_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long the application may be busy with what it was given, without asking for more or
    /// [saying so](Consumer::signal_progress), before its partitions are left to others. It is also
    /// how long a rebalance waits for this member. Default 5 min.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.settings.max_poll_interval = interval;
        self
    }

    /// How often to commit by itself what the application is done with: a record counts once the
    /// next one has been asked for. Default 5 s. Zero commits without pause: as soon as there is
    /// anything new, and the commit before is through.
    pub fn auto_commit(mut self, interval: Duration) -> Self {
        self.settings.auto_commit = Some(interval);
        self
    }

    /// Commits only what the application [stores](Consumer::store), by itself or when told to:
    /// asking for the next record does not say any more that the one before is done with. For
    /// applications that work on several records at a time.
    pub fn manual_store(mut self) -> Self {
        self.settings.auto_store = false;
        self
    }

    /// Leaves committing to the application.
    pub fn manual_commit(mut self) -> Self {
        self.settings.auto_commit = None;
        self
    }

    /// Where to begin where the group has no offset, or one outside the log. Default
    /// [`OffsetReset::Latest`].
    pub fn auto_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.settings.auto_offset_reset = reset;
        self
    }

    /// Tells this listener what rebalances bring and take.
    pub fn on_rebalance(mut self, listener: impl RebalanceListener) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Shows what is read and committed to this interceptor, after those set before it.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.records.interceptors.add(interceptor);
        self
    }

    /// Begins to join the group, in the background. To be called within a tokio runtime.
    pub fn build(self) -> Consumer {
        let Self { cluster, mut records, mut settings, group, topics, listener } = self;
        settings.require_stable = records.isolation == Isolation::ReadCommitted;
        records.on_out_of_range = settings.auto_offset_reset;
        records.is_patient = true;
        records.stop_at_end = false;
        let records = PartitionConsumer::start(cluster.clone(), records, Vec::new());
        let shared = Arc::new(Shared::new(group, cluster, settings, records.board.clone()));
        let (commands, inbox) = mpsc::channel(1);
        let (outbox, steps) = mpsc::channel(STEPS_MAX);
        let member = Member::new(shared.clone(), topics, inbox, outbox);
        let committing = tokio::spawn(shared.clone().commit_in_background());
        Consumer {
            records,
            shared,
            steps,
            commands,
            listener,
            under_way: None,
            failed: None,
            member: tokio::spawn(member.run()),
            committing: committing.abort_handle(),
        }
    }
}

impl std::fmt::Debug for GroupConsumerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumerBuilder")
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
