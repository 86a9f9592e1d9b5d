//! Accepting connections: every shard has its own listening socket on the same address.
//!
//! The kernel spreads connections over the sockets (SO_REUSEPORT). Since that option would also
//! let a second broker of the same user share the port without either noticing, the address is
//! first claimed without it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use super::connection;
use crate::shard::Shard;

/// Connections the kernel holds for a shard that is busy.
const BACKLOG: i32 = 1024;
/// After a failed accept (usually: no file descriptors left), how long to leave the socket alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}; choose another address with --listen")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds one socket per shard and returns them with the port that was really bound.
pub(crate) fn bind(
    address: SocketAddr,
    shards: u16,
) -> Result<(Vec<StdListener>, SocketAddr), ListenError> {
    let listen = || -> io::Result<(Vec<StdListener>, SocketAddr)> {
        drop(socket(address, false)?);
        let first = socket(address, true)?;
        let bound = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..shards {
            sockets.push(socket(bound, true)?);
        }
        Ok((sockets, bound))
    };
    listen().map_err(|source| ListenError { address, source })
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections for `shard` until the broker shuts down.
pub(crate) async fn accept(listener: StdListener, shard: Rc<Shard>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut shutdown = shard.node.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stopping| *stopping) => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, %error, "TCP_NODELAY");
                }
                let (read, write) = stream.into_split();
                admit(read, write, peer, &shard);
            }
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Begins to serve a connection, unless there are too many.
pub(crate) fn admit(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
    shard: &Rc<Shard>,
) {
    let Some(open) = shard.node.connections.admit() else {
        shard.env.metrics.on_connection_refused();
        warn!(%peer, "too many connections (connections_max): closing a new one");
        return;
    };
    let shard = Rc::clone(shard);
    tokio::task::spawn_local(async move {
        let metrics = shard.env.metrics.clone();
        metrics.on_connection_accepted();
        let node = Arc::clone(&shard.node);
        let label = match connection::serve(read, write, peer, shard).await {
            Ok(()) => "client",
            Err(reason) => {
                debug!(%peer, %reason, "connection closed");
                if reason.is_no_request() {
                    node.strangers.on_client(peer, &reason.to_string());
                }
                reason.label()
            }
        };
        metrics.on_connection_closed(label);
        drop(open);
    });
}
