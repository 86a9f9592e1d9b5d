//! The coordinator of consumer groups (KIP-848), told by the test what each member may have.

use std::collections::BTreeMap;

use thalweg_client::protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use thalweg_client::protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use thalweg_client::protocol::{ErrorCode, KafkaStr};

use super::State;

#[derive(Default)]
pub(crate) struct EpochGroup {
    pub(crate) members: BTreeMap<String, EpochMember>,
    /// What a member that joins may have of topic `t`.
    pub(crate) at_first: Vec<i32>,
    /// The epochs of those that left.
    pub(crate) left: Vec<i32>,
}

#[derive(Default)]
pub(crate) struct EpochMember {
    pub(crate) epoch: i32,
    /// What it may have of topic `t`; none if it has been told.
    pub(crate) news: Option<Vec<i32>>,
    /// What it may have, whether it has been told or not.
    target: Vec<i32>,
    /// What it last said that it has.
    pub(crate) owned: Vec<i32>,
    /// All that it ever said that it has.
    pub(crate) said: Vec<Vec<i32>>,
    pub(crate) topics: Vec<String>,
}

impl EpochGroup {
    /// Tells the only member what it may have, in a new epoch.
    pub(crate) fn give(&mut self, partitions: &[i32]) {
        let member = self.only();
        member.epoch += 1;
        member.news = Some(partitions.to_vec());
        member.target = partitions.to_vec();
    }

    pub(crate) fn only(&mut self) -> &mut EpochMember {
        assert_eq!(self.members.len(), 1);
        self.members.values_mut().next().expect("there is one")
    }
}

pub(super) fn heartbeat(
    state: &mut State,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let topic_id = state.topics["t"].id;
    let group = &mut state.epoch_group;
    let refused = |error: ErrorCode| ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        ..ConsumerGroupHeartbeatResponse::default()
    };
    let id = request.member_id.to_string();
    assert!(!id.is_empty(), "a member makes up its id");
    if request.member_epoch < 0 {
        group.left.push(request.member_epoch);
        group.members.remove(&id);
        return refused(ErrorCode::None);
    }
    if request.member_epoch == 0 {
        assert_eq!(request.topic_partitions, Some(Vec::new()), "who joins has nothing");
        let target = group.at_first.clone();
        let news = Some(target.clone());
        let member = EpochMember { epoch: 1, news, target, ..EpochMember::default() };
        group.members.insert(id.clone(), member);
    }
    let Some(member) = group.members.get_mut(&id) else {
        return refused(ErrorCode::UnknownMemberId);
    };
    if request.member_epoch > member.epoch {
        return refused(ErrorCode::FencedMemberEpoch);
    }
    if let Some(owned) = &request.topic_partitions {
        member.owned = owned.iter().flat_map(|it| it.partitions.clone()).collect();
        member.said.push(member.owned.clone());
        // Whoever says everything is told everything.
        if request.subscribed_topic_names.is_some() {
            member.news.get_or_insert(member.target.clone());
        }
    }
    if let Some(topics) = &request.subscribed_topic_names {
        member.topics = topics.iter().map(ToString::to_string).collect();
    }
    let assignment = member.news.take().map(|partitions| Assignment {
        topic_partitions: vec![TopicPartitions {
            topic_id,
            partitions,
            ..TopicPartitions::default()
        }],
        ..Assignment::default()
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(KafkaStr::copied_from(&id)),
        member_epoch: member.epoch,
        heartbeat_interval_ms: 5,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
