//! The consumer's one task: keeps a Fetch under way to each broker that leads a partition which is
//! wanted, as long as there is room to read ahead.
//!
//! It never waits for anything but news: an answer, room, a change of the assignment, metadata,
//! time. A broker is asked over a connection of the consumer's own, as a long poll holds up
//! whatever is behind it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use thalweg_protocol::messages::FetchResponse;
use thalweg_protocol::{ErrorCode, NodeId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::board::{Assignment, Board, NextFetch};
use super::builder::StartAt;
use super::request::{Asked, fetch};
use crate::cluster::{Cluster, FoundOffset, Isolation, Metadata, OffsetAt, PartitionError, Pool};
use crate::error::RequestError;
use crate::topic_partition::TopicPartition;

pub(super) struct Fetcher {
    pub(super) cluster: Arc<Cluster>,
    pub(super) board: Arc<Board>,
    pool: Arc<Pool>,
    metadata: watch::Receiver<Arc<Metadata>>,
    lanes: HashMap<NodeId, Lane>,
    /// Bytes that answers under way may bring.
    reserved: usize,
    /// How many answers have brought something of a partition.
    pub(super) fills: u64,
    is_refreshing: bool,
    refresh_failures: u32,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

/// A broker as the fetcher sees it.
#[derive(Default)]
struct Lane {
    is_busy: bool,
    failures: u32,
    retry_at: Option<Instant>,
}

enum Event {
    Fetched {
        node: NodeId,
        asked: Vec<Asked>,
        reserved: usize,
        outcome: Result<FetchResponse, RequestError>,
    },
    Found(Vec<Found>),
    Refreshed,
}

type Found = (LookUp, Result<Option<FoundOffset>, PartitionError>);

/// An offset being looked up.
#[derive(Debug, Clone)]
pub(super) struct LookUp {
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) partition: Arc<TopicPartition>,
    at: OffsetAt,
}

impl Fetcher {
    pub(super) fn new(cluster: Arc<Cluster>, board: Arc<Board>) -> Self {
        Fetcher {
            pool: Arc::new(cluster.separate_pool()),
            metadata: cluster.watch(),
            cluster,
            board,
            lanes: HashMap::new(),
            reserved: 0,
            fills: 0,
            is_refreshing: false,
            refresh_failures: 0,
            events: FuturesUnordered::new(),
        }
    }

    /// Works until it is aborted, which the consumer does when it goes.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.cluster.maybe_begin_refresh(now);
            self.look_up(now);
            let wake = self.fetch(now);
            tokio::select! {
                () = self.board.bell.notified() => {}
                Some(event) = self.events.next(), if !self.events.is_empty() => {
                    self.on_event(event);
                }
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
                Ok(()) = self.metadata.changed() => {}
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Fetched { node, asked, reserved, outcome } => {
                self.reserved -= reserved;
                self.on_fetched(node, &asked, outcome);
                self.board.arrival.notify_one();
            }
            Event::Found(found) => {
                found.into_iter().for_each(|(look_up, outcome)| self.on_found(&look_up, outcome));
                self.board.arrival.notify_one();
            }
            Event::Refreshed => self.is_refreshing = false,
        }
    }

    fn on_fetched(
        &mut self,
        node: NodeId,
        asked: &[Asked],
        outcome: Result<FetchResponse, RequestError>,
    ) {
        let lane = self.lanes.entry(node).or_default();
        lane.is_busy = false;
        match outcome {
            Ok(response) => {
                lane.failures = 0;
                lane.retry_at = None;
                self.on_response(node, asked, response);
            }
            Err(error) => {
                lane.failures = lane.failures.saturating_add(1);
                let backoff = self.cluster.options.retry_backoff;
                let delay = backoff.delay(lane.failures, &self.cluster.jitter);
                lane.retry_at = Some(Instant::now() + delay);
                self.on_unanswered(asked, error);
            }
        }
    }

    /// Looks up where to begin, for all partitions that do not know it.
    fn look_up(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        for (place, assignment) in self.board.lock().assignments.iter_mut().enumerate() {
            if let NextFetch::LookUp(start) = assignment.next_fetch
                && assignment.is_fetchable(now)
            {
                assignment.is_busy = true;
                wanted.push(LookUp {
                    place,
                    generation: assignment.generation,
                    partition: assignment.partition.clone(),
                    at: offset_at(start),
                });
            }
        }
        if wanted.is_empty() {
            return;
        }
        let (cluster, isolation) = (self.cluster.clone(), self.board.settings.isolation);
        self.events.push(find(cluster, wanted, isolation).boxed());
    }

    /// Sends a Fetch to each broker that has something to give and is not asked already. Returns
    /// when to look again, if time alone can change the answer.
    fn fetch(&mut self, now: Instant) -> Option<Instant> {
        let mut wake: Option<Instant> = None;
        let mut by_leader: HashMap<NodeId, Vec<(u64, Asked)>> = HashMap::new();
        let mut is_any_unrouted = false;
        let mut gone = Vec::new();
        {
            let mut board = self.board.lock();
            let metadata = self.metadata.borrow_and_update();
            for (place, assignment) in board.assignments.iter_mut().enumerate() {
                if let Some(retry_at) = assignment.retry_at.filter(|_| !assignment.is_busy) {
                    wake = wake.into_iter().chain((retry_at > now).then_some(retry_at)).min();
                }
                if !assignment.is_fetchable(now) {
                    continue;
                }
                let Some(asked) = Asked::from(place, assignment, &metadata) else { continue };
                let TopicPartition { topic, partition } = &*assignment.partition;
                if let Some(leader) = metadata.leader(topic, *partition) {
                    assignment.unknown_since = None;
                    let filled_at = assignment.filled_at;
                    by_leader.entry(leader.id).or_default().push((filled_at, asked));
                    continue;
                }
                is_any_unrouted = true;
                // A topic may be unknown to a broker for a moment; longer means that it is gone.
                let error = metadata.topic(topic).map_or(ErrorCode::None, |topic| topic.error);
                let is_patient = self.board.settings.is_patient;
                if error == ErrorCode::UnknownTopicOrPartition && !is_patient {
                    let since = *assignment.unknown_since.get_or_insert(now);
                    if now - since >= self.cluster.options.unknown_topic_wait {
                        gone.push((asked, error));
                    }
                }
            }
        }
        gone.iter().for_each(|(asked, error)| self.on_gone(asked, *error));
        if is_any_unrouted {
            self.want_metadata();
        }
        for (node, mut asked) in by_leader {
            // Brokers fill an answer in the order they are asked in: whoever has waited longest
            // comes first, so that no backlog starves the others.
            asked.sort_by_key(|(filled_at, _)| *filled_at);
            let asked = asked.into_iter().map(|(_, asked)| asked).collect();
            let lane = self.lanes.entry(node).or_default();
            if let Some(retry_at) = lane.retry_at.filter(|retry_at| *retry_at > now) {
                wake = wake.into_iter().chain(Some(retry_at)).min();
            } else if !lane.is_busy {
                self.fetch_from(node, asked);
            }
        }
        wake
    }

    fn fetch_from(&mut self, node: NodeId, asked: Vec<Asked>) {
        let settings = &self.board.settings;
        let address = self.metadata.borrow().brokers.get(&node).map(|it| it.address.clone());
        let Some(address) = address else { return };
        let mut board = self.board.lock();
        let taken = board.buffered_bytes() + self.reserved;
        let room = settings.prefetch_bytes.saturating_sub(taken);
        // Little room makes for little answers: wait until there is some, unless it is all there
        // is.
        if taken > 0 && room < settings.partition_max_bytes.min(settings.max_bytes) {
            board.want_room();
            return;
        }
        let reserved = settings.max_bytes.min(room.max(settings.partition_max_bytes));
        for one in &asked {
            if let Some(assignment) = board.current(one.place, one.generation) {
                assignment.is_busy = true;
            }
        }
        drop(board);
        self.reserved += reserved;
        self.lanes.entry(node).or_default().is_busy = true;
        let (pool, board) = (self.pool.clone(), self.board.clone());
        let timeout = self.cluster.options.request_timeout;
        let fetched = async move {
            let settings = &board.settings;
            let outcome = fetch(&pool, &address, &asked, settings, reserved, timeout).await;
            Event::Fetched { node, asked, reserved, outcome }
        };
        self.events.push(fetched.boxed());
    }

    /// Reads metadata anew in the background, after a while if that was done just now.
    pub(super) fn want_metadata(&mut self) {
        if std::mem::replace(&mut self.is_refreshing, true) {
            return;
        }
        self.refresh_failures = self.refresh_failures.saturating_add(1);
        let cluster = self.cluster.clone();
        let delay = cluster.options.retry_backoff.delay(self.refresh_failures - 1, &cluster.jitter);
        let refresh = async move {
            sleep(delay).await;
            if let Err(error) = cluster.refresh().await {
                tracing::debug!(%error, "metadata not read");
            }
            Event::Refreshed
        };
        self.events.push(refresh.boxed());
    }

    /// Leadership is in order again.
    pub(super) fn on_good_answer(&mut self) {
        self.refresh_failures = 0;
    }
}

