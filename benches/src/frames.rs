//! A blocking connection that carries frames: what a load costs here is not the server's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Bytes that a frame's size takes.
pub const SIZE_BYTES: usize = 4;

/// A connection to a server.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
}

impl Frames {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Frames> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Frames { stream })
    }

    /// A connection that a server accepted.
    pub fn accepted(stream: TcpStream) -> io::Result<Frames> {
        stream.set_nodelay(true)?;
        Ok(Frames { stream })
    }

    /// Sends frames that hold their own sizes already.
    pub fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames)
    }

    /// Sends a frame of two parts without joining them.
    pub fn send_parts(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < head.len() {
            let parts = [io::IoSlice::new(&head[sent..]), io::IoSlice::new(body)];
            sent += self.stream.write_vectored(&parts)?;
        }
        self.stream.write_all(&body[sent - head.len()..])
    }

    /// Reads the next frame into `frame`, without its size. False if the peer has ended.
    pub fn receive(&mut self, frame: &mut Vec<u8>) -> io::Result<bool> {
        let mut size = [0; SIZE_BYTES];
        match self.stream.read_exact(&mut size) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(io::Error::other)?;
        frame.resize(size, 0);
        self.stream.read_exact(frame)?;
        Ok(true)
    }
}
