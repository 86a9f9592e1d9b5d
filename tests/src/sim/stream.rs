//! One connection of the simulated network, as both of its ends see it.
//!
//! Each direction is a queue of packets with the times at which they arrive. A reader waits for
//! the first of them, and, while the way is cut, for the network to be mended.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::network::{Host, Net};

/// Bytes that may be under way before a writer has to wait.
const WINDOW_BYTES: usize = 1 << 20;

/// Both directions of a connection.
#[derive(Default)]
pub(super) struct Connection {
    ways: [Way; 2],
    broken: bool,
    /// A host lost its power and has not said so.
    severed: Option<Host>,
    /// That host is back and will reset whatever comes.
    refused: bool,
}

/// One direction.
#[derive(Default)]
struct Way {
    from: Host,
    to: Host,
    packets: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    last_arrival: Option<Instant>,
    /// When the reader learns that no more comes.
    closed_at: Option<Instant>,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    pub(super) fn joins(&self, a: Host, b: Host) -> bool {
        let ends = (self.ways[0].from, self.ways[0].to);
        ends == (a, b) || ends == (b, a)
    }

    fn has(&self, host: Host) -> bool {
        self.ways[0].from == host || self.ways[0].to == host
    }

    pub(super) fn wake_readers(&mut self) {
        self.ways.iter_mut().filter_map(|way| way.reader.take()).for_each(Waker::wake);
    }

    /// Both ends find out at once.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        self.wake_readers();
        self.ways.iter_mut().filter_map(|way| way.writer.take()).for_each(Waker::wake);
    }

    pub(super) fn sever(&mut self, host: Host) {
        if self.has(host) {
            self.severed = Some(host);
            for way in &mut self.ways {
                way.packets.clear();
            }
        }
    }

    pub(super) fn refuse(&mut self, host: Host) {
        if self.severed == Some(host) {
            self.refused = true;
            if self.ways.iter().any(|way| way.to == host && way.bytes > 0) {
                self.break_off();
            }
        }
    }
}

/// One end of a connection.
pub struct SimStream {
    net: Rc<Net>,
    connection: Rc<RefCell<Connection>>,
    /// The way this end writes; it reads the other one.
    writes: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl SimStream {
    /// The ends of a new connection: the caller's and the listener's.
    pub(super) fn pair(net: &Rc<Net>, from: Host, to: Host) -> (SimStream, SimStream) {
        let there = Way { from, to, ..Way::default() };
        let back = Way { from: to, to: from, ..Way::default() };
        let connection = Connection { ways: [there, back], ..Connection::default() };
        let connection = Rc::new(RefCell::new(connection));
        let end = |writes| SimStream {
            net: Rc::clone(net),
            connection: Rc::clone(&connection),
            writes,
            sleep: None,
        };
        (end(0), end(1))
    }

    pub(super) fn connection(&self) -> &Rc<RefCell<Connection>> {
        &self.connection
    }

    fn poll_until(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let mut sleep = match self.sleep.take() {
            Some(sleep) if sleep.deadline() == at => sleep,
            _ => Box::pin(sleep_until(at)),
        };
        let polled = sleep.as_mut().poll(context);
        if polled.is_pending() {
            self.sleep = Some(sleep);
        }
        polled
    }

    /// When there is something to read; `None` for a broken connection.
    fn next_arrival(&self, context: &Context<'_>) -> Poll<Option<Instant>> {
        let mut connection = self.connection.borrow_mut();
        if connection.broken {
            return Poll::Ready(None);
        }
        let silent = connection.severed.is_some();
        let way = &mut connection.ways[1 - self.writes];
        let next = way.packets.front().map(|(at, _)| *at).or(way.closed_at);
        // Also while it sleeps: the connection may break before that.
        way.reader = Some(context.waker().clone());
        if silent || self.net.is_cut(way.from, way.to) {
            return Poll::Pending;
        }
        match next {
            Some(at) => Poll::Ready(Some(at)),
            None => Poll::Pending,
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(at) = ready!(self.next_arrival(context)) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if at > Instant::now() {
            ready!(self.poll_until(at, context));
        }
        let mut connection = self.connection.borrow_mut();
        let way = &mut connection.ways[1 - self.writes];
        let Some((_, packet)) = way.packets.front_mut() else { return Poll::Ready(Ok(())) };
        let taken = packet.len().min(buffer.remaining());
        buffer.put_slice(&packet[..taken]);
        self.net.trace.arrived(way.from, way.to, &packet[..taken]);
        packet.advance(taken);
        way.bytes -= taken;
        if packet.is_empty() {
            way.packets.pop_front();
        }
        if let Some(writer) = way.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut connection = self.connection.borrow_mut();
        if connection.refused {
            connection.break_off();
        }
        let silent = connection.severed.is_some();
        let broken = connection.broken;
        let way = &mut connection.ways[self.writes];
        if broken || way.reader_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if way.bytes >= WINDOW_BYTES {
            way.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(WINDOW_BYTES - way.bytes);
        way.bytes += taken;
        if !silent {
            let arrival = Instant::now() + self.net.latency(way.from, way.to);
            let arrival = way.last_arrival.map_or(arrival, |last| last.max(arrival));
            way.last_arrival = Some(arrival);
            way.packets.push_back((arrival, Bytes::copy_from_slice(&bytes[..taken])));
            if let Some(reader) = way.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl SimStream {
    fn close(&self) {
        let mut connection = self.connection.borrow_mut();
        if connection.severed.is_some() {
            return;
        }
        let way = &mut connection.ways[self.writes];
        if way.closed_at.is_none() {
            let arrival = Instant::now() + self.net.latency(way.from, way.to);
            way.closed_at = Some(way.last_arrival.map_or(arrival, |last| last.max(arrival)));
        }
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.close();
        let mut connection = self.connection.borrow_mut();
        if connection.severed.is_none() {
            let way = &mut connection.ways[1 - self.writes];
            way.reader_gone = true;
            if let Some(writer) = way.writer.take() {
                writer.wake();
            }
        }
    }
}
