//! Fetch (key 1), versions 4–18, with incremental sessions (KIP-227) and topic ids from 13.
//!
//! Waits for `min_bytes` or `max_wait_ms`; an error in any partition answers at once. The first
//! batch of an answer comes whole, however large (KIP-74). Records are slices of the log's cache or
//! of mapped segments and are never copied. A partition with nothing to give carries records of
//! length zero, not null.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use tokio::time::{Instant, timeout_at};

use super::error_map::of_partition;
use super::fetch_session::{FetchKey, Plan, Wanted};
use super::scatter::{Ask, by_shard};
use crate::controller::assignment::Assignment;
use crate::node::Node;
use crate::partition::error::PartitionError;
use crate::partition::fetch_wait::FetchWaiter;
use crate::partition::{ReadAnswer, ReadSpec};
use crate::server::connection::CloseReason;
use crate::server::dispatch::{Answer, Incoming};
use crate::shard::Shard;

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose answers may name a new leader.
const LEADERS_SINCE: i16 = 12;
/// No poll is longer than this, whatever the client asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What an answer shows beside the records.
#[derive(Clone, Copy)]
struct Shown {
    /// The list of aborted transactions, for read_committed.
    committed_only: bool,
    leaders: bool,
}

type Read = Result<ReadAnswer, ErrorCode>;

pub(super) fn start(
    mut incoming: Incoming,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason> {
    let request = incoming.decode::<FetchRequest>()?;
    Ok(async move {
        let shard = Rc::clone(&incoming.connection.shard);
        let by_id = incoming.version() >= TOPIC_IDS_SINCE;
        let planned = shard.sessions.borrow_mut().plan(&request, by_id);
        let response = match planned {
            Ok(plan) => fetch(&shard, &request, plan, incoming.version()).await,
            Err(code) => FetchResponse { error_code: code.code(), ..FetchResponse::default() },
        };
        incoming.answer(&response)
    }
    .boxed_local())
}

async fn fetch(
    shard: &Rc<Shard>,
    request: &FetchRequest,
    plan: Plan,
    version: i16,
) -> FetchResponse {
    let by_id = version >= TOPIC_IDS_SINCE;
    let poll = Poll::new(shard, request, &plan.wanted, by_id);
    let reads = poll.until_enough().await;
    let shown =
        Shown { committed_only: request.isolation_level == 1, leaders: version >= LEADERS_SINCE };
    let mut answers: Vec<_> = plan
        .wanted
        .iter()
        .zip(reads)
        .map(|(wanted, read)| (wanted.key.clone(), partition_data(shard, wanted, read, shown)))
        .collect();
    shard.sessions.borrow_mut().told(&plan, &mut answers);
    FetchResponse {
        session_id: plan.session_id,
        responses: by_topic(answers),
        ..FetchResponse::default()
    }
}

/// Where a partition is read.
enum Located {
    Here(Ask<ReadSpec>),
    /// This broker leads, but the client has a replica in its own rack.
    Rather(i32),
    Nowhere(ErrorCode),
}

/// One request's reading, repeated until there is enough.
struct Poll<'a> {
    shard: &'a Rc<Shard>,
    /// Where each wanted partition is.
    located: Vec<Located>,
    min_bytes: i64,
    max_bytes: usize,
    deadline: Instant,
}

