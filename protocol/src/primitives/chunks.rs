//! An encoded message as a list of buffers: small fields gathered in one allocation, record slices
//! standing between them untouched. The list is what a vectored write takes.

use bytes::{Bytes, BytesMut};

use super::sink::{Measure, Sink, is_worth_sharing};

/// A [`Sink`] that keeps what it is given.
#[derive(Debug, Default)]
pub struct Chunks {
    finished: Vec<Bytes>,
    /// The small fields since the last shared slice.
    open: BytesMut,
    finished_len: usize,
}

impl Chunks {
    /// Room for a message measured beforehand, so that writing it allocates once.
    pub fn for_measured(measure: &Measure) -> Self {
        Chunks { open: BytesMut::with_capacity(measure.copied()), ..Chunks::default() }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.finished_len + self.open.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that was written, in order. No buffer is empty.
    pub fn into_buffers(mut self) -> Vec<Bytes> {
        self.close();
        self.finished
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            // `split` leaves the spare capacity behind: every closed piece shares one allocation.
            let piece = self.open.split().freeze();
            self.push(piece);
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.finished_len += bytes.len();
        self.finished.push(bytes);
    }
}

impl Sink for Chunks {
    fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if is_worth_sharing(bytes) {
            self.close();
            self.push(bytes.clone());
        } else {
            self.put(bytes);
        }
    }
}
