//! Where connections to other brokers come from: the real network, or a simulated one.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection between brokers. TLS fits in as one more kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Any connection between brokers.
pub type BoxedStream = Box<dyn Stream>;

/// The way to other brokers.
pub trait Network {
    /// Connects to `address`, which is `host:port`.
    fn connect(&self, address: String) -> Connecting;
}

/// A connection under way.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxedStream>>>>;

/// Plain TCP.
pub(crate) struct TcpNetwork;

impl Network for TcpNetwork {
    fn connect(&self, address: String) -> Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