impl<'a> Poll<'a> {
    fn new(
        shard: &'a Rc<Shard>,
        request: &FetchRequest,
        wanted: &[Wanted],
        by_id: bool,
    ) -> Poll<'a> {
        let node = &shard.node;
        let limit = node.config().kafka.fetch_bytes_max;
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        Poll {
            shard,
            located: wanted
                .iter()
                .map(|wanted| locate(node, wanted, by_id, &request.rack_id))
                .collect(),
            min_bytes: i64::from(request.min_bytes),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(limit),
            deadline: Instant::now() + wait.min(WAIT_MAX),
        }
    }

    async fn until_enough(&self) -> Vec<Read> {
        let mut reads = self.read(None).await;
        while !self.is_enough(&reads) && Instant::now() < self.deadline {
            let waiter = Arc::new(FetchWaiter::new(self.min_bytes));
            reads = self.read(Some(&waiter)).await;
            if self.is_enough(&reads) {
                break;
            }
            waiter.on_readable(bytes_of(&reads));
            let waited = tokio::select! {
                waited = timeout_at(self.deadline, waiter.enough()) => waited.is_ok(),
                () = stopping(self.shard) => false,
            };
            reads = self.read(None).await;
            if !waited {
                break;
            }
        }
        reads
    }

    fn is_enough(&self, reads: &[Read]) -> bool {
        let says_something =
            |read: &Read| read.as_ref().map_or(true, |answer| answer.preferred_replica.is_some());
        reads.is_empty() || reads.iter().any(says_something) || bytes_of(reads) >= self.min_bytes
    }

    /// Reads every partition once, the shards side by side, and keeps as much as the answer holds.
    async fn read(&self, waiter: Option<&Arc<FetchWaiter>>) -> Vec<Read> {
        let mut reads: Vec<Read> = Vec::with_capacity(self.located.len());
        let (mut asks, mut asked) = (Vec::new(), Vec::new());
        for located in &self.located {
            match located {
                Located::Here(Ask { topic, partition, question }) => {
                    asked.push(reads.len());
                    let question = ReadSpec { waiter: waiter.cloned(), ..question.clone() };
                    asks.push(Ask { topic: *topic, partition: *partition, question });
                    reads.push(Err(ErrorCode::NotLeaderOrFollower));
                }
                Located::Rather(replica) => reads.push(Ok(ReadAnswer {
                    high_watermark: -1,
                    log_start_offset: -1,
                    preferred_replica: Some(*replica),
                    ..ReadAnswer::default()
                })),
                Located::Nowhere(code) => reads.push(Err(*code)),
            }
        }
        let max_bytes = self.max_bytes;
        let crossings = by_shard(self.shard, asks).into_iter().map(|(owner, asks)| async move {
            let work = move |shard: &Rc<Shard>| read_here(Rc::clone(shard), asks, max_bytes);
            self.shard.node.router.run(self.shard, owner, work).await.unwrap_or_default()
        });
        for (position, read) in join_all(crossings).await.into_iter().flatten() {
            if let Some(slot) = asked.get(position).and_then(|at| reads.get_mut(*at)) {
                *slot = read;
            }
        }
        clip(&mut reads, max_bytes);
        reads
    }
}

/// Reads this shard's share of a request, one partition after the other, within the byte limit.
async fn read_here(
    shard: Rc<Shard>,
    asks: Vec<(usize, Ask<ReadSpec>)>,
    max_bytes: usize,
) -> Vec<(usize, Read)> {
    let mut left = max_bytes;
    let mut nothing_yet = true;
    let mut reads = Vec::with_capacity(asks.len());
    for (position, ask) in asks {
        let spec = ReadSpec {
            max_bytes: ask.question.max_bytes.min(left),
            min_one: nothing_yet,
            ..ask.question
        };
        let read = match shard.partition(ask.topic, ask.partition) {
            Ok(partition) => partition.read(spec).await,
            Err(error) => Err(error),
        };
        if let Ok(answer) = &read {
            left = left.saturating_sub(answer.bytes);
            nothing_yet = nothing_yet && answer.bytes == 0;
        }
        reads.push((position, read.map_err(|error: PartitionError| of_partition(&error))));
    }
    reads
}

/// Each shard kept to the limit by itself; together they may not.
fn clip(reads: &mut [Read], max_bytes: usize) {
    let mut total = 0;
    for answer in reads.iter_mut().flatten() {
        if total > 0 && total + answer.bytes > max_bytes {
            answer.records = Vec::new();
            answer.bytes = 0;
        }
        total += answer.bytes;
    }
}

