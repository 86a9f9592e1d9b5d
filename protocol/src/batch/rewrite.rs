//! A batch made out of another one: same offsets, producer and flags, other bytes.

use bytes::Bytes;
use thiserror::Error;

use super::{
    BatchHeader, BatchView, BuildError, HEADER_LEN, RecordError, RecordRef, RecordRefs,
    TimestampType, builder::seal,
};
use crate::compression::{Codec, compress};

/// Why a batch cannot be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RewriteError {
    /// The old batch cannot be read.
    #[error(transparent)]
    Read(#[from] RecordError),
    /// The new batch cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl BatchView {
    /// The same batch with another codec. The records themselves are not looked at.
    pub fn recompress(
        &self,
        codec: Codec,
        level: Option<i32>,
        body_bytes_max: usize,
    ) -> Result<Bytes, RewriteError> {
        let body = self.decompress(body_bytes_max)?;
        let attributes = self.attributes().with_codec(codec);
        let header = BatchHeader { attributes, ..*self.header() };
        Ok(assemble(header, codec, level, &body)?)
    }

    /// The same batch with only those records that `keep` approves of, for compaction. It keeps all
    /// its offsets and its codec; a batch that has lost every record is only a header, which goes
    /// on owning the offsets and the producer's sequence numbers.
    pub fn retain(
        &self,
        level: Option<i32>,
        body_bytes_max: usize,
        mut keep: impl FnMut(&RecordRef<'_>) -> bool,
    ) -> Result<Bytes, RewriteError> {
        let codec = self.attributes().codec().map_err(RecordError::from)?;
        let body = self.decompress(body_bytes_max)?;
        let mut kept = Vec::with_capacity(body.len());
        let mut record_count = 0;
        let mut max_timestamp = -1;
        for record in RecordRefs::new(self.header(), &body) {
            let record = record?;
            if keep(&record) {
                kept.extend_from_slice(record.encoded);
                record_count += 1;
                max_timestamp = record.timestamp.max(max_timestamp);
            }
        }
        // Records stamped by the log have no other timestamp than the batch's.
        if self.attributes().timestamp_type() == TimestampType::LogAppendTime {
            max_timestamp = self.header().max_timestamp;
        }
        let header = BatchHeader { record_count, max_timestamp, ..*self.header() };
        Ok(assemble(header, codec, level, &kept)?)
    }
}

fn assemble(
    header: BatchHeader,
    codec: Codec,
    level: Option<i32>,
    body: &[u8],
) -> Result<Bytes, BuildError> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    bytes.resize(HEADER_LEN, 0);
    if !body.is_empty() {
        compress(codec, level, body, &mut bytes)?;
    }
    seal(header, bytes)
}
