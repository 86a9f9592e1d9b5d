//! The member's heartbeat: one request at a time, at regular intervals, and what its answers say.
//! The classic protocol's says that the member lives; the consumer protocol's says and brings all.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thalweg_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Message};
use tokio::time::{Instant, sleep_until};

use super::Turn;
use super::epoch::Said;
use crate::cluster::{GroupError, GroupFault, Pool};
use crate::consumer::group::builder::GroupProtocol;
use crate::consumer::group::liveness::LastSign;
use crate::consumer::group::shared::Shared;

pub(super) struct Pulse {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    interval: Duration,
    next_at: Instant,
    beat: Option<BoxFuture<'static, Result<Beat, GroupError>>>,
    failures: u32,
    last_sign: LastSign,
    /// What the consumer protocol's heartbeats say.
    pub(super) said: Said,
}

/// What a heartbeat brings.
enum Beat {
    Classic,
    Consumer(Box<ConsumerGroupHeartbeatResponse>),
}

impl Pulse {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>) -> Self {
        let now = Instant::now();
        let last_sign = LastSign::new(now);
        let (interval, said) = (shared.settings.heartbeat_interval, Said::default());
        Pulse { shared, pool, interval, next_at: now, beat: None, failures: 0, last_sign, said }
    }

    /// Begins to beat for a new generation; what an older one is answered is of no interest.
    pub(super) fn restart(&mut self) {
        self.beat = None;
        self.failures = 0;
        self.next_at = Instant::now() + self.interval;
    }

    /// Beats without waiting for the next time, or as soon as the beat under way is over.
    pub(super) fn beat_now(&mut self) {
        self.next_at = Instant::now();
    }

    /// Beats until there is something to heed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            if self.beat.is_none() {
                sleep_until(self.next_at).await;
                let (limit, now) = (self.shared.settings.max_poll_interval, Instant::now());
                if self.last_sign.is_older_than(limit, &self.shared.liveness, now) {
                    return Turn::Stalled;
                }
            }
            if self.beat.is_none() {
                self.beat = Some(self.begin());
            }
            let Some(beat) = &mut self.beat else { continue };
            let outcome = beat.await;
            self.beat = None;
            if let Some(turn) = self.heed(outcome) {
                return turn;
            }
        }
    }

    fn begin(&mut self) -> BoxFuture<'static, Result<Beat, GroupError>> {
        let (shared, pool) = (self.shared.clone(), self.pool.clone());
        self.next_at = Instant::now() + self.interval;
        match self.shared.settings.protocol {
            GroupProtocol::Classic => Box::pin(beat(shared, pool)),
            GroupProtocol::Consumer => {
                let request = self.said.request(&self.shared);
                // What is not said by then is said by the next one.
                (self.said.is_all_news, self.said.is_owned_news) = (false, false);
                Box::pin(beat_and_ask(shared, pool, request))
            }
        }
    }

    fn heed(&mut self, outcome: Result<Beat, GroupError>) -> Option<Turn> {
        let error = match outcome {
            Ok(Beat::Classic) => {
                self.failures = 0;
                return None;
            }
            Ok(Beat::Consumer(response)) => return self.heed_epoch(*response),
            Err(error) => error,
        };
        self.said.is_all_news = true;
        match error.fault {
            GroupFault::Refused(ErrorCode::RebalanceInProgress) => Some(Turn::Rejoin),
            GroupFault::Refused(
                ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::FencedMemberEpoch,
            ) => Some(Turn::Lost),
            // The group has been deleted, as it seemed to be nobody's. Whoever is not in it yet is
            // told so where the group is none that it could join.
            GroupFault::Refused(ErrorCode::GroupIdNotFound) if self.shared.is_member() => {
                Some(Turn::Lost)
            }
            _ if error.is_retriable() => {
                tracing::debug!(%error, "a heartbeat failed");
                let cluster = &self.shared.cluster;
                cluster.on_coordinator_error(&error);
                self.failures = self.failures.saturating_add(1);
                let delay = cluster.options.retry_backoff.delay(self.failures, &cluster.jitter);
                self.next_at = self.next_at.min(Instant::now() + delay);
                None
            }
            _ => Some(Turn::Fail(error)),
        }
    }

    /// The coordinator tells the member's epoch, the pace, and at times what it may have.
    fn heed_epoch(&mut self, response: ConsumerGroupHeartbeatResponse) -> Option<Turn> {
        self.failures = 0;
        let told_id = response.member_id.filter(|id| !id.is_empty()).map(|id| id.detached());
        let member_id = told_id.unwrap_or_else(|| self.shared.identity().member_id);
        self.shared.set_identity(member_id, response.member_epoch);
        if let Ok(ms @ 1..) = u64::try_from(response.heartbeat_interval_ms) {
            self.interval = Duration::from_millis(ms);
            // Unless the next beat has something to say that cannot wait.
            if !self.said.is_all_news && !self.said.is_owned_news {
                self.next_at = Instant::now() + self.interval;
            }
        }
        response.assignment.map(|assignment| Turn::Assigned(assignment.topic_partitions))
    }
}

async fn beat_and_ask(
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<Beat, GroupError> {
    // Only from version 1 the coordinator can read a regular expression.
    let oldest = i16::from(request.subscribed_topic_regex.is_some());
    let versions = oldest..=*ConsumerGroupHeartbeatRequest::VERSIONS.end();
    let (group, timeout) = (&shared.group, shared.cluster.options.request_timeout);
    let build = |_| request.clone();
    let answer = shared.cluster.ask_coordinator(&pool, group, versions, build, timeout);
    let (coordinator, response) = answer.await?;
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => Ok(Beat::Consumer(Box::new(response))),
        error => Err(GroupError::new(group, Some(coordinator), GroupFault::Refused(error))),
    }
}

async fn beat(shared: Arc<Shared>, pool: Arc<Pool>) -> Result<Beat, GroupError> {
    let identity = shared.identity();
    let build = |_| HeartbeatRequest {
        group_id: KafkaStr::copied_from(&shared.group),
        generation_id: identity.generation,
        member_id: identity.member_id.clone(),
        group_instance_id: identity.group_instance_id.clone(),
        ..HeartbeatRequest::default()
    };
    let timeout = shared.cluster.options.request_timeout.min(shared.settings.session_timeout);
    let versions = HeartbeatRequest::VERSIONS;
    let answer = shared.cluster.ask_coordinator(&pool, &shared.group, versions, build, timeout);
    let (coordinator, response) = answer.await?;
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => Ok(Beat::Classic),
        error => Err(GroupError::new(&shared.group, Some(coordinator), GroupFault::Refused(error))),
    }
}
