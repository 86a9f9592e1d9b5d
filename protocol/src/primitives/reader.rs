//! Takes a received frame apart. Byte strings come out as slices of the frame, uncopied.
//!
//! Invariants, whatever the bytes are: nothing panics; every length and count is checked against
//! the bytes that remain before it is used; and all values decoded from one frame together allocate
//! at most [`ALLOWANCE_PER_BYTE`] bytes for each byte of it, plus [`ALLOWANCE_MIN`].

use bytes::{Buf, Bytes};

use super::DecodeError;

/// The widest honest ratio of decoded to encoded size is about 14 (a Metadata request for topics
/// with two-letter names); a hostile frame of empty strings would otherwise reach 70.
const ALLOWANCE_PER_BYTE: usize = 16;

/// What even the smallest frame may allocate.
const ALLOWANCE_MIN: usize = 4096;

/// A cursor over one frame.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    /// Bytes of memory that this frame may still cause to be allocated.
    allowance: usize,
}

impl Reader {
    /// Reads `frame` from its beginning.
    pub fn new(frame: Bytes) -> Self {
        let allowance =
            frame.len().saturating_mul(ALLOWANCE_PER_BYTE).saturating_add(ALLOWANCE_MIN);
        Reader { bytes: frame, allowance }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes not yet read.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(array) = self.bytes.first_chunk::<N>().copied() else {
            return Err(self.truncated(N));
        };
        self.bytes.advance(N);
        Ok(array)
    }

    /// The next `len` bytes, as a slice of the frame.
    pub fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.bytes.len() {
            return Err(self.truncated(len));
        }
        Ok(self.bytes.split_to(len))
    }

    /// An unsigned LEB128 varint of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length of a string: a varint when compact, otherwise 16 bits. `None` is null.
    pub(super) fn string_len(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact {
            self.compact_len()
        } else {
            signed_len(i16::from_be_bytes(self.array()?).into())
        }
    }

    /// The length of a byte string or the count of an array: a varint when compact, otherwise
    /// 32 bits. `None` is null. Not yet checked against anything.
    pub(super) fn long_len(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact { self.compact_len() } else { signed_len(i32::from_be_bytes(self.array()?)) }
    }

    /// Refuses a count of elements of at least `element_len_min` bytes each that the rest of the
    /// frame cannot hold.
    pub(super) fn check_count(
        &self,
        count: usize,
        element_len_min: usize,
    ) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if count > remaining / element_len_min.max(1) {
            return Err(DecodeError::CountBeyondFrame { count, remaining });
        }
        Ok(())
    }

    /// Room for `count` values, taken from the frame's allowance.
    pub(super) fn allocate<T>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        let wanted = count.saturating_mul(size_of::<T>());
        let Some(left) = self.allowance.checked_sub(wanted) else {
            return Err(DecodeError::AllowanceSpent { wanted, left: self.allowance });
        };
        self.allowance = left;
        Ok(Vec::with_capacity(count))
    }

    /// Decodes the next `len` bytes with `decode`, which must read all of them.
    pub(crate) fn within<T>(
        &mut self,
        len: usize,
        decode: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let section = self.slice(len)?;
        let rest = std::mem::replace(&mut self.bytes, section);
        let value = decode(self)?;
        if !self.bytes.is_empty() {
            return Err(DecodeError::TrailingBytes(self.bytes.len()));
        }
        self.bytes = rest;
        Ok(value)
    }

    fn compact_len(&mut self) -> Result<Option<usize>, DecodeError> {
        // One above the length, so that zero can stand for null.
        let encoded = self.unsigned_varint()?;
        Ok(encoded.checked_sub(1).map(widen))
    }

    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated { needed, remaining: self.bytes.len() }
    }
}

fn signed_len(len: i32) -> Result<Option<usize>, DecodeError> {
    match u32::try_from(len) {
        Ok(len) => Ok(Some(widen(len))),
        Err(_) if len == -1 => Ok(None),
        Err(_) => Err(DecodeError::NegativeLength(len)),
    }
}

/// Lossless wherever the broker runs: `usize` has at least 32 bits.
pub(super) fn widen(len: u32) -> usize {
    const { assert!(usize::BITS >= u32::BITS) };
    len as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{Chunks, Sink};

    fn varint(bytes: &'static [u8]) -> Result<u32, DecodeError> {
        Reader::new(Bytes::from_static(bytes)).unsigned_varint()
    }

    #[test]
    fn varints_of_every_length_come_back() {
        let edges = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in edges.chain([u32::MAX]) {
            let mut chunks = Chunks::default();
            chunks.put_unsigned_varint(value);
            let len = chunks.len();
            assert_eq!(len, (38 - value.leading_zeros() as usize).max(7) / 7, "{value}");
            let [bytes] = <[Bytes; 1]>::try_from(chunks.into_buffers()).expect("one buffer");
            assert_eq!(Reader::new(bytes).unsigned_varint(), Ok(value));
        }
    }

    #[test]
    fn varints_above_32_bits_are_refused() {
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(DecodeError::VarintTooLong));
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(DecodeError::VarintTooLong));
        assert_eq!(varint(&[0x80, 0x80, 0]), Ok(0), "longer than needed is legal");
        assert_eq!(varint(&[0x80]), Err(DecodeError::Truncated { needed: 1, remaining: 0 }));
    }

    #[test]
    fn lengths_below_minus_one_are_refused() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe, 0xff, 0xff]));
        assert_eq!(reader.string_len(false), Ok(None));
        assert_eq!(reader.string_len(false), Err(DecodeError::NegativeLength(-2)));
        assert_eq!(reader.string_len(false), Ok(None));
        let mut reader = Reader::new(Bytes::from_static(&[0x80, 0, 0, 0]));
        assert_eq!(reader.long_len(false), Err(DecodeError::NegativeLength(i32::MIN)));
    }

    #[test]
    fn the_allowance_is_shared_by_the_whole_frame() {
        let mut reader = Reader::new(Bytes::from_static(&[0; 4]));
        let allowance = 4 * ALLOWANCE_PER_BYTE + ALLOWANCE_MIN;
        assert!(reader.allocate::<u8>(allowance - 8).is_ok());
        assert_eq!(
            reader.allocate::<u64>(2),
            Err(DecodeError::AllowanceSpent { wanted: 16, left: 8 })
        );
        assert!(reader.allocate::<u64>(1).is_ok());
        assert!(reader.allocate::<u8>(usize::MAX).is_err());
    }

    #[test]
    fn a_section_must_be_read_to_its_end() {
        let frame = Bytes::from_static(&[1, 2, 3, 4]);
        let mut reader = Reader::new(frame.clone());
        assert_eq!(reader.within(3, |section| section.array()), Ok([1, 2, 3]));
        assert_eq!(reader.array(), Ok([4]));
        let mut reader = Reader::new(frame.clone());
        let result = reader.within(3, |section| section.array::<1>());
        assert_eq!(result, Err(DecodeError::TrailingBytes(2)));
        let result = Reader::new(frame).within(5, |section| section.array::<5>());
        assert_eq!(result, Err(DecodeError::Truncated { needed: 5, remaining: 4 }));
    }
}
