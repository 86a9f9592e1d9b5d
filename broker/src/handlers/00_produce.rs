//! Produce (key 0), versions 3–13 (0–2 are answered UNSUPPORTED_VERSION in their own form).
//!
//! Batches are handed to their partitions while the request is started, so two requests of one
//! connection append in the order they came. acks=0 is never answered, and closes the connection
//! when it fails; other acks than 0, 1 and −1 are INVALID_REQUIRED_ACKS.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use tokio::time::{Instant, timeout_at};

use super::error_map::of_partition;
use super::scatter::{Ask, by_shard};
use super::topic_name;
use crate::controller::image::Topic;
use crate::partition::error::PartitionError;
use crate::partition::{Acks, Ticket};
use crate::server::connection::CloseReason;
use crate::server::dispatch::{Answer, Incoming};
use crate::shard::Shard;

const FIRST_SERVED: i16 = 3;
/// The first version whose answers may name a new leader (KIP-951).
const LEADERS_SINCE: i16 = 10;

/// The outcome for one partition.
type Outcome = Result<Ticket, Refused>;

enum Refused {
    Code(ErrorCode),
    Partition(PartitionError),
}

pub(super) async fn start(
    mut incoming: Incoming,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason> {
    let mut request = incoming.decode::<ProduceRequest>()?;
    let shard = Rc::clone(&incoming.connection.shard);
    let refused = refuse_all(&incoming, &request);
    let acks = if request.acks == -1 { Acks::All } else { Acks::Leader };
    let patience = u64::try_from(request.timeout_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(patience);

    let mut outcomes = Vec::new();
    let mut asks = Vec::new();
    let mut asked = Vec::new();
    for topic in &mut request.topic_data {
        let (id, unknown) = if incoming.version() >= 13 {
            (shard.node.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId)
        } else {
            (shard.node.topic(&topic.name), ErrorCode::UnknownTopicOrPartition)
        };
        let refused = refused.or_else(|| refuse_internal(id.as_deref()));
        for partition in &mut topic.partition_data {
            let records = partition.records.take().unwrap_or_default().into_bytes();
            let placed = id.as_ref().filter(|topic| topic.partition(partition.index).is_some());
            match (refused, placed) {
                (Some(code), _) => outcomes.push(Some(Err(Refused::Code(code)))),
                (None, None) => {
                    let code =
                        if id.is_some() { ErrorCode::UnknownTopicOrPartition } else { unknown };
                    outcomes.push(Some(Err(Refused::Code(code))));
                }
                (None, Some(topic)) => {
                    asked.push(outcomes.len());
                    outcomes.push(None);
                    asks.push(Ask {
                        topic: topic.id,
                        partition: partition.index,
                        question: records,
                    });
                }
            }
        }
    }
    let appended = append(&shard, asks, acks, deadline).await;
    Ok(async move {
        for (position, outcome) in appended.await {
            if let Some(slot) = asked.get(position).and_then(|at| outcomes.get_mut(*at)) {
                *slot = Some(outcome);
            }
        }
        let leaders = incoming.version() >= LEADERS_SINCE;
        let response = respond(&shard, &request, outcomes, leaders);
        if request.acks == 0 { silence(&response) } else { incoming.answer(&response) }
    }
    .boxed_local())
}

/// What the broker itself writes, and coordinates by, no client may write.
fn refuse_internal(topic: Option<&Topic>) -> Option<ErrorCode> {
    let is_internal = topic.is_some_and(|topic| topic_name::is_internal(&topic.name));
    is_internal.then_some(ErrorCode::InvalidTopicException)
}

/// The code for every partition of a request that is refused as a whole.
fn refuse_all(incoming: &Incoming, request: &ProduceRequest) -> Option<ErrorCode> {
    if incoming.version() < FIRST_SERVED {
        return Some(ErrorCode::UnsupportedVersion);
    }
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    request.transactional_id.as_ref().map(|_| ErrorCode::InvalidTxnState)
}

/// Gives every batch to its partition, then returns the future of the outcomes.
async fn append(
    here: &Rc<Shard>,
    asks: Vec<Ask<Bytes>>,
    acks: Acks,
    deadline: Instant,
) -> impl Future<Output = Vec<(usize, Outcome)>> + use<> {
    let mut crossings = Vec::new();
    for (owner, asks) in by_shard(here, asks) {
        let positions: Vec<usize> = asks.iter().map(|(position, _)| *position).collect();
        let work = move |shard: &Rc<Shard>| {
            // In this call, not in the future: here the order is still that of the connection.
            let tickets: Vec<_> = asks
                .into_iter()
                .map(|(position, ask)| {
                    let partition = shard.partition(ask.topic, ask.partition);
                    (position, partition.and_then(|partition| partition.append(ask.question, acks)))
                })
                .collect();
            join_all(tickets.into_iter().map(move |(position, ticket)| async move {
                (position, acknowledged(ticket, deadline).await)
            }))
        };
        let crossing = here.node.router.start(here, owner, work).await;
        crossings.push((positions, crossing));
    }
    async move {
        let mut outcomes = Vec::new();
        for (positions, crossing) in crossings {
            let done = match crossing {
                Ok(crossing) => crossing.result().await,
                Err(gone) => Err(gone),
            };
            match done {
                Ok(done) => outcomes.extend(done),
                Err(_gone) => outcomes.extend(positions.into_iter().map(|position| {
                    (position, Err(Refused::Partition(PartitionError::OutcomeUnknown)))
                })),
            }
        }
        outcomes
    }
}

async fn acknowledged(ticket: Result<Ticket, PartitionError>, deadline: Instant) -> Outcome {
    let mut ticket = ticket.map_err(Refused::Partition)?;
    match timeout_at(deadline, ticket.done()).await {
        Ok(Ok(())) => Ok(ticket),
        Ok(Err(error)) => Err(Refused::Partition(error)),
        Err(_elapsed) => Err(Refused::Partition(PartitionError::TimedOut)),
    }
}

fn respond(
    shard: &Shard,
    request: &ProduceRequest,
    outcomes: Vec<Option<Outcome>>,
    leaders: bool,
) -> ProduceResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|partition| {
                let outcome = outcomes.next().flatten();
                let outcome = outcome.unwrap_or(Err(Refused::Code(ErrorCode::NotLeaderOrFollower)));
                let shown = leaders.then(|| known_leader(shard, topic, partition.index)).flatten();
                partition_response(shard, shown, partition.index, outcome)
            })
            .collect(),
        ..TopicProduceResponse::default()
    });
    ProduceResponse { responses: topics.collect(), ..ProduceResponse::default() }
}

