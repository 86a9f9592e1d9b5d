//! Where connections to other brokers come from: the real network, or a simulated one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use socket2::TcpKeepalive;
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
            tune(&stream)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

/// What is sent and not acknowledged for so long ends a connection: behind a link that has come
/// back, TCP's own retries would be far apart.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);

/// Sets what connections between brokers need.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNACKNOWLEDGED_MAX))
}
