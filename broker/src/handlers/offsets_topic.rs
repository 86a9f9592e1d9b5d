//! `__consumer_offsets`: created when the first client needs a coordinator, and the way from a
//! group's id to the coordinator that has it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::topic_creation::{
    WantedTopic, create, plan_here, wait_until_led, wait_until_partition_led,
};
use crate::controller::image::{Image, Topic};
use crate::group::coordinator::Coordinator;
use crate::group::{OFFSETS_TOPIC, partition_of};
use crate::node::Node;
use crate::shard::Shard;

/// How long the first request of all may wait for the new topic's leaders.
const CREATION_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request may wait for its group's partition to have a leader.
const ELECTION_PATIENCE: Duration = Duration::from_secs(1);

/// The topic, created if it is not there yet.
async fn ensure(here: &Rc<Shard>) -> Result<Arc<Topic>, ErrorCode> {
    if let Some(topic) = here.node.topic(OFFSETS_TOPIC) {
        return Ok(topic);
    }
    let wanted = WantedTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..WantedTopic::default()
    };
    let unavailable = |why: &dyn std::fmt::Display| {
        tracing::warn!(%why, "{OFFSETS_TOPIC} cannot be created");
        ErrorCode::CoordinatorNotAvailable
    };
    match plan_here(here, wanted).await {
        Ok(planned) => {
            let (id, partitions) = (planned.id, planned.partitions.len());
            match create(here, planned).await {
                Ok(()) => wait_until_led(here, id, partitions, CREATION_PATIENCE).await,
                // Another client was faster.
                Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
                Err(refusal) => return Err(unavailable(&refusal.message)),
            }
        }
        Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
        Err(refusal) => return Err(unavailable(&refusal.message)),
    }
    here.node.topic(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)
}

/// The topic as it must be, whoever has it made: what retention deletes, groups have forgotten.
/// With fewer brokers than it is to have replicas it gets one on each; founders that have yet to
/// register are waited for.
pub(super) fn completed(mut wanted: WantedTopic, node: &Node, image: &Image) -> WantedTopic {
    if wanted.name != OFFSETS_TOPIC {
        return wanted;
    }
    let config = node.config();
    let settings = &config.kafka.groups;
    if wanted.replication_factor == -1 && wanted.assignments.is_empty() {
        let brokers = image.live_brokers().count().max(node.member.voters.len());
        let brokers = i16::try_from(brokers).unwrap_or(i16::MAX);
        wanted.replication_factor = settings.offsets_topic_replication_factor.min(brokers);
    }
    if wanted.partitions == -1 && wanted.assignments.is_empty() {
        wanted.partitions = settings.offsets_topic_partitions;
    }
    let segment_bytes = settings.offsets_topic_segment_bytes.to_string();
    let configs = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", &segment_bytes),
        // An offset that was acknowledged must not come back older, whatever topics do.
        ("write.caching", "false"),
    ];
    for (name, value) in configs {
        if wanted.configs.iter().all(|(given, _)| given != name) {
            wanted.configs.push((name.to_owned(), Some(value.to_owned())));
        }
    }
    wanted
}

/// The group's partition: the topic's id and the number. A partition that is just being made, or
/// opened after a start, gets a moment to find its leader.
pub(super) async fn partition_for(
    here: &Rc<Shard>,
    group_id: &str,
) -> Result<(Uuid, i32), ErrorCode> {
    let topic = ensure(here).await?;
    let partition = partition_of(group_id, topic.partition_count());
    if here.node.leaders.get(topic.id, partition).is_none() {
        wait_until_partition_led(here, topic.id, partition, ELECTION_PATIENCE).await;
    }
    Ok((topic.id, partition))
}

/// Has the coordinator of a group do `work`, on the shard where it is. The id that `work` is given
/// does not hold on to the request.
pub(super) async fn with_coordinator<R, F, Fut>(
    here: &Rc<Shard>,
    group_id: &KafkaStr,
    work: F,
) -> Result<R, ErrorCode>
where
    R: Send + 'static,
    F: FnOnce(Rc<Coordinator>, KafkaStr) -> Fut + Send + 'static,
    Fut: Future<Output = Result<R, ErrorCode>> + 'static,
{
    let (topic, partition) = partition_for(here, group_id).await?;
    let owner = here.node.router.owner(topic, partition);
    let id = group_id.detached();
    let work = move |shard: &Rc<Shard>| {
        let coordinator = shard.groups.get(partition);
        async move { work(coordinator?, id).await }
    };
    let done = here.node.router.run(here, owner, work).await;
    done.unwrap_or(Err(ErrorCode::NotCoordinator))
}

/// A group that has members has a name.
pub(super) fn check_group_id(group_id: &KafkaStr) -> Result<(), ErrorCode> {
    if group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}
