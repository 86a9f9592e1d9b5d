//! The producer's one task: takes batches from the accumulators, numbers them, and sends those of
//! many partitions together, each to the broker that leads it.
//!
//! It alone owns the state of partitions and brokers, so a batch is never in two hands, whichever
//! way leadership moves. It never waits for anything but news: an answer, a connection, an
//! identity, metadata, a signal from an accumulator, or the time.

mod dispatch;
mod settle;
mod visit;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use thalweg_protocol::NodeId;
use thalweg_protocol::messages::ProduceResponse;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::accumulator::Accumulator;
use super::batch::Identity;
use super::error::Attempt;
use super::exchange::Sent;
use super::identity::identify;
use super::lineup::Lineup;
use super::shared::Shared;
use crate::address::BrokerAddress;
use crate::cluster::{Cluster, Metadata};
use crate::error::{ConnectError, RequestError};

pub(super) struct Driver {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    metadata: watch::Receiver<Arc<Metadata>>,
    parts: Vec<Part>,
    lanes: HashMap<NodeId, Lane>,
    /// Slots to look at in this turn.
    due: VecDeque<usize>,
    /// Slots without a leader, and those without an identity.
    unrouted: BTreeSet<usize>,
    unidentified: BTreeSet<usize>,
    identity: Option<Identity>,
    is_identifying: bool,
    is_refreshing: bool,
    refresh_failures: u32,
    /// When to look at which slot again.
    timers: BTreeSet<(Instant, usize)>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

/// A partition as the driver sees it.
struct Part {
    accumulator: Arc<Accumulator>,
    lineup: Lineup,
    failures: u32,
    retry_at: Option<Instant>,
    timer: Option<Instant>,
    /// Whether it stands in `due` or in a lane.
    is_queued: bool,
}

/// A broker as the driver sees it.
#[derive(Default)]
struct Lane {
    in_flight: usize,
    is_dialing: bool,
    /// Slots with a batch to send.
    waiting: VecDeque<usize>,
    /// Slots whose open batch goes along once nothing is under way.
    lingering: BTreeSet<usize>,
    /// The broker asked for a pause that is not over yet (KIP-219).
    is_throttled: bool,
}

enum Event {
    Answered {
        node: NodeId,
        broker: BrokerAddress,
        sent: Vec<Sent>,
        outcome: Result<Option<ProduceResponse>, RequestError>,
    },
    Dialed {
        node: NodeId,
        outcome: Result<(), ConnectError>,
    },
    Identified(Result<Identity, Attempt>),
    Refreshed,
    Unthrottled(NodeId),
}

impl Driver {
    pub(super) fn new(cluster: Arc<Cluster>, shared: Arc<Shared>) -> Self {
        Driver {
            metadata: cluster.watch(),
            shared,
            cluster,
            parts: Vec::new(),
            lanes: HashMap::new(),
            due: VecDeque::new(),
            unrouted: BTreeSet::new(),
            unidentified: BTreeSet::new(),
            identity: None,
            is_identifying: false,
            is_refreshing: false,
            refresh_failures: 0,
            timers: BTreeSet::new(),
            events: FuturesUnordered::new(),
        }
    }

    /// Works until the producer is closed and everything that was taken is settled.
    pub(super) async fn run(mut self) {
        loop {
            self.turn();
            if self.shared.is_closing() && !self.shared.has_incomplete() {
                return;
            }
            let timer = self.timers.first().map(|(at, _)| *at);
            tokio::select! {
                () = self.shared.bell.notified() => {}
                Some(event) = self.events.next(), if !self.events.is_empty() => {
                    self.on_event(event);
                    // What else has come needs no turn of its own.
                    while let Some(Some(event)) = self.events.next().now_or_never() {
                        self.on_event(event);
                    }
                }
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
                Ok(()) = self.metadata.changed() => self.on_metadata(),
            }
        }
    }

