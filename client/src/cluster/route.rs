//! Sending a request to the broker that it is for, until it has been answered or time is up.
//! Whatever is not about a partition goes this way.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::{ErrorCode, NodeId, Request};
use tokio::time::{Instant, sleep};

use super::Cluster;
use crate::address::BrokerAddress;
use crate::connection::Connection;
use crate::error::{ConnectFault, RequestError, RequestFault};

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whichever broker answers.
    AnyBroker,
    /// The controller, where the cluster names one; else any broker, which passes the request on.
    Controller,
    /// One broker, by its id.
    Broker(NodeId),
}

impl Cluster {
    /// Sends what `build` makes for the agreed version, again after a failure of the network, until
    /// the operation timeout is over. So it may be carried out twice.
    ///
    /// Cancel-safe, in that nothing is left behind; the request may have been carried out.
    pub(crate) async fn call<R: Request>(
        self: &Arc<Self>,
        target: Target,
        versions: RangeInclusive<i16>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, RequestError> {
        let deadline = Instant::now() + self.options.operation_timeout;
        let mut failures = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = self.attempt(target, versions.clone(), &build, left).await;
            let error = match outcome {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            failures += 1;
            let delay = self.options.retry_backoff.delay(failures, &self.jitter);
            if !error.is_retriable() || Instant::now() + delay >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "trying again");
            sleep(delay).await;
            // The broker may be gone or have moved. If nobody can say, the next attempt will tell.
            let _ = self.refresh().await;
        }
    }

    async fn attempt<R: Request>(
        self: &Arc<Self>,
        target: Target,
        versions: RangeInclusive<i16>,
        build: &impl Fn(i16) -> R,
        left: Duration,
    ) -> Result<R::Response, RequestError> {
        let connection = self.reach::<R>(target).await?;
        let version = connection.version_within::<R>(versions)?;
        let timeout = self.options.request_timeout.min(left);
        connection.call(&build(version), version, timeout).await
    }

    async fn reach<R: Request>(
        self: &Arc<Self>,
        target: Target,
    ) -> Result<Connection, RequestError> {
        let metadata = self.metadata();
        let wanted = match target {
            Target::AnyBroker => None,
            Target::Controller => metadata.controller,
            Target::Broker(node) => Some(node),
        };
        let address = wanted.and_then(|node| metadata.brokers.get(&node));
        match (address, target) {
            (Some(broker), _) => self.connection::<R>(&broker.address).await,
            (None, Target::Broker(node)) => Err(unknown_broker::<R>(node)),
            (None, _) => self.any::<R>().await,
        }
    }

    pub(super) async fn any<R: Request>(&self) -> Result<Connection, RequestError> {
        let mut failure = None;
        for broker in self.candidates() {
            match self.connection::<R>(&broker).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("there is always a bootstrap address to try"))
    }
}

/// Retriable: the broker may be starting, or metadata may be older than it.
fn unknown_broker<R: Request>(node: NodeId) -> RequestError {
    RequestError {
        broker: BrokerAddress::of_node(node, "unknown address", 0),
        api: R::API_KEY,
        fault: RequestFault::NotConnected(ConnectFault::Refused(ErrorCode::LeaderNotAvailable)),
    }
}
