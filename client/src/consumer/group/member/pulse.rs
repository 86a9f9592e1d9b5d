//! The member's heartbeat: one request at a time, at regular intervals, and what its answers say.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use thalweg_protocol::messages::HeartbeatRequest;
use thalweg_protocol::{ErrorCode, KafkaStr, Message};
use tokio::time::{Instant, sleep_until};

use super::Turn;
use crate::cluster::{GroupError, GroupFault, Pool};
use crate::consumer::group::liveness::LastSign;
use crate::consumer::group::shared::Shared;

pub(super) struct Pulse {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    next_at: Instant,
    beat: Option<BoxFuture<'static, Result<(), GroupError>>>,
    failures: u32,
    last_sign: LastSign,
}

impl Pulse {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>) -> Self {
        let now = Instant::now();
        let last_sign = LastSign::new(now);
        Pulse { shared, pool, next_at: now, beat: None, failures: 0, last_sign }
    }

    /// Begins to beat for a new generation; what an older one is answered is of no interest.
    pub(super) fn restart(&mut self) {
        self.beat = None;
        self.failures = 0;
        self.next_at = Instant::now() + self.shared.settings.heartbeat_interval;
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
            let (shared, pool) = (&self.shared, &self.pool);
            let begin = || Box::pin(beat(shared.clone(), pool.clone())) as BoxFuture<'static, _>;
            let outcome = self.beat.get_or_insert_with(begin).await;
            self.beat = None;
            self.next_at = Instant::now() + self.shared.settings.heartbeat_interval;
            if let Some(turn) = self.heed(outcome) {
                return turn;
            }
        }
    }

    fn heed(&mut self, outcome: Result<(), GroupError>) -> Option<Turn> {
        let Err(error) = outcome else {
            self.failures = 0;
            return None;
        };
        match error.fault {
            GroupFault::Refused(ErrorCode::RebalanceInProgress) => Some(Turn::Rejoin),
            GroupFault::Refused(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
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
}

async fn beat(shared: Arc<Shared>, pool: Arc<Pool>) -> Result<(), GroupError> {
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
        ErrorCode::None => Ok(()),
        error => Err(GroupError::new(&shared.group, Some(coordinator), GroupFault::Refused(error))),
    }
}