    /// Looks at whatever has news, and sends whatever can be sent.
    fn turn(&mut self) {
        let now = Instant::now();
        self.cluster.maybe_begin_refresh(now);
        let mut signals = Vec::new();
        self.shared.take_signals(&mut signals);
        if signals.iter().any(|slot| *slot >= self.parts.len()) {
            self.adopt_accumulators();
        }
        signals.into_iter().for_each(|slot| self.queue(slot));
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.parts[slot].timer = None;
            // Time is up for its batches even while they wait for a busy or unreachable broker.
            self.expire(slot, now);
            self.queue(slot);
        }
        self.relieve_starvation();
        while let Some(slot) = self.due.pop_front() {
            self.parts[slot].is_queued = false;
            self.visit(slot, now);
        }
        self.dispatch(now);
    }

    fn adopt_accumulators(&mut self) {
        let is_idempotent = self.shared.settings.idempotent;
        let new = self.shared.accumulators_from(self.parts.len());
        self.parts.extend(new.into_iter().map(|accumulator| Part {
            accumulator,
            lineup: Lineup::new(is_idempotent),
            failures: 0,
            retry_at: None,
            timer: None,
            is_queued: false,
        }));
    }

    /// Has a slot looked at in this turn, unless it stands in a queue already.
    fn queue(&mut self, slot: usize) {
        let part = &mut self.parts[slot];
        if !part.is_queued {
            part.is_queued = true;
            self.due.push_back(slot);
        }
    }

    fn queue_all(&mut self, slots: BTreeSet<usize>) {
        slots.into_iter().for_each(|slot| self.queue(slot));
    }

    /// If callers wait for memory and none is on its way back, batches that linger are what holds
    /// it.
    fn relieve_starvation(&mut self) {
        if self.shared.is_anybody_starved() && self.parts.iter().all(|part| part.lineup.is_empty())
        {
            self.shared.close_batches();
            self.adopt_accumulators();
            (0..self.parts.len()).for_each(|slot| self.queue(slot));
        }
    }

    /// Has a slot looked at again at `at`, or earlier if that was arranged before.
    fn set_timer(&mut self, slot: usize, at: Instant) {
        let part = &mut self.parts[slot];
        if part.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        if let Some(timer) = part.timer.replace(at) {
            self.timers.remove(&(timer, slot));
        }
        self.timers.insert((at, slot));
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Answered { node, broker, sent, outcome } => {
                self.on_answered(node, &broker, &sent, outcome);
            }
            Event::Dialed { node, outcome } => self.on_dialed(node, outcome),
            Event::Identified(outcome) => self.on_identified(outcome),
            Event::Refreshed => {
                self.is_refreshing = false;
                self.on_metadata();
            }
            Event::Unthrottled(node) => {
                self.lanes.entry(node).or_default().is_throttled = false;
            }
        }
    }

    fn on_metadata(&mut self) {
        self.metadata.mark_unchanged();
        let unrouted = std::mem::take(&mut self.unrouted);
        if unrouted.is_empty() && !self.is_refreshing {
            self.refresh_failures = 0;
        }
        self.queue_all(unrouted);
    }

    fn on_dialed(&mut self, node: NodeId, outcome: Result<(), ConnectError>) {
        let lane = self.lanes.entry(node).or_default();
        lane.is_dialing = false;
        if let Err(error) = outcome {
            tracing::debug!(%error, "a partition leader cannot be reached");
            // Whoever waits is looked at anew: leadership may have moved, or time may be up.
            for slot in std::mem::take(&mut lane.waiting) {
                self.parts[slot].is_queued = false;
                self.parts[slot].lineup.note(&error);
                self.queue(slot);
            }
            self.want_metadata();
        }
    }

    /// Reads metadata anew in the background, after a while if that was done just now.
    fn want_metadata(&mut self) {
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

    /// Asks for an identity other than `stale`, for a slot that cannot go on without.
    fn want_identity(&mut self, slot: usize, stale: Option<Identity>) {
        self.unidentified.insert(slot);
        if self.is_identifying || (self.identity.is_some() && self.identity != stale) {
            return;
        }
        self.is_identifying = true;
        let cluster = self.cluster.clone();
        let delay = cluster.options.retry_backoff.min;
        let identify = async move {
            let outcome = identify(cluster).await;
            if outcome.as_ref().is_err_and(Attempt::is_retriable) {
                sleep(delay).await;
            }
            Event::Identified(outcome)
        };
        self.events.push(identify.boxed());
    }
}

/// However the task ends, nobody is to wait for it any longer.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
