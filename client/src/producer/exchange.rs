//! One Produce request with the batches of many partitions, and its answer taken apart again.
//!
//! A broker may answer in any order, by name or by id, and may leave partitions out.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use thalweg_protocol::messages::{ProduceRequest, ProduceResponse};
use thalweg_protocol::{ErrorCode, KafkaStr, LeaderEpoch, Message, NodeId, Records};
use uuid::Uuid;

use super::builder::{Acks, Settings};
use super::delivery::Receipt;
use super::error::Attempt;
use super::lineup::BatchKey;
use crate::address::BrokerAddress;
use crate::cluster::Broker;
use crate::connection::{Answer, Connection};
use crate::error::RequestError;

/// A batch in a request.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) slot: usize,
    pub(super) key: BatchKey,
    pub(super) topic: Arc<str>,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) bytes: bytes::Bytes,
}

/// What the broker said about one batch.
#[derive(Debug)]
pub(super) struct PartitionAnswer {
    pub(super) outcome: Result<Receipt, Attempt>,
    /// What it said in words.
    pub(super) message: Option<Arc<str>>,
    /// Who leads the partition instead (KIP-951).
    pub(super) leader: Option<NewLeader>,
}

/// A partition's leader, since when, and where it is reached if the broker said so.
pub(super) type NewLeader = (NodeId, LeaderEpoch, Option<Broker>);

/// The first version whose batches have the format that there still is.
const VERSION_MIN: i16 = 3;
/// The last version that calls topics by name.
const VERSION_BY_NAME_MAX: i16 = 12;

/// A request on its way, or why it is not.
pub(super) struct Exchange {
    answer: Result<Answer<ProduceRequest>, RequestError>,
    is_answered: bool,
    timeout: Duration,
}

impl Exchange {
    /// Sends the batches, which are sorted by topic and partition.
    pub(super) fn begin(
        connection: &Connection,
        sent: &[Sent],
        settings: &Settings,
        timeout: Duration,
    ) -> Self {
        let is_answered = settings.acks != Acks::None;
        let answer = version(connection, sent).and_then(|version| {
            let request = request(sent, settings.acks, timeout);
            if is_answered {
                connection.submit(&request, version)
            } else {
                connection.submit_unanswered(&request, version)
            }
        });
        Exchange { answer, is_answered, timeout }
    }

    /// The response; none to a request without one.
    pub(super) async fn end(self) -> Result<Option<ProduceResponse>, RequestError> {
        let answer = self.answer?;
        if self.is_answered {
            // The broker may take the whole timeout for the replicas, and then has to answer.
            let grace = self.timeout.saturating_add(ANSWER_GRACE);
            return answer.receive(grace).await.map(Some);
        }
        answer.written(self.timeout).await.map(|()| None)
    }
}

const ANSWER_GRACE: Duration = Duration::from_secs(1);

fn version(connection: &Connection, sent: &[Sent]) -> Result<i16, RequestError> {
    let has_ids = sent.iter().all(|batch| !batch.topic_id.is_nil());
    let max = if has_ids { *ProduceRequest::VERSIONS.end() } else { VERSION_BY_NAME_MAX };
    connection.version_within::<ProduceRequest>(VERSION_MIN..=max)
}

fn request(sent: &[Sent], acks: Acks, timeout: Duration) -> ProduceRequest {
    let topics = sent.chunk_by(|a, b| a.topic == b.topic);
    let topic_data = topics.filter_map(|batches| {
        let first = batches.first()?;
        let partition_data = batches.iter().map(|batch| PartitionProduceData {
            index: batch.partition,
            records: Some(Records::from(batch.bytes.clone())),
            ..PartitionProduceData::default()
        });
        Some(TopicProduceData {
            name: KafkaStr::copied_from(&first.topic),
            topic_id: first.topic_id,
            partition_data: partition_data.collect(),
            ..TopicProduceData::default()
        })
    });
    ProduceRequest {
        acks: acks.on_the_wire(),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topic_data.collect(),
        ..ProduceRequest::default()
    }
}

