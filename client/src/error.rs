//! What can go wrong with a connection and with a single request. The errors of producing,
//! consuming and administration stand beside those operations and carry these as their cause.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::{ApiKey, DecodeError, EncodeError, ErrorCode};
use thiserror::Error;

pub use crate::address::AddressError;
use crate::address::BrokerAddress;
pub use crate::connection::{Disconnect, NoCommonVersion};

/// No connection to a broker could be made.
#[derive(Debug, Clone, Error)]
#[error("cannot connect to {broker}: {fault}")]
pub struct ConnectError {
    /// The broker.
    pub broker: BrokerAddress,
    /// What went wrong.
    #[source]
    pub fault: ConnectFault,
}

/// Why a connection could not be made.
#[derive(Debug, Clone, Error)]
pub enum ConnectFault {
    /// Name resolution or TCP failed.
    #[error("{0}; check that the broker runs and that its address can be reached from here")]
    Unreachable(#[source] Arc<io::Error>),
    /// It took too long.
    #[error("not done within {0:?} (connect_timeout)")]
    TimedOut(Duration),
    /// The connection ended while versions were being agreed upon.
    #[error("{0}; is it a Kafka listener, and one without TLS?")]
    Lost(#[source] Disconnect),
    /// The broker refused to tell its versions.
    #[error("the broker refused the handshake with {0}")]
    Refused(ErrorCode),
}

impl ConnectError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        !matches!(self.fault, ConnectFault::Refused(error) if !error.is_retriable())
    }
}

/// A request got no answer that could be used. Whether it was carried out is unknown unless
/// [`was_sent`](Self::was_sent) says that it never left.
#[derive(Debug, Clone, Error)]
#[error("{api} request to {broker}: {fault}")]
pub struct RequestError {
    /// The broker asked.
    pub broker: BrokerAddress,
    /// What was asked.
    pub api: ApiKey,
    /// What went wrong.
    #[source]
    pub fault: RequestFault,
}

/// Why a request got no answer.
#[derive(Debug, Clone, Error)]
pub enum RequestFault {
    /// There was no connection to send it over.
    #[error("not connected: {0}")]
    NotConnected(#[source] ConnectFault),
    /// The connection ended before the answer came.
    #[error(transparent)]
    Disconnected(Disconnect),
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The two sides have no version in common.
    #[error(transparent)]
    Unsupported(NoCommonVersion),
    /// The version that both sides speak cannot express the request.
    #[error("cannot be expressed: {0}")]
    Unencodable(EncodeError),
    /// The answer is not what the protocol says.
    #[error("malformed answer: {0}")]
    Malformed(DecodeError),
}

impl RequestError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match &self.fault {
            RequestFault::NotConnected(ConnectFault::Refused(error)) => error.is_retriable(),
            RequestFault::NotConnected(_)
            | RequestFault::Disconnected(_)
            | RequestFault::TimedOut(_) => true,
            RequestFault::Unsupported(_)
            | RequestFault::Unencodable(_)
            | RequestFault::Malformed(_) => false,
        }
    }

    /// Whether the broker may have received the request, and so may have carried it out.
    pub fn was_sent(&self) -> bool {
        !matches!(
            self.fault,
            RequestFault::NotConnected(_)
                | RequestFault::Unsupported(_)
                | RequestFault::Unencodable(_)
        )
    }
}

/// What a failed handshake step says about the connection.
impl From<RequestError> for ConnectFault {
    fn from(error: RequestError) -> Self {
        match error.fault {
            RequestFault::NotConnected(fault) => fault,
            RequestFault::Disconnected(reason) => ConnectFault::Lost(reason),
            RequestFault::TimedOut(limit) => ConnectFault::TimedOut(limit),
            RequestFault::Malformed(fault) => ConnectFault::Lost(Disconnect::Malformed(fault)),
            RequestFault::Unsupported(_) | RequestFault::Unencodable(_) => {
                ConnectFault::Refused(ErrorCode::UnsupportedVersion)
            }
        }
    }
}
