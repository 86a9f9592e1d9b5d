//! How far groups have read: telling it, changing it, forgetting it.

use std::sync::Arc;

use thalweg_protocol::messages::offset_delete::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use thalweg_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};

use super::checked;
use crate::admin::Admin;
use crate::cluster::{Committer, GroupError, GroupFault};
use crate::committed_offset::CommittedOffset;
use crate::topic_partition::{TopicPartition, by_topic};

impl Admin {
    /// The offsets that a group has committed, by partition: in `partitions`, or without them in
    /// all that it has any of. None where nothing was committed, or an error for the partition. A
    /// group that is not there has committed nothing, which is no error.
    pub async fn list_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, Result<Option<CommittedOffset>, GroupError>)>, GroupError>
    {
        let group: Arc<str> = group.into();
        let mut offsets = self.cluster.group_offsets(&group, partitions, false).await?;
        offsets.sort_by(|(a, _), (b, _)| a.cmp(b));
        let refused = |error| GroupError::new(&group, None, GroupFault::Refused(error));
        Ok(offsets.into_iter().map(|(it, outcome)| (it, outcome.map_err(refused))).collect())
    }

    /// Sets a group's offsets, of which it need not have any yet. Refused with `UNKNOWN_MEMBER_ID`
    /// while the group has members.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Vec<(TopicPartition, Result<(), GroupError>)>, GroupError> {
        let group: Arc<str> = group.into();
        let outsider = Committer::outsider();
        let outcomes = self.cluster.commit_group_offsets(&group, &outsider, offsets).await?;
        Ok(outcomes.into_iter().map(|(it, error)| (it, checked(&group, Ok(error)))).collect())
    }

    /// Forgets a group's offsets in some partitions. Refused with `GROUP_SUBSCRIBED_TO_TOPIC` where
    /// a member still subscribes to the topic.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<(), GroupError>)>, GroupError> {
        let group: Arc<str> = group.into();
        let build = |_| offset_delete_request(&group, partitions);
        let versions = OffsetDeleteRequest::VERSIONS;
        let error_of = |response: &OffsetDeleteResponse| ErrorCode::from(response.error_code);
        let response = self.cluster.call_coordinator(&group, versions, build, error_of).await?;
        checked(&group, Ok(error_of(&response)))?;
        let outcomes = response.topics.into_iter().flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            topic.partitions.into_iter().map(move |it| {
                let partition = TopicPartition::new(name.clone(), it.partition_index);
                (partition, ErrorCode::from(it.error_code))
            })
        });
        Ok(outcomes.map(|(it, error)| (it, checked(&group, Ok(error)))).collect())
    }
}

fn offset_delete_request(group: &str, partitions: &[TopicPartition]) -> OffsetDeleteRequest {
    let index = |partition: &TopicPartition| OffsetDeleteRequestPartition {
        partition_index: partition.partition,
        ..OffsetDeleteRequestPartition::default()
    };
    let topic = |(name, partitions)| OffsetDeleteRequestTopic {
        name,
        partitions,
        ..OffsetDeleteRequestTopic::default()
    };
    OffsetDeleteRequest {
        group_id: KafkaStr::copied_from(group),
        topics: by_topic(partitions, index).into_iter().map(topic).collect(),
        ..OffsetDeleteRequest::default()
    }
}
