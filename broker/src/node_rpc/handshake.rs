//! The beginning of every connection between brokers: who is calling and what for.
//!
//! The caller sends HELLO, the other side answers WELCOME or REFUSED with a reason for people. Each
//! is a frame whose payload is JSON, so that a newer broker may add fields and be understood by an
//! older one. The caller uses [`greet`]; the other side [`receive`] and then [`welcome`] or
//! [`refuse`]. Each of them ends within [`HANDSHAKE_TIMEOUT`], whatever the peer does.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub use thalweg_storage::data_dir::Founder;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

use super::frame::{self, FrameError};

/// The version of everything that follows the handshake.
pub const VERSION: u16 = 2;

/// How long each half of the handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest frame of a handshake: nobody has been asked who they are yet.
pub const HANDSHAKE_BYTES_MAX: usize = 64 << 10;

/// Kinds of frames. Those below 16 belong to the handshake.
pub mod kind {
    /// A [`Hello`](super::Hello).
    pub const HELLO: u8 = 1;
    /// A [`Welcome`](super::Welcome).
    pub const WELCOME: u8 = 2;
    /// A [`Refused`](super::Refused).
    pub const REFUSED: u8 = 3;
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To learn which cluster the other belongs to, and no more.
    Form,
    /// Raft messages between this shard of both brokers and others.
    Raft {
        /// The caller's shard.
        shard: u16,
    },
    /// Sending segments to a replica that is far behind.
    Transfer,
}

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version it speaks.
    pub version: u16,
    /// What it wants.
    pub purpose: Purpose,
    /// The cluster it belongs to, if it does already.
    pub cluster_id: Option<String>,
    /// Its id.
    pub node: i32,
    /// Its data directory's identity.
    pub disk: Uuid,
    /// Where other brokers reach it, as `host:port`.
    pub address: String,
}

/// The called, who is willing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version it speaks.
    pub version: u16,
    /// Its id.
    pub node: i32,
    /// Its data directory's identity.
    pub disk: Uuid,
    /// The cluster it belongs to, if it does already.
    pub cluster_id: Option<String>,
    /// Who founded that cluster.
    pub voters: Vec<Founder>,
    /// Whom it waits for, if it belongs to no cluster and is to found one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<String>,
}

/// The called, who is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for people.
    pub reason: String,
}

/// Read before the rest: another version may have changed everything else.
#[derive(Deserialize)]
struct VersionOnly {
    version: u16,
}

/// Why a handshake came to nothing.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The other refuses.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer speaks another version.
    #[error("the peer speaks version {0} of the node protocol, this broker version {VERSION}")]
    OtherVersion(u16),
    /// The peer sent something else where a handshake's frame belongs.
    #[error("a frame of kind {0} in a handshake")]
    UnexpectedKind(u8),
    /// The frame holds something else than its kind says.
    #[error("a handshake that cannot be understood: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Nothing, or not enough, came in time.
    #[error("no answer within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    /// No frame came.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl HandshakeError {
    /// Whether what came was not the beginning of a broker's connection at all.
    pub fn is_strangers(&self) -> bool {
        match self {
            Self::Frame(error) => matches!(
                error,
                FrameError::TooLong { .. } | FrameError::TooShort(_) | FrameError::BadCrc
            ),
            Self::UnexpectedKind(_) | Self::Unreadable(_) => true,
            Self::Refused(_) | Self::OtherVersion(_) | Self::TimedOut => false,
        }
    }

    /// Whether a broker came whose program is too different.
    pub fn is_other_version(&self) -> bool {
        matches!(self, Self::OtherVersion(_))
    }
}

/// Says `hello` and waits to be welcomed.
pub async fn greet<S>(stream: &mut S, hello: &Hello) -> Result<Welcome, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    in_time(async {
        send(stream, kind::HELLO, hello).await?;
        let (kind, payload) = frame::read(stream, HANDSHAKE_BYTES_MAX).await?;
        match kind {
            kind::WELCOME => versioned(&payload),
            kind::REFUSED => {
                let Refused { reason } = serde_json::from_slice(&payload)?;
                Err(HandshakeError::Refused(reason))
            }
            other => Err(HandshakeError::UnexpectedKind(other)),
        }
    })
    .await
}

/// Waits for the caller to say who it is. A broker of another version is refused here; every other
/// error means that the connection is to be closed without an answer.
pub async fn receive<S>(stream: &mut S) -> Result<Hello, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let hello = in_time(async {
        match frame::read(stream, HANDSHAKE_BYTES_MAX).await? {
            (kind::HELLO, payload) => versioned(&payload),
            (other, _) => Err(HandshakeError::UnexpectedKind(other)),
        }
    })
    .await;
    if let Err(HandshakeError::OtherVersion(theirs)) = hello {
        let reason = format!(
            "this broker speaks version {VERSION} of the node protocol, the caller version {theirs}"
        );
        refuse(stream, &reason).await?;
    }
    hello
}

/// Answers a caller that may stay.
pub async fn welcome<S>(stream: &mut S, welcome: &Welcome) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    in_time(send(stream, kind::WELCOME, welcome)).await
}

/// Answers a caller that may not; the caller's operator will read `reason`.
pub async fn refuse<S>(stream: &mut S, reason: &str) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    in_time(send(stream, kind::REFUSED, &Refused { reason: reason.to_owned() })).await
}

async fn in_time<T>(
    step: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, step).await.unwrap_or(Err(HandshakeError::TimedOut))
}

async fn send<S, M>(stream: &mut S, kind: u8, message: &M) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin + ?Sized,
    M: Serialize,
{
    let payload = serde_json::to_vec(message)?;
    Ok(frame::write(stream, kind, &[payload.into()]).await?)
}

fn versioned<M: DeserializeOwned>(payload: &[u8]) -> Result<M, HandshakeError> {
    let VersionOnly { version } = serde_json::from_slice(payload)?;
    if version != VERSION {
        return Err(HandshakeError::OtherVersion(version));
    }
    Ok(serde_json::from_slice(payload)?)
}

#[cfg(test)]
mod tests;
