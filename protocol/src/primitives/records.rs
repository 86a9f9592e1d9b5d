//! The `records` field of Produce and Fetch: record batches, back to back, never looked into here.

use bytes::{Bytes, BytesMut};

/// Encoded record batches as the slices they happen to lie in.
///
/// Decoding yields one slice. A fetch answer may be gathered from several places (the log's tail in
/// memory, a mapped segment) and is sent from there without being joined.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<Bytes>);

impl Records {
    /// No records: what a partition with nothing to return sends (librdkafka rejects null).
    pub const fn empty() -> Self {
        Records(Vec::new())
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// The slices, in order.
    pub fn slices(&self) -> &[Bytes] {
        &self.0
    }

    /// Appends a slice.
    pub fn push(&mut self, slice: Bytes) {
        self.0.push(slice);
    }

    /// The slices, in order.
    pub fn into_slices(self) -> Vec<Bytes> {
        self.0
    }

    /// All bytes in one piece: a copy only where there is more than one slice.
    pub fn into_bytes(mut self) -> Bytes {
        if self.0.len() > 1 {
            let mut joined = BytesMut::with_capacity(self.len());
            self.0.iter().for_each(|slice| joined.extend_from_slice(slice));
            return joined.freeze();
        }
        self.0.pop().unwrap_or_default()
    }
}

/// Where the slices are cut makes no difference.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl Eq for Records {}

impl From<Bytes> for Records {
    fn from(slice: Bytes) -> Self {
        Records(vec![slice])
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(slices: Vec<Bytes>) -> Self {
        Records(slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slice_becomes_bytes_without_a_copy_and_more_are_joined() {
        let slice = Bytes::from_static(b"batch");
        assert_eq!(Records::from(slice.clone()).into_bytes().as_ptr(), slice.as_ptr());
        let mut records = Records::from(vec![slice.slice(..2), Bytes::new()]);
        records.push(slice.slice(2..));
        assert_eq!(records.len(), 5);
        assert_eq!(records, Records::from(slice));
        assert_eq!(records.into_bytes(), "batch");
        assert!(Records::empty().into_bytes().is_empty());
        assert!(Records::from(Bytes::new()).is_empty());
    }

    #[test]
    fn records_of_other_bytes_differ() {
        let records = Records::from(Bytes::from_static(b"abc"));
        assert_ne!(records, Records::from(Bytes::from_static(b"abd")));
        assert_ne!(records, Records::from(Bytes::from_static(b"ab")));
    }
}
