//! From a frame to the handler of its API, and from its response to the answer.
//!
//! A request is decoded and started here; how its outcome is awaited is the connection's business.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use thalweg_protocol::messages::ApiVersionsResponse;
use thalweg_protocol::primitives::Reader;
use thalweg_protocol::{
    ApiKey, Frame, HeaderError, Message, Request, RequestHeader, encode_response,
};
use tokio::time::Instant;

use super::connection::{CloseReason, Connection};
use crate::admin::metrics::Metrics;
use crate::handlers;

/// What becomes of a request.
pub(crate) enum Answer {
    /// A response, encoded.
    Frame(Frame),
    /// Nothing is sent (`acks=0`).
    Nothing,
    /// The connection ends.
    Close(CloseReason),
}

/// A started request.
pub(crate) struct Pending {
    answer: LocalBoxFuture<'static, Answer>,
    api_key: ApiKey,
    started: Instant,
    metrics: Metrics,
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = std::task::ready!(self.answer.poll_unpin(context));
        self.metrics.on_answered(self.api_key.into(), self.started.elapsed());
        Poll::Ready(answer)
    }
}

/// A request on its way to a handler.
pub(crate) struct Incoming {
    pub(crate) connection: Rc<Connection>,
    pub(crate) header: RequestHeader,
    body: Bytes,
}

impl Incoming {
    /// The request's version.
    pub(crate) fn version(&self) -> i16 {
        self.header.api_version
    }

    /// Decodes the body. What follows it is ignored, as Apache Kafka does: librdkafka sends a few
    /// bytes too many with some versions of Metadata.
    pub(crate) fn decode<R: Request>(&mut self) -> Result<R, CloseReason> {
        let mut reader = Reader::new(std::mem::take(&mut self.body));
        R::decode(&mut reader, self.header.api_version).map_err(|error| {
            CloseReason::Malformed(format!("{} v{}: {error}", R::NAME, self.header.api_version))
        })
    }

    /// Encodes the response of this request.
    pub(crate) fn answer<M: Message>(&self, response: &M) -> Answer {
        match encode_response(self.header.correlation_id, response, self.header.api_version) {
            Ok(frame) => Answer::Frame(frame),
            Err(error) => {
                tracing::error!(api = %self.header.api_key, version = self.header.api_version, %error, "a response cannot be encoded");
                Answer::Close(CloseReason::Unsupported(error.to_string()))
            }
        }
    }
}

/// Starts the request in `frame`.
pub(crate) async fn start(
    connection: &Rc<Connection>,
    frame: Bytes,
) -> Result<Pending, CloseReason> {
    let started = Instant::now();
    let mut reader = Reader::new(frame);
    let metrics = connection.shard.env.metrics.clone();
    let pending = |api_key, answer| Pending { answer, api_key, started, metrics };
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(HeaderError::UnsupportedVersion {
            api_key: ApiKey::ApiVersions,
            correlation_id,
            ..
        }) => {
            let answer = handlers::api_versions::unsupported_version(correlation_id);
            return Ok(pending(ApiKey::ApiVersions, std::future::ready(answer).boxed_local()));
        }
        Err(error @ HeaderError::Malformed(_)) => {
            return Err(CloseReason::Malformed(error.to_string()));
        }
        Err(error) => return Err(CloseReason::Unsupported(error.to_string())),
    };
    let api_key = header.api_key;
    let body = reader.into_rest();
    let incoming = Incoming { connection: Rc::clone(connection), header, body };
    let answer = handlers::start(incoming).await?;
    Ok(pending(api_key, answer))
}

/// The answer to an ApiVersions request of a version we do not speak: encoded as v0 (KIP-511).
pub(crate) fn encode_v0(correlation_id: i32, response: &ApiVersionsResponse) -> Answer {
    match encode_response(correlation_id, response, 0) {
        Ok(frame) => Answer::Frame(frame),
        Err(error) => Answer::Close(CloseReason::Unsupported(error.to_string())),
    }
}
