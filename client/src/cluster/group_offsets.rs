//! How far groups have read: reading it from their coordinators, and writing it there. Consumers do
//! it in their own name, admin in nobody's.
//!
//! Topics go by name at every version used, so no topic id need be known.

use std::sync::Arc;

use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use thalweg_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::time::{Instant, sleep};

use super::{Cluster, GroupError, GroupFault};
use crate::committed_offset::CommittedOffset;
use crate::topic_partition::{TopicPartition, by_topic};

/// The offset of each partition; none where none was committed, or why it cannot be told.
pub(crate) type GroupOffsets = Vec<(TopicPartition, Result<Option<CommittedOffset>, ErrorCode>)>;

/// In whose name offsets are committed.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    /// The generation of a classic group or the member's epoch; −1 for whoever is no member.
    pub(crate) generation: i32,
    pub(crate) member_id: KafkaStr,
    pub(crate) group_instance_id: Option<KafkaStr>,
}

impl Committer {
    /// An administrator, who may commit while the group has no members.
    pub(crate) fn outsider() -> Self {
        Committer { generation: -1, member_id: KafkaStr::default(), group_instance_id: None }
    }
}

/// The versions that call topics by name.
const FETCH_VERSION_BY_NAME_MAX: i16 = 9;
const COMMIT_VERSION_BY_NAME_MAX: i16 = 9;
/// The first version that asks about several groups.
const FETCH_VERSION_OF_GROUPS_MIN: i16 = 8;
/// The first version that can refuse offsets that a transaction has not decided.
const FETCH_VERSION_STABLE_MIN: i16 = 7;

impl Cluster {
    /// The offsets that a group has committed in some partitions, or in all that it has any of.
    /// Those that an open transaction is about to change are waited for if `require_stable`.
    ///
    /// Cancel-safe.
    pub(crate) async fn group_offsets(
        self: &Arc<Self>,
        group: &Arc<str>,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<GroupOffsets, GroupError> {
        let build = |version| fetch_request(group, partitions, require_stable, version);
        let deadline = Instant::now() + self.options.operation_timeout;
        let mut attempts = 0;
        loop {
            let versions = 1..=FETCH_VERSION_BY_NAME_MAX;
            let response = self.call_coordinator(group, versions, build, fetch_error);
            let offsets = read_fetched(group, response.await?)?;
            let is_open = |outcome: &Result<_, ErrorCode>| {
                matches!(outcome, Err(ErrorCode::UnstableOffsetCommit))
            };
            attempts += 1;
            let delay = self.options.retry_backoff.delay(attempts, &self.jitter);
            let is_stable = !offsets.iter().any(|(_, outcome)| is_open(outcome));
            if is_stable || Instant::now() + delay >= deadline {
                return Ok(offsets);
            }
            sleep(delay).await;
        }
    }

    /// Commits offsets; gives the outcome of each.
    ///
    /// Cancel-safe, in that nothing is left behind; the request may have been carried out.
    pub(crate) async fn commit_group_offsets(
        self: &Arc<Self>,
        group: &Arc<str>,
        committer: &Committer,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, GroupError> {
        let build = |_| commit_request(group, committer, offsets);
        let versions = 2..=COMMIT_VERSION_BY_NAME_MAX;
        let response = self.call_coordinator(group, versions, build, commit_error).await?;
        let outcomes = response.topics.into_iter().flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            topic.partitions.into_iter().map(move |it| {
                let partition = TopicPartition::new(name.clone(), it.partition_index);
                (partition, ErrorCode::from(it.error_code))
            })
        });
        Ok(outcomes.collect())
    }
}

fn fetch_request(
    group: &str,
    partitions: Option<&[TopicPartition]>,
    require_stable: bool,
    version: i16,
) -> OffsetFetchRequest {
    let group_id = KafkaStr::copied_from(group);
    let topics = partitions.map(|all| by_topic(all, |partition| partition.partition));
    let require_stable = require_stable && version >= FETCH_VERSION_STABLE_MIN;
    if version < FETCH_VERSION_OF_GROUPS_MIN {
        let topics = topics.map(|topics| {
            let topic = |(name, partition_indexes)| OffsetFetchRequestTopic {
                name,
                partition_indexes,
                ..OffsetFetchRequestTopic::default()
            };
            topics.into_iter().map(topic).collect()
        });
        return OffsetFetchRequest {
            group_id,
            topics,
            require_stable,
            ..OffsetFetchRequest::default()
        };
    }
    let topics = topics.map(|topics| {
        let topic = |(name, partition_indexes)| OffsetFetchRequestTopics {
            name,
            partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        topics.into_iter().map(topic).collect()
    });
    let group = OffsetFetchRequestGroup { group_id, topics, ..OffsetFetchRequestGroup::default() };
    OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() }
}

/// The error of the whole: it stands in one place or the other, depending on the version.
fn fetch_error(response: &OffsetFetchResponse) -> ErrorCode {
    let of_group = response.groups.iter().map(|group| group.error_code).find(|code| *code != 0);
    ErrorCode::from(of_group.unwrap_or(response.error_code))
}

fn read_fetched(
    group: &Arc<str>,
    response: OffsetFetchResponse,
) -> Result<GroupOffsets, GroupError> {
    let refused = |error| GroupError::new(group, None, GroupFault::Refused(error));
    match fetch_error(&response) {
        ErrorCode::None => {}
        error => return Err(refused(error)),
    }
    let mut offsets = Vec::new();
    let mut take = |topic: &KafkaStr, index, error, offset, epoch, metadata: Option<KafkaStr>| {
        let outcome = match ErrorCode::from(error) {
            ErrorCode::None => Ok(CommittedOffset::from_wire(offset, epoch, metadata.as_ref())),
            error => Err(error),
        };
        offsets.push((TopicPartition::new(topic.as_str(), index), outcome));
    };
    for topic in response.topics {
        for it in topic.partitions {
            let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
            take(&topic.name, it.partition_index, it.error_code, offset, epoch, it.metadata);
        }
    }
    for topic in response.groups.into_iter().flat_map(|group| group.topics) {
        for it in topic.partitions {
            let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
            take(&topic.name, it.partition_index, it.error_code, offset, epoch, it.metadata);
        }
    }
    Ok(offsets)
}

fn commit_request(
    group: &str,
    committer: &Committer,
    offsets: &[(TopicPartition, CommittedOffset)],
) -> OffsetCommitRequest {
    let partition =
        |(partition, committed): &(TopicPartition, CommittedOffset)| OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(KafkaStr::copied_from(&committed.metadata)),
            ..OffsetCommitRequestPartition::default()
        };
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for offset in offsets {
        match topics.iter_mut().find(|topic| *topic.name == *offset.0.topic) {
            Some(topic) => topic.partitions.push(partition(offset)),
            None => topics.push(OffsetCommitRequestTopic {
                name: KafkaStr::copied_from(&offset.0.topic),
                partitions: vec![partition(offset)],
                ..OffsetCommitRequestTopic::default()
            }),
        }
    }
    OffsetCommitRequest {
        group_id: KafkaStr::copied_from(group),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.group_instance_id.clone(),
        topics,
        ..OffsetCommitRequest::default()
    }
}

/// A coordinator that is none refuses every partition alike.
fn commit_error(response: &OffsetCommitResponse) -> ErrorCode {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| it.error_code).next().map_or(ErrorCode::None, ErrorCode::from)
}
