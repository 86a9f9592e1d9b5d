//! One TCP connection to a broker: pipelined requests, matched with their answers in order.
//!
//! A writer task sends frames in the order of their submission and a reader task hands each answer
//! to whoever awaits it. When anything goes wrong the connection ends for good, every unanswered
//! request learns why, and the pool makes another connection.

mod dial;
mod link;
mod reader;
mod versions;
mod writer;

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::{Message, Reader, Request, ResponseHeader, encode_request};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub(crate) use dial::dial;
pub use link::Disconnect;
pub(crate) use link::Link;
pub use versions::NoCommonVersion;
pub(crate) use versions::Versions;

use crate::address::BrokerAddress;
use crate::error::{RequestError, RequestFault};
use crate::observer::ObservedRequest;

/// A connection whose handshake is over. Cheap to clone; it closes when the last clone goes.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    link: Arc<Link>,
    versions: Arc<Versions>,
}

impl Connection {
    pub(crate) fn new(link: Arc<Link>, versions: Versions) -> Self {
        Connection { link, versions: Arc::new(versions) }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    pub(crate) fn broker(&self) -> &BrokerAddress {
        self.link.broker()
    }

    /// The highest version of `R` that both sides speak.
    pub(crate) fn version_of<R: Request>(&self) -> Result<i16, RequestError> {
        self.version_within::<R>(R::VERSIONS)
    }

    /// The highest version of `R` within `wanted` that both sides speak.
    pub(crate) fn version_within<R: Request>(
        &self,
        wanted: RangeInclusive<i16>,
    ) -> Result<i16, RequestError> {
        self.versions
            .highest(R::API_KEY, wanted)
            .map_err(|fault| self.error::<R>(RequestFault::Unsupported(fault)))
    }

    /// Sends a request and awaits its answer, for at most `timeout`.
    ///
    /// Cancel-safe: an answer that nobody waits for any more is thrown away when it comes.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, RequestError> {
        let _permit = self.link.admit().await;
        self.submit(request, version)?.receive(timeout).await
    }

    /// Queues a request behind all that were submitted before it.
    pub(crate) fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, RequestError> {
        let frame = self.encode(request, version)?;
        let receiver = self.link.send(frame.0, Some(frame.1));
        let (connection, queued_at) = (self.clone(), Instant::now());
        Ok(Answer { connection, receiver, version, queued_at, request: PhantomData })
    }

    /// Queues a request that the broker will not answer; what is returned resolves once it has been
    /// handed to the operating system.
    pub(crate) fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, RequestError> {
        let frame = self.encode(request, version)?;
        let receiver = self.link.send(frame.0, None);
        let (connection, queued_at) = (self.clone(), Instant::now());
        Ok(Answer { connection, receiver, version, queued_at, request: PhantomData })
    }

    fn encode<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(thalweg_protocol::Frame, i32), RequestError> {
        let correlation_id = self.link.next_correlation_id();
        let client_id = Some(self.link.client_id().clone());
        let frame = encode_request(correlation_id, client_id, request, version)
            .map_err(|error| self.error::<R>(RequestFault::Unencodable(error)))?;
        Ok((frame, correlation_id))
    }

    fn error<R: Request>(&self, fault: RequestFault) -> RequestError {
        RequestError { broker: self.broker().clone(), api: R::API_KEY, fault }
    }
}

/// The answer to a submitted request, which will come.
#[derive(Debug)]
pub(crate) struct Answer<R> {
    connection: Connection,
    receiver: oneshot::Receiver<Result<Bytes, Disconnect>>,
    version: i16,
    queued_at: Instant,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Waits for the answer. When `timeout` is over the whole connection ends: answers come in
    /// order, so no later one could arrive either.
    pub(crate) async fn receive(self, timeout: Duration) -> Result<R::Response, RequestError> {
        let (connection, version) = (self.connection.clone(), self.version);
        let frame = self.frame(timeout).await?;
        decode::<R>(frame, version).map_err(|fault| {
            connection.link.end(Disconnect::Malformed(fault));
            connection.error::<R>(RequestFault::Malformed(fault))
        })
    }

    /// Waits until a request without an answer has been written.
    pub(crate) async fn written(self, timeout: Duration) -> Result<(), RequestError> {
        self.frame(timeout).await.map(drop)
    }

    async fn frame(self, timeout: Duration) -> Result<Bytes, RequestError> {
        let (connection, queued_at) = (self.connection.clone(), self.queued_at);
        let outcome = self.unobserved_frame(timeout).await;
        if let Some(observer) = connection.link.observer() {
            observer.on_request(&ObservedRequest {
                broker: connection.broker(),
                api: R::API_KEY,
                latency: queued_at.elapsed(),
                response_bytes: outcome.as_ref().map_or(0, Bytes::len),
                fault: outcome.as_ref().err().map(|error| &error.fault),
            });
        }
        outcome
    }

    async fn unobserved_frame(self, timeout: Duration) -> Result<Bytes, RequestError> {
        let Answer { connection, receiver, .. } = self;
        let Ok(outcome) = timeout_at(Instant::now() + timeout, receiver).await else {
            connection.link.end(Disconnect::TimedOut(timeout));
            return Err(connection.error::<R>(RequestFault::TimedOut(timeout)));
        };
        let outcome = outcome.unwrap_or_else(|_| Err(connection.link.reason()));
        outcome.map_err(|reason| connection.error::<R>(RequestFault::Disconnected(reason)))
    }
}

fn decode<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<R::Response, thalweg_protocol::DecodeError> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, R::API_KEY, version)?;
    <R::Response as Message>::decode(&mut reader, version)
}
