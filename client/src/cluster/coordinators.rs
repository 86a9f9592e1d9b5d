//! The coordinators of groups: which broker each has, and asking it until it has answered.
//!
//! A coordinator that was found is kept until it says that it is none any more or cannot be
//! reached.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use thalweg_protocol::{ErrorCode, KafkaStr, Message, NodeId, Request};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::{Cluster, Pool};
use crate::address::BrokerAddress;
use crate::error::{RequestError, RequestFault};

/// A group's coordinator did not do what it was asked.
#[derive(Debug, Clone, Error)]
#[error("group {group}{at}: {fault}", at = at(.coordinator))]
pub struct GroupError {
    /// The group.
    pub group: Arc<str>,
    /// The broker that coordinates it, as far as known.
    pub coordinator: Option<BrokerAddress>,
    /// What went wrong.
    #[source]
    pub fault: GroupFault,
}

/// Why a group's coordinator did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum GroupFault {
    /// It refused.
    #[error("refused with {0}{hint}", hint = hint(*.0))]
    Refused(ErrorCode),
    /// It gave no answer that could be used.
    #[error("{0}")]
    Unanswered(#[source] Arc<RequestError>),
    /// Its answer did not mention what was asked about.
    #[error("the broker's answer left it out")]
    LeftOut,
}

fn at(coordinator: &Option<BrokerAddress>) -> String {
    coordinator.as_ref().map(|broker| format!(", {broker}")).unwrap_or_default()
}

fn hint(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::NonEmptyGroup => "; stop its members first",
        ErrorCode::GroupIdNotFound => "; check the name",
        ErrorCode::GroupAuthorizationFailed => "; the client may not read with this group",
        ErrorCode::InconsistentGroupProtocol => {
            "; its members have no assignor in common with this one, or are no consumers"
        }
        ErrorCode::InvalidSessionTimeout => {
            "; the brokers have group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        ErrorCode::InvalidRegularExpression => {
            "; the subscription is no regular expression in RE2's syntax, or too large a one"
        }
        ErrorCode::FencedInstanceId => "; another member has the same group_instance_id",
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
            "; the member has been out of the group meanwhile"
        }
        ErrorCode::GroupMaxSizeReached => "; the brokers have group.max.size",
        ErrorCode::OffsetMetadataTooLarge => "; the brokers have offset.metadata.max.bytes",
        ErrorCode::GroupSubscribedToTopic => "; a member still subscribes to the topic",
        _ => "",
    }
}

impl GroupError {
    pub(crate) fn new(
        group: &Arc<str>,
        coordinator: Option<BrokerAddress>,
        fault: GroupFault,
    ) -> Self {
        GroupError { group: group.clone(), coordinator, fault }
    }

    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match &self.fault {
            GroupFault::Refused(error) => {
                error.is_retriable() || *error == ErrorCode::RebalanceInProgress
            }
            GroupFault::Unanswered(error) => error.is_retriable(),
            GroupFault::LeftOut => true,
        }
    }

    /// Whether another attempt may find another coordinator, or this one in better shape.
    pub(crate) fn is_about_coordinator(&self) -> bool {
        match &self.fault {
            GroupFault::Refused(error) => is_about_coordinator(*error),
            GroupFault::Unanswered(error) => error.is_retriable(),
            GroupFault::LeftOut => false,
        }
    }
}

fn is_about_coordinator(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
    )
}

/// The coordinators that were found, by group.
#[derive(Debug, Default)]
pub(super) struct Coordinators(Mutex<HashMap<Arc<str>, BrokerAddress>>);

impl Coordinators {
    fn get(&self, group: &str) -> Option<BrokerAddress> {
        self.lock().get(group).cloned()
    }

    fn set(&self, group: &Arc<str>, coordinator: BrokerAddress) {
        self.lock().insert(group.clone(), coordinator);
    }

    fn remove(&self, group: &str) {
        self.lock().remove(group);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, BrokerAddress>> {
        self.0.lock().expect("no one panics while holding this lock")
    }
}

/// The last version that asks about one key, not about many.
const VERSION_OF_ONE_KEY_MAX: i16 = 3;

impl Cluster {
    /// Asks the group's coordinator, again where it moves, loads or cannot be reached, until the
    /// operation timeout is over. `error_of` tells which error the whole answer is.
    ///
    /// Cancel-safe, in that nothing is left behind; the request may have been carried out.
    pub(crate) async fn call_coordinator<R: Request>(
        self: &Arc<Self>,
        group: &Arc<str>,
        versions: RangeInclusive<i16>,
        build: impl Fn(i16) -> R,
        error_of: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, GroupError> {
        let deadline = Instant::now() + self.options.operation_timeout;
        let mut failures = 0;
        loop {
            let timeout = self.options.request_timeout;
            let timeout = timeout.min(deadline.saturating_duration_since(Instant::now()));
            let attempt =
                self.ask_coordinator(&self.pool, group, versions.clone(), &build, timeout);
            let error = match attempt.await {
                Ok((coordinator, response)) => match error_of(&response) {
                    error if is_about_coordinator(error) => {
                        let fault = GroupFault::Refused(error);
                        GroupError::new(group, Some(coordinator), fault)
                    }
                    _ => return Ok(response),
                },
                Err(error) => error,
            };
            self.on_coordinator_error(&error);
            failures += 1;
            let delay = self.options.retry_backoff.delay(failures, &self.jitter);
            if !error.is_about_coordinator() || Instant::now() + delay >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "trying again");
            sleep(delay).await;
        }
    }

