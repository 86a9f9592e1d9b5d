//! What the leader changes in a batch before it appends it: some header fields, never the body.
//!
//! Base offset and leader epoch lie outside the CRC and cost nothing. A new timestamp lies inside;
//! its CRC is derived from the old one (see `crc.rs`), so the body is neither read nor copied, and
//! a body that did not match its CRC before the patch does not match it afterwards.

use super::{BatchHeader, CRC_START, HEADER_LEN, TimestampType, crc::crc32c_replace_prefix};

/// New values for header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderPatch {
    /// The offset that the log gives the first record.
    pub base_offset: i64,
    /// The epoch of the leader that appends.
    pub leader_epoch: i32,
    /// The time of appending in ms, on topics with `message.timestamp.type=LogAppendTime`: every
    /// record of the batch then has it, whatever its own delta says.
    pub log_append_time_ms: Option<i64>,
}

impl HeaderPatch {
    /// The header to write in front of the untouched body.
    pub fn apply(&self, original: &BatchHeader) -> BatchHeader {
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            partition_leader_epoch: self.leader_epoch,
            ..*original
        };
        if let Some(now_ms) = self.log_append_time_ms {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = now_ms;
            header.derive_crc(original);
        }
        header
    }
}

impl BatchHeader {
    /// Sets the CRC to that of this header and the body of `original`, from which this header was
    /// made by changing other fields than the length.
    pub fn derive_crc(&mut self, original: &Self) {
        assert_eq!(self.batch_length, original.batch_length, "the body stays as it is");
        let body_len = original.size().saturating_sub(HEADER_LEN);
        let (old, new) = (original.write(), self.write());
        self.crc =
            crc32c_replace_prefix(original.crc, &old[CRC_START..], &new[CRC_START..], body_len);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{Attributes, BatchError, BatchView, crc32c};

    fn batch(body: &[u8]) -> BatchView {
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length: i32::try_from(49 + body.len()).unwrap(),
            partition_leader_epoch: -1,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 2,
            base_timestamp: 1_000,
            max_timestamp: 1_002,
            producer_id: 7,
            producer_epoch: 1,
            base_sequence: 12,
            record_count: 3,
        };
        header.crc = crc32c(&[&header.write()[CRC_START..], body].concat());
        BatchView::parse(join(&header, body)).unwrap()
    }

    fn join(header: &BatchHeader, body: &[u8]) -> Bytes {
        [&header.write()[..], body].concat().into()
    }

    proptest! {
        #[test]
        fn a_patched_header_fits_the_untouched_body(
            body in prop::collection::vec(any::<u8>(), 0..2000),
            base_offset in 0..i64::MAX - 2,
            leader_epoch: i32,
            log_append_time_ms: Option<i64>,
        ) {
            let original = batch(&body);
            let patch = HeaderPatch { base_offset, leader_epoch, log_append_time_ms };
            let header = patch.apply(original.header());
            let patched = BatchView::parse(join(&header, &body)).unwrap();
            prop_assert_eq!(patched.verify_crc(), Ok(()));
            prop_assert_eq!(patched.header(), &header);
            prop_assert_eq!(header.base_offset, base_offset);
            prop_assert_eq!(header.partition_leader_epoch, leader_epoch);
            prop_assert_eq!(header.max_timestamp, log_append_time_ms.unwrap_or(1_002));
            let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
            prop_assert_eq!(stamped, log_append_time_ms.is_some());
            prop_assert_eq!(header.base_sequence, 12);
        }
    }

    #[test]
    fn a_damaged_body_is_still_damaged_after_the_patch() {
        let original = batch(b"the records");
        let patch =
            HeaderPatch { base_offset: 9, leader_epoch: 4, log_append_time_ms: Some(5_000) };
        let header = patch.apply(original.header());
        let patched = BatchView::parse(join(&header, b"the recordz")).unwrap();
        assert!(matches!(patched.verify_crc(), Err(BatchError::BadCrc { .. })));
    }
}
