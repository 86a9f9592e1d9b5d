//! The walk over the records of one batch, for whoever needs their contents.
//!
//! [`Records`] gives records that share the body's buffer and can outlive the walk; [`RecordRefs`]
//! borrows and costs no reference count. Both end after the number of records that the header
//! announces, and treat fewer or more bytes than that takes as an error, after which they give
//! nothing more.

use bytes::{Buf, Bytes};

use super::{
    BatchHeader, BatchView, Record, RecordError, RecordFault, RecordRef, TimestampType,
    record::RawRecord,
};
use crate::compression::decompress;

impl BatchView {
    /// The body with its compression undone, refused beyond `body_bytes_max`.
    pub fn decompress(&self, body_bytes_max: usize) -> Result<Bytes, RecordError> {
        let body = self.body();
        // A batch that compaction has emptied has no body at all, whatever its codec was.
        if body.is_empty() {
            return Ok(body);
        }
        Ok(decompress(self.attributes().codec()?, body, body_bytes_max)?)
    }

    /// The records; the body is decompressed first, to at most `body_bytes_max`.
    pub fn records(&self, body_bytes_max: usize) -> Result<Records, RecordError> {
        let body = self.decompress(body_bytes_max)?;
        Ok(Records { cursor: Cursor::new(self.header()), body })
    }
}

/// Iterator over the records of a batch, which share the (decompressed) body.
#[derive(Clone, Debug)]
pub struct Records {
    cursor: Cursor,
    body: Bytes,
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = &self.body[..];
        let record = self.cursor.next(&mut rest)?;
        let taken = self.body.len() - rest.len();
        let record = record.map(|record| Record::share(&self.body, &record));
        self.body.advance(taken);
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.cursor.remaining()).ok())
    }
}

impl std::iter::FusedIterator for Records {}

/// Iterator over the records of a batch, which borrow the (decompressed) body.
#[derive(Clone, Debug)]
pub struct RecordRefs<'a> {
    cursor: Cursor,
    rest: &'a [u8],
}

impl<'a> RecordRefs<'a> {
    /// A walk over `body`, the decompressed body of the batch that `header` belongs to.
    pub fn new(header: &BatchHeader, body: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(header), rest: body }
    }
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = Result<RecordRef<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.cursor.remaining()).ok())
    }
}

impl std::iter::FusedIterator for RecordRefs<'_> {}

/// Where a walk stands, and what of the header it needs to give records their offset and timestamp.
#[derive(Clone, Debug)]
struct Cursor {
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    log_append_time: Option<i64>,
    record_count: i32,
    /// Records taken so far.
    index: i32,
    /// The offset delta of the record before, −1 at the beginning.
    previous_delta: i32,
    /// Set when the walk is over, by success or by error.
    done: bool,
}

impl Cursor {
    fn new(header: &BatchHeader) -> Self {
        let stamped = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            base_offset: header.base_offset,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: header.base_timestamp,
            log_append_time: stamped.then_some(header.max_timestamp),
            record_count: header.record_count,
            index: 0,
            previous_delta: -1,
            done: false,
        }
    }

    fn remaining(&self) -> i32 {
        if self.done { 0 } else { self.record_count - self.index }
    }

    fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Result<RecordRef<'a>, RecordError>> {
        if self.done {
            return None;
        }
        if self.index == self.record_count {
            self.done = true;
            return (!rest.is_empty()).then_some(Err(RecordError::TrailingBytes(rest.len())));
        }
        let record = self.take(rest);
        match record {
            Ok(_) => self.index += 1,
            Err(_) => self.done = true,
        }
        Some(record.map_err(|fault| RecordError::Malformed { index: self.index, fault }))
    }

    fn take<'a>(&mut self, rest: &mut &'a [u8]) -> Result<RecordRef<'a>, RecordFault> {
        let raw = RawRecord::take(rest)?;
        let delta = raw.offset_delta;
        if delta <= self.previous_delta || delta > self.last_offset_delta {
            return Err(RecordFault::BadOffsetDelta(delta));
        }
        self.previous_delta = delta;
        Ok(RecordRef {
            attributes: raw.attributes,
            // A delta that leaves the range of a timestamp is nonsense, but harmless nonsense.
            timestamp: self
                .log_append_time
                .unwrap_or_else(|| self.base_timestamp.wrapping_add(raw.timestamp_delta)),
            offset: self.base_offset.saturating_add(i64::from(delta)),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
            encoded: raw.encoded,
        })
    }
}
