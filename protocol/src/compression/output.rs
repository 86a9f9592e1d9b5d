//! The buffer that decoders write into: it grows with the content, and never beyond its cap.

use super::CompressionError;

/// Decompressed bytes so far, and a promise not to hold more than `cap` of them.
pub(super) struct Output {
    /// Content up to `filled`, zeroes after it.
    bytes: Vec<u8>,
    filled: usize,
    cap: usize,
}

impl Output {
    pub(super) fn new(cap: usize) -> Self {
        Self { bytes: Vec::new(), filled: 0, cap }
    }

    /// The content so far, and room for the next `wanted` bytes: for fewer only where the cap is
    /// near.
    pub(super) fn split(&mut self, wanted: usize) -> (&[u8], &mut [u8]) {
        let end = self.filled.saturating_add(wanted).min(self.cap);
        if self.bytes.len() < end {
            if self.bytes.capacity() < end {
                let doubled = self.bytes.capacity().saturating_mul(2).min(self.cap);
                self.bytes.reserve_exact(end.max(doubled) - self.bytes.len());
            }
            self.bytes.resize(end, 0);
        }
        let (content, room) = self.bytes.split_at_mut(self.filled);
        (content, room.get_mut(..end - content.len()).unwrap_or_default())
    }

    /// Declares that `count` bytes of the room given last are content now.
    pub(super) fn advance(&mut self, count: usize) {
        self.filled += count;
        assert!(self.filled <= self.bytes.len(), "only room that was given can be filled");
    }

    /// Appends bytes that need no decoding.
    pub(super) fn extend(&mut self, content: &[u8]) -> Result<(), CompressionError> {
        let (_, room) = self.split(content.len());
        if room.len() < content.len() {
            return Err(self.too_large());
        }
        room.copy_from_slice(content);
        self.advance(content.len());
        Ok(())
    }

    /// Bytes that may still follow.
    pub(super) fn remaining(&self) -> usize {
        self.cap - self.filled
    }

    pub(super) fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge { cap: self.cap }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}