impl Assignment {
    fn is_fetchable(&self, now: Instant) -> bool {
        !self.is_busy
            && !self.is_gone
            && !self.is_held
            && !self.is_paused
            && !self.has_failed
            && self.retry_at.is_none_or(|retry_at| retry_at <= now)
    }
}

fn offset_at(start: StartAt) -> OffsetAt {
    match start {
        StartAt::Earliest => OffsetAt::Earliest,
        StartAt::Timestamp(ms) => OffsetAt::Timestamp(ms),
        // An offset is never looked up.
        StartAt::Latest | StartAt::Offset(_) => OffsetAt::Latest,
    }
}

/// Looks the offsets up; a time after the newest record means the end.
async fn find(cluster: Arc<Cluster>, wanted: Vec<LookUp>, isolation: Isolation) -> Event {
    let question = |wanted: &[LookUp], at: fn(OffsetAt) -> OffsetAt| -> Vec<_> {
        wanted.iter().map(|it| (TopicPartition::clone(&it.partition), at(it.at))).collect()
    };
    let outcomes = cluster.find_offsets(&question(&wanted, |at| at), isolation).await;
    let mut found: Vec<Found> = wanted.into_iter().zip(outcomes).collect();
    let late: Vec<LookUp> = found
        .extract_if(.., |(_, outcome)| matches!(outcome, Ok(None)))
        .map(|(look_up, _)| look_up)
        .collect();
    if !late.is_empty() {
        let ends = cluster.find_offsets(&question(&late, |_| OffsetAt::Latest), isolation).await;
        found.extend(late.into_iter().zip(ends));
    }
    Event::Found(found)
}
