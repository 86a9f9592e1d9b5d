//! One Fetch request: full, without a session (KIP-227 leaves that open), of the partitions that
//! one broker leads.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::messages::fetch::{FetchPartition, FetchTopic};
use thalweg_protocol::messages::{FetchRequest, FetchResponse};
use thalweg_protocol::{KafkaStr, Message};
use uuid::Uuid;

use super::board::{Assignment, NextFetch};
use super::builder::Settings;
use crate::address::BrokerAddress;
use crate::cluster::{Metadata, Pool};
use crate::error::{RequestError, RequestFault};
use crate::topic_partition::TopicPartition;

/// A partition asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) partition: Arc<TopicPartition>,
    pub(super) offset: i64,
    topic_id: Uuid,
    leader_epoch: i32,
    last_epoch: i32,
}

/// The first version whose answers have batches of the format that there still is.
const VERSION_MIN: i16 = 4;
/// The last version that calls topics by name.
const VERSION_BY_NAME_MAX: i16 = 12;
/// The first version that can say up to which epoch the consumer has read.
const VERSION_WITH_LAST_EPOCH: i16 = 12;

impl Asked {
    /// What to ask for the assignment, if it knows where to begin.
    pub(super) fn from(place: usize, assignment: &Assignment, metadata: &Metadata) -> Option<Self> {
        let NextFetch::From { offset, last_epoch } = assignment.next_fetch else { return None };
        let TopicPartition { topic, partition } = &*assignment.partition;
        let leader_epoch = metadata.partition(topic, *partition).and_then(|it| it.leader_epoch);
        Some(Asked {
            place,
            generation: assignment.generation,
            partition: assignment.partition.clone(),
            offset,
            topic_id: metadata.topic(topic).map(|topic| topic.id).unwrap_or_default(),
            leader_epoch: leader_epoch.map_or(-1, |epoch| epoch.get()),
            last_epoch: last_epoch.unwrap_or(-1),
        })
    }

    pub(super) fn is_of(&self, topic: &str, topic_id: Uuid) -> bool {
        if topic_id.is_nil() { *self.partition.topic == *topic } else { self.topic_id == topic_id }
    }
}

/// Asks one broker, and waits as long as it may take.
pub(super) async fn fetch(
    pool: &Pool,
    broker: &BrokerAddress,
    asked: &[Asked],
    settings: &Settings,
    max_bytes: usize,
    timeout: Duration,
) -> Result<FetchResponse, RequestError> {
    let connection = pool.connection(broker).await.map_err(|error| RequestError {
        broker: error.broker,
        api: FetchRequest::API_KEY,
        fault: RequestFault::NotConnected(error.fault),
    })?;
    let has_ids = asked.iter().all(|one| !one.topic_id.is_nil());
    let max = if has_ids { *FetchRequest::VERSIONS.end() } else { VERSION_BY_NAME_MAX };
    let version = connection.version_within::<FetchRequest>(VERSION_MIN..=max)?;
    let request = request(asked, settings, max_bytes, version);
    connection.call(&request, version, timeout.saturating_add(settings.max_wait)).await
}

fn request(asked: &[Asked], settings: &Settings, max_bytes: usize, version: i16) -> FetchRequest {
    let size = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    let mut topics: Vec<FetchTopic> = Vec::new();
    for one in asked {
        let partition = FetchPartition {
            partition: one.partition.partition,
            current_leader_epoch: one.leader_epoch,
            fetch_offset: one.offset,
            last_fetched_epoch: if version < VERSION_WITH_LAST_EPOCH { -1 } else { one.last_epoch },
            partition_max_bytes: size(settings.partition_max_bytes),
            ..FetchPartition::default()
        };
        match topics.iter_mut().find(|topic| *topic.topic == *one.partition.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: KafkaStr::copied_from(&one.partition.topic),
                topic_id: one.topic_id,
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: size(settings.min_bytes),
        max_bytes: size(max_bytes),
        isolation_level: settings.isolation.on_the_wire(),
        topics,
        ..FetchRequest::default()
    }
}
