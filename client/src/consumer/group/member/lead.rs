//! Leading the group: dividing the partitions among its members, and noticing when the topics'
//! partitions are not those any more that were divided.

use std::collections::BTreeSet;
use std::sync::Arc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::consumer_protocol::{ConsumerProtocolSubscription, ConsumerProtocolTopic};
use thalweg_protocol::messages::JoinGroupResponse;
use thalweg_protocol::messages::join_group::JoinGroupResponseMember;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Member, Turn};
use crate::cluster::{Cluster, Metadata};
use crate::consumer::group::assignor::{Assignor, PartitionCounts, Subscriber};
use crate::topic_partition::TopicPartition;

/// What the leader has divided.
#[derive(Debug)]
pub(super) struct Led {
    topics: BTreeSet<Arc<str>>,
    counts: PartitionCounts,
}

impl Member {
    /// The assignment of each member, if this one leads and the group wants one.
    pub(super) async fn lead(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<(KafkaStr, Vec<TopicPartition>)>, Turn> {
        if joined.leader != joined.member_id {
            return Ok(Vec::new());
        }
        let name = joined.protocol_name.as_ref().map_or("", KafkaStr::as_str);
        // The coordinator chooses among what all members offer.
        let Some(assignor) = Assignor::from_name(name) else {
            tracing::warn!(assignor = name, "the group has chosen what was not offered");
            return Err(Turn::Rejoin);
        };
        let members: Vec<Subscriber> =
            joined.members.iter().map(|member| subscriber(assignor, member)).collect();
        let topics: BTreeSet<Arc<str>> =
            members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        let counts = self.count(&topics).await?;
        let division =
            if joined.skip_assignment { Vec::new() } else { assignor.divide(&members, &counts) };
        self.led = Some(Led { topics, counts });
        let ids = joined.members.iter().map(|member| member.member_id.clone());
        Ok(ids.zip(division).collect())
    }

    /// How many partitions the topics of all members have.
    async fn count(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<PartitionCounts, Turn> {
        let cluster = self.shared.cluster.clone();
        topics.iter().for_each(|topic| cluster.keep_interest(topic));
        if topics.iter().any(|topic| cluster.known_topic(topic).is_none()) {
            // Without an answer the group goes on without them until there is one.
            let reading = cluster.clone();
            let _ = self.keep_alive(async move { reading.refresh().await }).await?;
        }
        Ok(counts(topics, &cluster.metadata()))
    }
}

/// Comes to its end when a topic that was divided has got other partitions. Whoever has divided
/// looks for that, as nobody else may: metadata is read when it is old, and soon while a topic is
/// not there. Cancel-safe.
pub(super) async fn partitions_change(
    led: Option<&Led>,
    cluster: &Arc<Cluster>,
    metadata: &mut watch::Receiver<Arc<Metadata>>,
) {
    let Some(led) = led else { return std::future::pending().await };
    let has_changed = |metadata: &Arc<Metadata>| counts(&led.topics, metadata) != led.counts;
    let is_complete = led.counts.len() == led.topics.len();
    let mut failures = u32::from(!is_complete);
    loop {
        let delay = match failures {
            0 => cluster.options.metadata_max_age,
            failures => cluster.options.retry_backoff.delay(failures, &cluster.jitter),
        };
        tokio::select! {
            Ok(_) = metadata.wait_for(has_changed) => return,
            () = sleep(delay) => {}
        }
        let is_read = cluster.refresh().await.is_ok();
        failures = if is_read && is_complete { 0 } else { failures.saturating_add(1) };
    }
}

fn counts(topics: &BTreeSet<Arc<str>>, metadata: &Metadata) -> PartitionCounts {
    let known = topics.iter().filter_map(|name| {
        let topic = metadata.topic(name).filter(|topic| topic.error.is_none())?;
        Some((name.clone(), i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    });
    known.collect()
}

/// What a member says of itself. Whoever says nothing that can be read gets nothing.
fn subscriber(assignor: Assignor, member: &JoinGroupResponseMember) -> Subscriber {
    let subscription = ConsumerProtocolSubscription::decode(member.metadata.clone());
    let subscription = subscription.unwrap_or_else(|error| {
        tracing::warn!(member = %member.member_id, %error, "a subscription nobody can read");
        ConsumerProtocolSubscription::default()
    });
    let noted = || assignor.generation_of(subscription.user_data.as_ref());
    let told = Some(subscription.generation_id).filter(|generation| *generation >= 0);
    Subscriber {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        topics: subscription.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
        owned: partitions_of(&subscription.owned_partitions),
        generation: told.or_else(noted).unwrap_or(-1),
    }
}

pub(super) fn partitions_of(topics: &[ConsumerProtocolTopic]) -> Vec<TopicPartition> {
    let partitions = topics.iter().flat_map(|topic| {
        let name: Arc<str> = topic.topic.as_str().into();
        topic.partitions.iter().map(move |index| TopicPartition::new(name.clone(), *index))
    });
    partitions.collect()
}
