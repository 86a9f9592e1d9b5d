//! The task that writes: frames in the order they were queued, as many in one system call as there
//! are.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::Disconnect;
use super::link::{Ledger, Outgoing, Reply};

/// Bytes gathered before they are written, so that the queue does not hide behind one long write.
const GATHERED_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn run(
    mut socket: OwnedWriteHalf,
    mut inbox: mpsc::UnboundedReceiver<Outgoing>,
    ledger: Arc<Ledger>,
) {
    let mut gathered = Gathered::default();
    let mut unanswered: Vec<Reply> = Vec::new();
    while let Some(first) = inbox.recv().await {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            gathered.push(outgoing.frame.into_buffers());
            // Registered before it is written: the answer may be faster than the next line.
            match outgoing.correlation_id {
                Some(id) => ledger.expect(id, outgoing.reply),
                None => unanswered.push(outgoing.reply),
            }
            let full = gathered.remaining() >= GATHERED_BYTES_MAX;
            next = if full { None } else { inbox.try_recv().ok() };
        }
        if let Err(error) = socket.write_all_buf(&mut gathered).await {
            ledger.end(Disconnect::Io(Arc::new(error)));
            return;
        }
        for reply in unanswered.drain(..) {
            let _ = reply.send(Ok(Bytes::new()));
        }
    }
}

/// The buffers of several frames, back to back.
#[derive(Default)]
struct Gathered {
    buffers: VecDeque<Bytes>,
    len: usize,
}

impl Gathered {
    fn push(&mut self, buffers: Vec<Bytes>) {
        self.len += buffers.iter().map(Bytes::len).sum::<usize>();
        self.buffers.extend(buffers);
    }
}

impl Buf for Gathered {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.buffers.front().map_or(&[], |buffer| buffer)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.buffers);
        filled.map(|(slice, buffer)| *slice = IoSlice::new(buffer)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(front) = self.buffers.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.buffers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_frames_are_one_run_of_bytes() {
        let mut gathered = Gathered::default();
        gathered.push(vec![Bytes::from_static(b"abc"), Bytes::from_static(b"d")]);
        gathered.push(vec![Bytes::from_static(b"efgh")]);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(gathered.chunks_vectored(&mut slices), 3);
        assert_eq!(gathered.remaining(), 8);
        gathered.advance(4);
        assert_eq!(gathered.chunk(), b"efgh");
        gathered.advance(3);
        assert_eq!(gathered.copy_to_bytes(1), Bytes::from_static(b"h"));
        assert!(!gathered.has_remaining());
    }
}
