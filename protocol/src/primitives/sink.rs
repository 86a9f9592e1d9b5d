//! Where encoding writes to. A value is written by one piece of code against [`Sink`], run once
//! against [`Measure`] to learn the exact size and once against [`Chunks`](super::Chunks) to write
//! it: so the two cannot disagree.

use bytes::Bytes;

use super::EncodeError;

/// Receives the bytes of a value in order.
pub trait Sink {
    /// Appends a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Appends `bytes`, by reference where that pays.
    fn put_shared(&mut self, bytes: &Bytes);

    /// Appends an unsigned LEB128 varint.
    fn put_unsigned_varint(&mut self, mut value: u32) {
        let mut encoded = [0u8; 5];
        let mut len = 0;
        for byte in &mut encoded {
            *byte = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            len += 1;
            if value == 0 {
                break;
            }
            *byte |= 0x80;
        }
        self.put(encoded.get(..len).unwrap_or_default());
    }

    /// Appends the length of a string: see [`Reader::string_len`](super::Reader).
    fn put_string_len(&mut self, len: Option<usize>, compact: bool) -> Result<(), EncodeError> {
        // The compact form could hold more, but Kafka's own limit is 16 bits in both forms.
        let Some(short) = len.map_or(Some(-1), |len| i16::try_from(len).ok()) else {
            return Err(EncodeError::TooLong(len.unwrap_or_default()));
        };
        if compact {
            self.put_unsigned_varint(u32::from((short + 1).cast_unsigned()));
        } else {
            self.put(&short.to_be_bytes());
        }
        Ok(())
    }

    /// Appends the length of a byte string or the count of an array.
    fn put_long_len(&mut self, len: Option<usize>, compact: bool) -> Result<(), EncodeError> {
        let Some(long) = len.map_or(Some(-1), |len| i32::try_from(len).ok()) else {
            return Err(EncodeError::TooLong(len.unwrap_or_default()));
        };
        if compact {
            self.put_unsigned_varint(long.cast_unsigned().wrapping_add(1));
        } else {
            self.put(&long.to_be_bytes());
        }
        Ok(())
    }
}

/// A [`Sink`] that only counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Measure {
    copied: usize,
    shared: usize,
}

/// Shared slices shorter than this are copied all the same: one more element of an iovec costs the
/// kernel more than so few bytes cost us.
const SHARED_LEN_MIN: usize = 256;

pub(super) fn is_worth_sharing(bytes: &Bytes) -> bool {
    bytes.len() >= SHARED_LEN_MIN
}

impl Measure {
    /// Bytes that are written in all.
    pub fn total(&self) -> usize {
        self.copied + self.shared
    }

    /// Bytes that [`Chunks`](super::Chunks) must find room for; the others are referred to.
    pub fn copied(&self) -> usize {
        self.copied
    }
}

impl Sink for Measure {
    fn put(&mut self, bytes: &[u8]) {
        self.copied += bytes.len();
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if is_worth_sharing(bytes) {
            self.shared += bytes.len();
        } else {
            self.copied += bytes.len();
        }
    }
}
