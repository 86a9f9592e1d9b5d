//! One entry of a partition's log: a record batch, or an entry of the replication protocol framed
//! as one.
//!
//! The partition's log is its Raft log: every entry owns an index and a term; only record batches
//! own Kafka offsets. An internal entry is a batch with `Attributes::INTERNAL` whose body repeats
//! its index and term, so that it vouches for them under its own CRC:
//!
//! | position in the body | bytes | field                                                  |
//! |---------------------:|------:|--------------------------------------------------------|
//! |                    0 |     1 | kind; 0 is a flush mark (see `flush_mark.rs`)           |
//! |                    1 |     8 | index                                                  |
//! |                    9 |     4 | term                                                   |
//! |                   13 |     … | payload, the broker's                                  |

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_protocol::batch::{Attributes, BatchHeader, CRC_START, HEADER_LEN, crc32c};

/// Bytes of an internal body before its payload.
pub(crate) const INTERNAL_PREFIX_LEN: usize = 13;

/// One log entry: the 61-byte batch header and the untouched body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Place in the Raft log; the first entry of a partition has index 1.
    pub index: u64,
    /// Raft term, which is also the batch's `partition_leader_epoch`.
    pub term: u32,
    /// The batch header, with its final base offset and leader epoch.
    pub header: Bytes,
    /// The records.
    pub body: Bytes,
}

/// The body of an internal entry, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalBody {
    /// What the payload is; never 0.
    pub kind: u8,
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u32,
    /// The broker's bytes.
    pub payload: Bytes,
}

impl Entry {
    /// Frames an entry of the replication protocol. It owns no offset; its base offset is
    /// `next_offset`, the one that the next record will get.
    ///
    /// # Panics
    /// If `kind` is 0 or the payload reaches 2 GiB.
    pub fn internal(index: u64, term: u32, next_offset: i64, kind: u8, payload: &[u8]) -> Self {
        assert_ne!(kind, 0, "kind 0 is the flush mark's");
        let mut body = BytesMut::with_capacity(INTERNAL_PREFIX_LEN + payload.len());
        body.put_u8(kind);
        body.put_u64(index);
        body.put_u32(term);
        body.put_slice(payload);
        let body = body.freeze();
        let header = internal_header(next_offset, term, &body);
        Entry { index, term, header: Bytes::copy_from_slice(&header), body }
    }

    /// The parts of an internal entry; `None` for a record batch.
    pub fn internal_body(&self) -> Option<InternalBody> {
        let header = BatchHeader::parse(&self.header).ok()?;
        header.attributes.is_internal().then(|| InternalBody::parse(&self.body))?
    }

    /// Bytes of header and body.
    pub fn size(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

impl InternalBody {
    /// Takes a body apart; `None` if it is too short or a flush mark's.
    pub(crate) fn parse(body: &Bytes) -> Option<Self> {
        let (&kind, rest) = body.split_first()?;
        let (index, rest) = rest.split_first_chunk()?;
        let (term, _) = rest.split_first_chunk()?;
        let (index, term) = (u64::from_be_bytes(*index), u32::from_be_bytes(*term));
        (kind != 0).then(|| Self { kind, index, term, payload: body.slice(INTERNAL_PREFIX_LEN..) })
    }
}

/// The header of a frame that no client ever sees, CRC included.
pub(crate) fn internal_header(next_offset: i64, term: u32, body: &[u8]) -> [u8; HEADER_LEN] {
    let batch_length = HEADER_LEN + body.len() - thalweg_protocol::batch::LENGTH_OVERHEAD;
    let mut header = BatchHeader {
        base_offset: next_offset,
        batch_length: i32::try_from(batch_length).expect("an internal entry is below 2 GiB"),
        partition_leader_epoch: i32::try_from(term).expect("terms fit a leader epoch"),
        crc: 0,
        attributes: Attributes::default().with_internal(true),
        last_offset_delta: 0,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
    };
    let unsigned = header.write();
    let mut covered = Vec::with_capacity(HEADER_LEN - CRC_START + body.len());
    covered.extend_from_slice(&unsigned[CRC_START..]);
    covered.extend_from_slice(body);
    header.crc = crc32c(&covered);
    header.write()
}