/// Says for each batch of `sent` what the response says about it, in the same order.
pub(super) fn answers(sent: &[Sent], response: &ProduceResponse) -> Vec<PartitionAnswer> {
    let mut answers: Vec<PartitionAnswer> = sent.iter().map(|_| left_out()).collect();
    for topic in &response.responses {
        let of_topic = |batch: &Sent| {
            if topic.topic_id.is_nil() {
                *batch.topic == *topic.name
            } else {
                batch.topic_id == topic.topic_id
            }
        };
        let Some(start) = sent.iter().position(of_topic) else { continue };
        let batches = sent.get(start..).unwrap_or_default();
        let batches = batches.get(..batches.iter().take_while(|batch| of_topic(batch)).count());
        let batches = batches.unwrap_or_default();
        for partition in &topic.partition_responses {
            let found = batches.binary_search_by_key(&partition.index, |batch| batch.partition);
            if let Some(answer) = found.ok().and_then(|at| answers.get_mut(start + at)) {
                *answer = partition_answer(partition, response);
            }
        }
    }
    answers
}

fn left_out() -> PartitionAnswer {
    PartitionAnswer { outcome: Err(Attempt::LeftOut), message: None, leader: None }
}

fn partition_answer(
    partition: &PartitionProduceResponse,
    response: &ProduceResponse,
) -> PartitionAnswer {
    let known = |value: i64| (value >= 0).then_some(value);
    let outcome = match ErrorCode::from(partition.error_code) {
        // A repetition so late that the broker no longer knows where it wrote the first.
        ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Ok(Receipt {
            base_offset: known(partition.base_offset),
            log_append_time: known(partition.log_append_time_ms),
        }),
        error => Err(Attempt::Refused(error)),
    };
    let current = &partition.current_leader;
    let leader = (current.leader_id >= 0 && current.leader_epoch >= 0).then(|| {
        let leader = NodeId(current.leader_id);
        (leader, LeaderEpoch(current.leader_epoch), endpoint(leader, response))
    });
    PartitionAnswer { outcome, message: message(partition), leader }
}

/// The first complaint about a single record says more than the one about the batch.
fn message(partition: &PartitionProduceResponse) -> Option<Arc<str>> {
    let of_record = partition.record_errors.first().and_then(|record| {
        let text = record.batch_index_error_message.as_ref()?;
        Some(format!("record {} of the batch: {text}", record.batch_index))
    });
    let of_batch = || partition.error_message.as_ref().map(ToString::to_string);
    of_record.or_else(of_batch).map(Arc::from)
}

fn endpoint(leader: NodeId, response: &ProduceResponse) -> Option<Broker> {
    let endpoint = response.node_endpoints.iter().find(|node| node.node_id == leader.get())?;
    let port = u16::try_from(endpoint.port).ok()?;
    Some(Broker {
        id: leader,
        address: BrokerAddress::of_node(leader, &endpoint.host, port),
        rack: endpoint.rack.as_ref().map(|rack| Arc::from(rack.as_str())),
    })
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::messages::produce::TopicProduceResponse;

    use super::*;
    use crate::producer::lineup::Lineup;

    fn sent(topic: &str, topic_id: u128, partition: i32) -> Sent {
        let mut lineup = Lineup::new(false);
        lineup.push(crate::producer::batch::tests::batch(1, &Settings::default()));
        let super::super::lineup::Next::Send(key) = lineup.next(None, tokio::time::Instant::now())
        else {
            unreachable!()
        };
        let topic_id = Uuid::from_u128(topic_id);
        Sent { slot: 0, key, topic: topic.into(), topic_id, partition, bytes: vec![1].into() }
    }

    #[tokio::test]
    async fn answers_find_their_batches_by_name_or_by_id() {
        let sent = [sent("a", 1, 0), sent("a", 1, 7), sent("b", 2, 0)];
        let partition = |index, error_code, base_offset| PartitionProduceResponse {
            index,
            error_code,
            base_offset,
            ..PartitionProduceResponse::default()
        };
        for by_id in [false, true] {
            let topic = |name: &'static str, id, partitions: Vec<_>| TopicProduceResponse {
                name: if by_id { KafkaStr::default() } else { name.into() },
                topic_id: if by_id { Uuid::from_u128(id) } else { Uuid::nil() },
                partition_responses: partitions,
                ..TopicProduceResponse::default()
            };
            let response = ProduceResponse {
                responses: vec![
                    topic("b", 2, vec![partition(0, 46, -1), partition(9, 0, 9)]),
                    topic("a", 1, vec![partition(7, 0, 70)]),
                ],
                ..ProduceResponse::default()
            };
            let outcomes: Vec<String> = answers(&sent, &response)
                .iter()
                .map(|answer| match &answer.outcome {
                    Ok(receipt) => format!("{:?}", receipt.base_offset),
                    Err(attempt) => attempt.to_string(),
                })
                .collect();
            let left_out = Attempt::LeftOut.to_string();
            assert_eq!(outcomes, [left_out.as_str(), "Some(70)", "None"]);
        }
    }
}
