//! A member's life as the consumer protocol has it (KIP-848): the coordinator divides, and every
//! heartbeat says what the member has and is answered with what it may have. There is no joining
//! and no leader, only epochs.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::ConsumerGroupHeartbeatRequest;
use thalweg_protocol::messages::consumer_group_heartbeat::TopicPartitions;
use tokio::time::sleep;
use tracing::Instrument;
use uuid::Uuid;

use super::{LEAVE_TIMEOUT, Member, Turn, give_up_after_a_while};
use crate::cluster::Cluster;
use crate::consumer::group::shared::Shared;
use crate::topic_partition::TopicPartition;

/// What the coordinator gives a member, by topic id.
pub(super) type Target = Vec<TopicPartitions>;

/// The epoch of a member that leaves, and of a static one that may come back.
const LEAVING: i32 = -1;
const LEAVING_FOR_A_WHILE: i32 = -2;

/// What heartbeats say besides that the member lives.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) topics: Vec<Arc<str>>,
    pub(super) regex: Option<KafkaStr>,
    /// The partitions that the consumer has, as of the last time that it had taken all steps.
    pub(super) owned: Target,
    /// Everything is to be said: to join, and after a heartbeat of which nobody knows whether it
    /// arrived.
    pub(super) is_all_news: bool,
    /// What it has is to be said, as that has changed.
    pub(super) is_owned_news: bool,
}

impl Said {
    pub(super) fn request(&self, shared: &Shared) -> ConsumerGroupHeartbeatRequest {
        let identity = shared.identity();
        let request = ConsumerGroupHeartbeatRequest {
            group_id: KafkaStr::copied_from(&shared.group),
            member_id: identity.member_id,
            // A member that is not in yet has generation −1, and joins with epoch 0.
            member_epoch: identity.generation.max(0),
            instance_id: identity.group_instance_id,
            topic_partitions: self.is_owned_news.then(|| self.owned.clone()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if !self.is_all_news {
            return request;
        }
        let settings = &shared.settings;
        let timeout_ms = i32::try_from(settings.max_poll_interval.as_millis());
        let owned = if identity.generation > 0 { self.owned.clone() } else { Vec::new() };
        let topics = self.topics.iter().map(|topic| KafkaStr::copied_from(topic));
        ConsumerGroupHeartbeatRequest {
            rack_id: settings.rack.clone(),
            rebalance_timeout_ms: timeout_ms.unwrap_or(i32::MAX),
            subscribed_topic_names: Some(topics.collect()),
            subscribed_topic_regex: self.regex.clone(),
            server_assignor: settings.server_assignor.clone(),
            topic_partitions: Some(owned),
            ..request
        }
    }
}

impl Member {
    /// One membership, from joining until something ends it.
    pub(super) async fn live_by_epochs(&mut self) -> Result<Infallible, Turn> {
        self.know_topics().await?;
        self.pulse.restart();
        if !self.shared.is_member() {
            self.pulse.said.owned = Vec::new();
        }
        self.say_all();
        loop {
            let mut target = match self.next_turn().await {
                Turn::Assigned(target) => Some(target),
                Turn::Rejoin => {
                    self.know_topics().await?;
                    self.say_all();
                    // It may have been told meanwhile.
                    self.next_target.take()
                }
                turn => return Err(turn),
            };
            while let Some(wanted) = target.take() {
                let span = tracing::debug_span!("rebalance", group = %self.shared.group);
                self.reconcile(wanted).instrument(span).await?;
                target = self.next_target.take();
            }
            if std::mem::take(&mut self.wants_rejoin) {
                self.say_all();
            }
        }
    }

    /// Says everything at once.
    fn say_all(&mut self) {
        let said = &mut self.pulse.said;
        said.topics.clone_from(&self.topics);
        said.regex.clone_from(&self.shared.settings.regex);
        said.is_all_news = true;
        self.pulse.beat_now();
    }

    /// Makes the target the consumer's own, and says so. Of topics that no broker asked can name
    /// yet nothing is taken, nor said to be; saying everything has the coordinator tell of them
    /// again, which is soon enough at the next beat.
    async fn reconcile(&mut self, target: Target) -> Result<(), Turn> {
        let names = self.names(&target).await?;
        let mut assigned = BTreeSet::new();
        for topic in &target {
            let Some(name) = names.get(&topic.topic_id) else { continue };
            self.shared.cluster.keep_interest(name);
            let partitions = topic.partitions.iter();
            assigned.extend(partitions.map(|it| TopicPartition::new(name.clone(), *it)));
        }
        let revoked = self.owned.difference(&assigned).cloned().collect();
        let added = assigned.difference(&self.owned).cloned().collect();
        self.give_up(revoked).await?;
        self.receive(added).await?;
        let asked_of = target.len();
        let taken = target.into_iter().filter(|topic| names.contains_key(&topic.topic_id));
        let said = &mut self.pulse.said;
        said.owned = taken.collect();
        said.is_owned_news = true;
        if said.owned.len() == asked_of {
            self.pulse.beat_now();
        } else {
            said.is_all_news = true;
        }
        Ok(())
    }

    /// The names of the topics, looked for until they are known or a broker knows of no such topic.
    async fn names(&mut self, target: &Target) -> Result<HashMap<Uuid, Arc<str>>, Turn> {
        let cluster = self.shared.cluster.clone();
        let ids: Vec<Uuid> = target.iter().map(|topic| topic.topic_id).collect();
        self.keep_alive(async move { find_names(&cluster, &ids).await }).await
    }
}

async fn find_names(cluster: &Arc<Cluster>, ids: &[Uuid]) -> HashMap<Uuid, Arc<str>> {
    let mut failures = 0;
    loop {
        let mut known = cluster.metadata().names_of(ids);
        if known.len() == ids.len() {
            return known;
        }
        match cluster.list_topics().await {
            Ok(all) => {
                let named = all.into_iter().map(|topic| (topic.id, topic.name));
                known.extend(named.filter(|(id, _)| ids.contains(id)));
                return known;
            }
            Err(error) => tracing::debug!(%error, "the names of topics are not known yet"),
        }
        failures += 1;
        sleep(cluster.options.retry_backoff.delay(failures, &cluster.jitter)).await;
    }
}

/// Tells the coordinator, so that the others need not wait.
pub(super) async fn leave(shared: &Shared) {
    let identity = shared.identity();
    let is_static = identity.group_instance_id.is_some();
    let request = ConsumerGroupHeartbeatRequest {
        group_id: KafkaStr::copied_from(&shared.group),
        member_id: identity.member_id,
        member_epoch: if is_static { LEAVING_FOR_A_WHILE } else { LEAVING },
        instance_id: identity.group_instance_id,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let (cluster, group) = (&shared.cluster, &shared.group);
    let build = |_| request.clone();
    let asked = cluster.ask_coordinator(&cluster.pool, group, 0..=1, build, LEAVE_TIMEOUT);
    give_up_after_a_while(asked).await;
}