fn partition_response(
    shard: &Shard,
    leader: Option<LeaderIdAndEpoch>,
    index: i32,
    outcome: Outcome,
) -> PartitionProduceResponse {
    let refused = |code: ErrorCode| PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        ..PartitionProduceResponse::default()
    };
    match outcome {
        Ok(ticket) => PartitionProduceResponse {
            index,
            base_offset: ticket.base_offset,
            log_append_time_ms: ticket.log_append_time_ms,
            log_start_offset: ticket.log_start_offset,
            ..PartitionProduceResponse::default()
        },
        Err(Refused::Code(code)) => refused(code),
        Err(Refused::Partition(error)) => {
            let mut response = refused(of_partition(&error));
            shard.env.metrics.on_error_code(0, response.error_code);
            response.error_message = Some(error.to_string().into());
            if let PartitionError::InvalidRecord { records, .. } = error {
                response.record_errors = records.into_iter().map(record_error).collect();
            } else if let (PartitionError::NotLeader, Some(leader)) = (error, leader) {
                response.current_leader = leader;
            }
            response
        }
    }
}

fn known_leader(shard: &Shard, topic: &TopicProduceData, index: i32) -> Option<LeaderIdAndEpoch> {
    let id = match topic.topic_id.is_nil() {
        true => shard.node.topic(&topic.name)?.id,
        false => topic.topic_id,
    };
    let leader = shard.node.leaders.get(id, index)?;
    Some(LeaderIdAndEpoch {
        leader_id: leader.node,
        leader_epoch: leader.epoch,
        ..LeaderIdAndEpoch::default()
    })
}

fn record_error((batch_index, message): (i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message.into()),
        ..BatchIndexAndErrorMessage::default()
    }
}

/// acks=0: the client hears nothing, unless something failed: then the connection goes.
fn silence(response: &ProduceResponse) -> Answer {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.find(|partition| partition.error_code != ErrorCode::None.code()) {
        None => Answer::Nothing,
        Some(failed) => {
            let code = ErrorCode::from(failed.error_code);
            Answer::Close(CloseReason::SilentProduceFailed(code.name().to_owned()))
        }
    }
}
