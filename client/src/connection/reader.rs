//! The task that reads: answers in the order of their requests, each as one buffer of its own size.
//!
//! Small answers are cut from a buffer that several of them share. A large one gets a buffer that
//! it fills exactly, so that whoever keeps a slice of it keeps nothing else alive.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::Disconnect;
use super::link::Ledger;

/// Bytes asked of the socket at once while no large answer is awaited.
const READ_BYTES: usize = 16 * 1024;

const SIZE_LEN: usize = size_of::<i32>();

pub(super) async fn run(socket: OwnedReadHalf, response_bytes_max: usize, ledger: Arc<Ledger>) {
    let mut frames = Frames { socket, buffer: BytesMut::new(), response_bytes_max };
    let reason = loop {
        let outcome = match frames.next().await {
            Ok(frame) => deliver(frame, &ledger),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = outcome {
            break reason;
        }
    };
    ledger.end(reason);
}

fn deliver(frame: Bytes, ledger: &Ledger) -> Result<(), Disconnect> {
    let Some(id) = frame.first_chunk() else {
        return Err(Disconnect::OutOfOrder { answered: -1, expected: None });
    };
    ledger.answer(i32::from_be_bytes(*id), frame)
}

struct Frames {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    response_bytes_max: usize,
}

impl Frames {
    async fn next(&mut self) -> Result<Bytes, Disconnect> {
        let size = self.size().await?;
        if size > self.buffer.capacity() {
            return self.large(size).await;
        }
        while self.buffer.len() < size {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(size).freeze())
    }

    async fn size(&mut self) -> Result<usize, Disconnect> {
        while self.buffer.len() < SIZE_LEN {
            self.buffer.reserve(READ_BYTES);
            self.fill().await?;
        }
        let announced = self.buffer.get_i32();
        usize::try_from(announced)
            .ok()
            .filter(|size| *size <= self.response_bytes_max)
            .ok_or(Disconnect::AnswerTooLarge(announced, self.response_bytes_max))
    }

    async fn fill(&mut self) -> Result<(), Disconnect> {
        count(self.socket.read_buf(&mut self.buffer).await)
    }

    async fn large(&mut self, size: usize) -> Result<Bytes, Disconnect> {
        let mut whole = BytesMut::with_capacity(size);
        whole.put(self.buffer.split());
        while whole.len() < size {
            let missing = size - whole.len();
            count(self.socket.read_buf(&mut (&mut whole).limit(missing)).await)?;
        }
        Ok(whole.freeze())
    }
}

fn count(read: io::Result<usize>) -> Result<(), Disconnect> {
    match read {
        Ok(0) => Err(Disconnect::ClosedByBroker),
        Ok(_) => Ok(()),
        Err(error) => Err(Disconnect::Io(Arc::new(error))),
    }
}
