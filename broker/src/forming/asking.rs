//! Asking the other brokers whether they belong to a cluster, all at once.

use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::net::TcpStream;

use super::Newcomer;
use crate::config::HostPort;
use crate::node_rpc::handshake::{self, HandshakeError, Hello, Welcome};

/// How long a connection may take to come about: a machine that is off answers nothing at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a broker did not say.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// No connection came about.
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    /// Nor did an error.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    /// It was reached, and that was all.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// What one of the others said.
pub(super) type Answer = (HostPort, Result<Welcome, AskError>);

/// The answers of everybody that `own` was told of.
pub(super) async fn ask_all(own: &Newcomer) -> Vec<Answer> {
    let hello = own.hello();
    let asked =
        own.others.iter().map(async |address| (address.clone(), ask(address, &hello).await));
    join_all(asked).await
}

async fn ask(address: &HostPort, hello: &Hello) -> Result<Welcome, AskError> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let mut stream = connected.map_err(|_elapsed| AskError::TimedOut)??;
    Ok(handshake::greet(&mut stream, hello).await?)
}