    /// Asks the group's coordinator once, over a connection from `pool`.
    pub(crate) async fn ask_coordinator<R: Request>(
        self: &Arc<Self>,
        pool: &Pool,
        group: &Arc<str>,
        versions: RangeInclusive<i16>,
        build: impl Fn(i16) -> R,
        timeout: Duration,
    ) -> Result<(BrokerAddress, R::Response), GroupError> {
        let coordinator = self.coordinator(group).await?;
        let asked = async {
            let connection = pool.connection(&coordinator).await.map_err(|error| RequestError {
                broker: error.broker,
                api: R::API_KEY,
                fault: RequestFault::NotConnected(error.fault),
            })?;
            let version = connection.version_within::<R>(versions)?;
            connection.call(&build(version), version, timeout).await
        };
        match asked.await {
            Ok(response) => Ok((coordinator, response)),
            Err(error) => Err(unanswered(group, Some(coordinator), error)),
        }
    }

    /// Looks for another coordinator next time, if the error is one that another may not make.
    pub(crate) fn on_coordinator_error(&self, error: &GroupError) {
        let is_loading =
            matches!(error.fault, GroupFault::Refused(ErrorCode::CoordinatorLoadInProgress));
        if error.is_about_coordinator() && !is_loading {
            self.coordinators.remove(&error.group);
        }
    }

    /// The group's coordinator, as it was found or else is found now.
    ///
    /// Cancel-safe.
    pub(crate) async fn coordinator(
        self: &Arc<Self>,
        group: &Arc<str>,
    ) -> Result<BrokerAddress, GroupError> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known);
        }
        let connection = self.any::<FindCoordinatorRequest>().await;
        let connection = connection.map_err(|error| unanswered(group, None, error))?;
        let version = connection
            .version_within::<FindCoordinatorRequest>(0..=*FindCoordinatorRequest::VERSIONS.end());
        let version = version.map_err(|error| unanswered(group, None, error))?;
        let request = question(group, version);
        let answer = connection.call(&request, version, self.options.request_timeout).await;
        let response = answer.map_err(|error| unanswered(group, None, error))?;
        let found = read(group, response, version);
        let broker = Some(connection.broker().clone());
        let coordinator = found.map_err(|fault| GroupError::new(group, broker, fault))?;
        self.coordinators.set(group, coordinator.clone());
        Ok(coordinator)
    }
}

fn unanswered(
    group: &Arc<str>,
    coordinator: Option<BrokerAddress>,
    error: RequestError,
) -> GroupError {
    GroupError::new(group, coordinator, GroupFault::Unanswered(Arc::new(error)))
}

fn question(group: &str, version: i16) -> FindCoordinatorRequest {
    let key = KafkaStr::copied_from(group);
    if version <= VERSION_OF_ONE_KEY_MAX {
        FindCoordinatorRequest { key, ..FindCoordinatorRequest::default() }
    } else {
        FindCoordinatorRequest { coordinator_keys: vec![key], ..FindCoordinatorRequest::default() }
    }
}

fn read(
    group: &str,
    response: FindCoordinatorResponse,
    version: i16,
) -> Result<BrokerAddress, GroupFault> {
    let (error, node, host, port) = if version <= VERSION_OF_ONE_KEY_MAX {
        (response.error_code, response.node_id, response.host, response.port)
    } else {
        let mut found = response.coordinators.into_iter();
        let found = found.find(|it| *it.key == *group).ok_or(GroupFault::LeftOut)?;
        (found.error_code, found.node_id, found.host, found.port)
    };
    match (ErrorCode::from(error), u16::try_from(port)) {
        (ErrorCode::None, Ok(port)) => Ok(BrokerAddress::of_node(NodeId(node), &host, port)),
        // No broker listens there.
        (ErrorCode::None, Err(_)) => Err(GroupFault::Refused(ErrorCode::CoordinatorNotAvailable)),
        (error, _) => Err(GroupFault::Refused(error)),
    }
}