fn bytes_of(reads: &[Read]) -> i64 {
    let bytes: usize = reads.iter().flatten().map(|answer| answer.bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Resolves when the broker shuts down: long polls are answered with what there is.
async fn stopping(shard: &Shard) {
    let mut shutdown = shard.node.shutdown.clone();
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

fn locate(node: &Node, wanted: &Wanted, by_id: bool, rack: &str) -> Located {
    let (topic, unknown) = if by_id {
        (node.topic_by_id(wanted.key.id), ErrorCode::UnknownTopicId)
    } else {
        (node.topic(&wanted.key.name), ErrorCode::UnknownTopicOrPartition)
    };
    let Some(topic) = topic else { return Located::Nowhere(unknown) };
    let Some(assignment) = topic.partition(wanted.key.partition) else {
        return Located::Nowhere(ErrorCode::UnknownTopicOrPartition);
    };
    if !rack.is_empty()
        && let Some(replica) = replica_in_rack(node, topic.id, wanted, assignment, rack)
    {
        return Located::Rather(replica);
    }
    let question = ReadSpec {
        offset: wanted.fetch.fetch_offset,
        max_bytes: usize::try_from(wanted.fetch.partition_max_bytes).unwrap_or(0),
        min_one: false,
        current_leader_epoch: wanted.fetch.current_leader_epoch,
        follower_may: !rack.is_empty(),
        waiter: None,
    };
    Located::Here(Ask { topic: topic.id, partition: wanted.key.partition, question })
}

/// The replica that a client in `rack` should read from instead of this leader (KIP-392): one that
/// is in sync and stays, in the client's rack, if this broker is not there itself. Any other would
/// keep the client waiting for what the leader has.
fn replica_in_rack(
    node: &Node,
    topic: uuid::Uuid,
    wanted: &Wanted,
    assignment: &Assignment,
    rack: &str,
) -> Option<i32> {
    let partition = wanted.key.partition;
    let leader = node.leaders.get(topic, partition)?;
    let image = node.images.load();
    let is_there =
        |id: i32| image.brokers.get(&id).is_some_and(|broker| broker.rack.as_deref() == Some(rack));
    if leader.node != node.id || is_there(node.id) {
        return None;
    }
    let removing = assignment.removing();
    let in_sync = image.isr(assignment, &node.leaders.lagging(topic, partition));
    in_sync.into_iter().find(|replica| is_there(*replica) && !removing.contains(replica))
}

fn partition_data(shard: &Shard, wanted: &Wanted, read: Read, shown: Shown) -> PartitionData {
    let aborted_transactions = shown.committed_only.then(Vec::new);
    let partition_index = wanted.key.partition;
    match read {
        Ok(answer) => PartitionData {
            partition_index,
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.high_watermark,
            log_start_offset: answer.log_start_offset,
            aborted_transactions,
            preferred_read_replica: answer.preferred_replica.unwrap_or(-1),
            records: Some(answer.records.into()),
            ..PartitionData::default()
        },
        Err(code) => {
            shard.env.metrics.on_error_code(1, code.code());
            let mut data = PartitionData {
                partition_index,
                error_code: code.code(),
                high_watermark: -1,
                aborted_transactions,
                preferred_read_replica: -1,
                ..PartitionData::default()
            };
            if shown.leaders
                && matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
                && let Some(leader) = known_leader(&shard.node, &wanted.key)
            {
                data.current_leader = leader;
            }
            data
        }
    }
}

fn known_leader(node: &Node, key: &FetchKey) -> Option<LeaderIdAndEpoch> {
    let topic = match key.id.is_nil() {
        true => node.topic(&key.name)?.id,
        false => key.id,
    };
    let leader = node.leaders.get(topic, key.partition)?;
    Some(LeaderIdAndEpoch {
        leader_id: leader.node,
        leader_epoch: leader.epoch,
        ..LeaderIdAndEpoch::default()
    })
}

/// Neighbouring partitions of one topic share its entry.
fn by_topic(answers: Vec<(FetchKey, PartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (key, data) in answers {
        match topics.last_mut() {
            Some(last) if last.topic == key.name && last.topic_id == key.id => {
                last.partitions.push(data);
            }
            _ => topics.push(FetchableTopicResponse {
                topic: key.name,
                topic_id: key.id,
                partitions: vec![data],
                ..FetchableTopicResponse::default()
            }),
        }
    }
    topics
}
