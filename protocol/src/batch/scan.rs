//! The broker's check of a produced batch: every record is well-formed and has the offset it should
//! have, found out without building records. What else a topic demands of its records is up to the
//! caller, who sees each one pass.

use super::{BatchView, RecordError, RecordFault, RecordRef, RecordRefs};

/// What a scan found out about a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The largest timestamp of all records, −1 for a batch without any.
    pub max_timestamp: i64,
    /// The offset of the first record that has it, −1 for a batch without any.
    pub offset_of_max_timestamp: i64,
    /// Bytes of the body after decompression.
    pub body_len: usize,
}

impl BatchView {
    /// Walks all records of a batch as a producer sends it: offsets count up from the base offset
    /// without a gap. Allocates nothing but the decompressed body, which is refused beyond
    /// `body_bytes_max`.
    ///
    /// The header is checked apart from this, by [`super::BatchHeader::check_produced`].
    ///
    /// `observe` sees the index and the fields of each record; the index is what a produce response
    /// names in its record errors.
    pub fn scan(
        &self,
        body_bytes_max: usize,
        mut observe: impl FnMut(i32, &RecordRef<'_>),
    ) -> Result<Scan, RecordError> {
        let body = self.decompress(body_bytes_max)?;
        let mut scan =
            Scan { max_timestamp: -1, offset_of_max_timestamp: -1, body_len: body.len() };
        let base_offset = self.header().base_offset;
        for (index, record) in (0..).zip(RecordRefs::new(self.header(), &body)) {
            let record = record?;
            let delta = record.offset - base_offset;
            if delta != i64::from(index) {
                let delta = i32::try_from(delta).unwrap_or(i32::MAX);
                let fault = RecordFault::BadOffsetDelta(delta);
                return Err(RecordError::Malformed { index, fault });
            }
            if record.timestamp > scan.max_timestamp {
                scan.max_timestamp = record.timestamp;
                scan.offset_of_max_timestamp = record.offset;
            }
            observe(index, &record);
        }
        Ok(scan)
    }
}
