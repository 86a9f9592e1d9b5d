//! CreatePartitions (key 37), versions 0–3: adds partitions behind the existing ones. A topic never
//! gets fewer.

use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::topic_creation::{PARTITIONS_MAX, Refusal, propose, wait_until_led};
use super::{error_map, topic_name};
use crate::controller::command::Command;
use crate::controller::placement;
use crate::server::connection::Connection;
use crate::shard::Shard;

const PATIENCE_MAX: Duration = Duration::from_secs(30);

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let patience = patience.min(PATIENCE_MAX);
    let mut results = Vec::new();
    for topic in request.topics {
        let name = topic.name.clone();
        let refusal = add(&connection.shard, topic, request.validate_only, patience).await.err();
        results.push(CreatePartitionsTopicResult {
            name,
            error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
            error_message: refusal.map(|refusal| refusal.message.into()),
            ..CreatePartitionsTopicResult::default()
        });
    }
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

async fn add(
    shard: &Rc<Shard>,
    wanted: CreatePartitionsTopic,
    validate_only: bool,
    patience: Duration,
) -> Result<(), Refusal> {
    let image = shard.node.images.load();
    let topic = image.topic(&wanted.name).ok_or_else(|| {
        let message = format!("topic '{}' does not exist", wanted.name);
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    if topic_name::is_internal(&topic.name) {
        // A group is found by the number of partitions: with another one its offsets would be lost.
        let message = format!("the partitions of '{}' stay as many as they are", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    let (now, count) = (topic.partition_count(), wanted.count);
    if count <= now || count > PARTITIONS_MAX {
        let message = format!("topic '{}' has {now} partitions; it cannot get {count}", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    let more = usize::try_from(count - now).unwrap_or(0);
    let copies = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let partitions = match wanted.assignments {
        None => {
            let copies = i16::try_from(copies).unwrap_or(i16::MAX);
            placement::place(&image, more, copies)
        }
        Some(assignments) if assignments.len() != more => {
            let message = format!("{} assignments for {more} new partitions", assignments.len());
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Some(assignments) => {
            let chosen = (0..).zip(assignments.into_iter().map(|chosen| chosen.broker_ids));
            placement::check_explicit(&image, chosen.collect())
        }
    };
    let partitions =
        partitions.map_err(|error| Refusal::new(error_map::of_placement(&error), error))?;
    if validate_only {
        return Ok(());
    }
    propose(
        shard,
        Command::AddPartitions { id: topic.id, first: Some(topic.partitions.len()), partitions },
    )
    .await?;
    wait_until_led(shard, topic.id, topic.partitions.len() + more, patience).await;
    Ok(())
}
