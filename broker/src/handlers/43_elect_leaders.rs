//! ElectLeaders (key 43), versions 0–2: makes preferred replicas lead (KIP-183, KIP-460), or,
//! asked for an unclean election, whoever the group elects: a replica that lacks committed records
//! never leads here, so there is nothing unclean to do.
//!
//! Whoever leads hands over; this broker answers when it has heard of the new leader.

use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::topic_creation::wait_until;
use crate::controller::image::{Image, Topic};
use crate::server::connection::Connection;
use crate::shard::Shard;

/// What a partition without a preferred leader to go to is answered with.
type Refusal = (ErrorCode, &'static str);

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let shard = &connection.shard;
    let image = shard.node.images.load();
    let preferred_only = request.election_type == 0;
    let asked: Vec<(KafkaStr, Vec<i32>)> = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|it| (it.topic, it.partitions)).collect(),
        None => image
            .topics
            .values()
            .map(|it| (KafkaStr::copied_from(&it.name), (0..it.partition_count()).collect()))
            .collect(),
    };
    let started: Vec<_> = asked
        .into_iter()
        .map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|partition| {
                (partition, begin(shard, &image, &name, partition, preferred_only))
            });
            let partitions = partitions.collect::<Vec<_>>();
            (name, partitions)
        })
        .collect();
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let all_lead = || {
        let outcomes = started.iter().flat_map(|(_, partitions)| partitions);
        outcomes.filter_map(|(_, outcome)| outcome.as_ref().ok()).all(|it| it.is_done(shard))
    };
    wait_until(shard, patience, all_lead).await;
    let results = started.into_iter().map(|(topic, partitions)| ReplicaElectionResult {
        topic,
        partition_result: partitions.into_iter().map(|it| result(shard, it)).collect(),
        ..ReplicaElectionResult::default()
    });
    ElectLeadersResponse {
        replica_election_results: results.collect(),
        ..ElectLeadersResponse::default()
    }
}

/// A leadership on its way.
struct Transfer {
    topic: uuid::Uuid,
    partition: i32,
    to: i32,
}

impl Transfer {
    fn is_done(&self, shard: &Shard) -> bool {
        let leader = shard.node.leaders.get(self.topic, self.partition);
        leader.is_some_and(|leader| leader.node == self.to)
    }
}

fn begin(
    shard: &Rc<Shard>,
    image: &Image,
    name: &str,
    partition: i32,
    preferred_only: bool,
) -> Result<Transfer, Refusal> {
    const UNKNOWN: Refusal = (ErrorCode::UnknownTopicOrPartition, "there is no such partition");
    let topic: &Topic = image.topic(name).ok_or(UNKNOWN)?;
    let assignment = topic.partition(partition).ok_or(UNKNOWN)?;
    let leader = shard.node.leaders.get(topic.id, partition);
    let leader = leader.filter(|leader| !image.is_fenced(leader.node));
    let preferred = assignment.replicas.first().copied().unwrap_or(-1);
    match leader {
        Some(_) if !preferred_only => {
            Err((ErrorCode::ElectionNotNeeded, "the partition has a leader"))
        }
        None if !preferred_only => Err((
            ErrorCode::EligibleLeadersNotAvailable,
            "its replicas elect one by themselves as soon as most of them are up",
        )),
        Some(leader) if leader.node == preferred => {
            Err((ErrorCode::ElectionNotNeeded, "the preferred replica leads"))
        }
        Some(leader) if !image.is_fenced(preferred) => {
            shard.hand_leadership(leader.node, topic.id, partition, preferred);
            Ok(Transfer { topic: topic.id, partition, to: preferred })
        }
        _ => Err((ErrorCode::PreferredLeaderNotAvailable, "the preferred replica is not up")),
    }
}

fn result(shard: &Shard, (id, outcome): (i32, Result<Transfer, Refusal>)) -> PartitionResult {
    let outcome = outcome.and_then(|transfer| match transfer.is_done(shard) {
        true => Ok(()),
        false => Err((
            ErrorCode::PreferredLeaderNotAvailable,
            "the preferred replica did not take over in time; it may be behind",
        )),
    });
    PartitionResult {
        partition_id: id,
        error_code: outcome.err().map_or(0, |(code, _)| code.code()),
        error_message: outcome.err().map(|(_, message)| KafkaStr::copied_from(message)),
        ..PartitionResult::default()
    }
}
