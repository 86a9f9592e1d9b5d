//! One connection on which a test sends and receives whatever it likes, blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::{Message, Reader, Request, ResponseHeader, encode_request};

use crate::wait::PATIENCE;

/// A connection to a broker.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    last_correlation_id: i32,
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Wire> {
        Self::connect_within(address, PATIENCE)
    }

    /// Connects, or gives up after `limit`.
    pub fn connect_within(address: SocketAddr, limit: Duration) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, last_correlation_id: 0 })
    }

    /// The socket, for what the other methods do not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends `bytes` as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame of any content: its size, then `content`.
    pub fn send_frame(&mut self, content: &[u8]) -> io::Result<()> {
        let size = i32::try_from(content.len()).expect("a test's frame is small");
        self.send_raw(&[&size.to_be_bytes(), content].concat())
    }

    /// Sends a request and returns its correlation id.
    ///
    /// # Panics
    /// If `version` has no place for a field that is set.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> io::Result<i32> {
        self.last_correlation_id += 1;
        let id = self.last_correlation_id;
        let frame = encode_request(id, Some("thalweg-tests".into()), request, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", R::NAME));
        self.send_raw(&frame.into_bytes())?;
        Ok(id)
    }

    /// The next frame without its size, or the error that ended the connection.
    pub fn receive_frame(&mut self) -> io::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative");
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// The response to the request that `send` gave `correlation_id`.
    ///
    /// # Panics
    /// If what comes is another response, is malformed, or is followed by more bytes.
    pub fn receive<R: Request>(
        &mut self,
        correlation_id: i32,
        version: i16,
    ) -> io::Result<R::Response> {
        let mut reader = Reader::new(self.receive_frame()?);
        let name = R::NAME;
        let header = ResponseHeader::decode(&mut reader, R::API_KEY, version)
            .unwrap_or_else(|error| panic!("header of {name} v{version}: {error}"));
        assert_eq!(header.correlation_id, correlation_id, "{name} v{version}");
        let response = R::Response::decode(&mut reader, version)
            .unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        assert!(reader.is_empty(), "{name} v{version}: {} bytes too many", reader.remaining());
        Ok(response)
    }

    /// Sends a request and waits for its response.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        let correlation_id = self.send(request, version)?;
        self.receive::<R>(correlation_id, version)
    }

    /// Waits until the broker closes the connection.
    ///
    /// # Panics
    /// If it answers instead, or does neither in time.
    pub fn expect_close(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("the broker answered instead of closing the connection"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the broker did not close the connection: {error}"),
        }
    }
}
