//! The frames of a `.log`: record batches, internal entries, and flush marks, read one after
//! another and checked by all that they say of themselves.
//!
//! What a frame cannot say itself (does it belong here?) is checked against the [`Chain`].

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::batch::{BatchHeader, BatchView, CRC_START, HEADER_LEN, crc32c};

use crate::disk::DiskFile;
use crate::entry::{Entry, InternalBody};
use crate::flush_mark::{FlushMark, MARK_LEN, MARK_MAGIC, MARK_MAGIC_POSITION};

/// Bytes read at first, and at most, to look at frames.
const CHUNK_MIN: usize = 4 << 10;
const CHUNK_MAX: usize = 4 << 20;

/// A frame whose own checksums hold.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Entry(EntryFrame),
    Mark(FlushMark),
}

/// A record batch or internal entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryFrame {
    pub(crate) header: BatchHeader,
    pub(crate) header_crc: u32,
    pub(crate) size: u32,
    pub(crate) term: u32,
    /// What an internal entry says its index is.
    pub(crate) internal_index: Option<u64>,
}

impl Frame {
    /// Bytes the frame takes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Frame::Entry(entry) => u64::from(entry.size),
            Frame::Mark(_) => u64::from(MARK_LEN),
        }
    }

    /// The frame that `bytes` consist of, if it is at home at `position` of the segment with this
    /// seed.
    fn decode(bytes: &Bytes, seed: u32, position: u32) -> Option<Self> {
        let header = BatchHeader::parse(bytes).ok()?;
        if !header.attributes.is_internal() {
            return EntryFrame::decode(bytes, header, None).map(Frame::Entry);
        }
        if let Ok(frame) = <&[u8; MARK_LEN as usize]>::try_from(&bytes[..])
            && let Some(mark) = FlushMark::decode(frame, seed, position)
        {
            return Some(Frame::Mark(mark));
        }
        let internal = InternalBody::parse(&bytes.slice(HEADER_LEN..))?;
        EntryFrame::decode(bytes, header, Some(internal)).map(Frame::Entry)
    }
}

impl EntryFrame {
    /// The frame of an entry that somebody else gave, if all that it says of itself holds.
    pub(crate) fn verify(entry: &Entry) -> Option<Self> {
        let Entry { index, term, header, body } = entry;
        let bytes = Bytes::from([&header[..], &body[..]].concat());
        let batch = BatchView::parse(bytes.clone()).ok()?;
        let framed = header.len() == HEADER_LEN && batch.header().size() == bytes.len();
        let internal = match batch.header().attributes.is_internal() {
            true => Some(InternalBody::parse(body)?),
            false => None,
        };
        let is_own = internal.as_ref().is_none_or(|body| body.index == *index);
        let frame = Self::decode(&bytes, *batch.header(), internal)?;
        (framed && is_own && frame.term == *term).then_some(frame)
    }

    fn decode(bytes: &[u8], header: BatchHeader, internal: Option<InternalBody>) -> Option<Self> {
        let term = u32::try_from(header.partition_leader_epoch).ok()?;
        let (covered, size) = (bytes.get(CRC_START..)?, u32::try_from(bytes.len()).ok()?);
        if header.crc != crc32c(covered) || internal.as_ref().is_some_and(|body| body.term != term)
        {
            return None;
        }
        Some(EntryFrame {
            header,
            header_crc: crc32fast::hash(bytes.get(..HEADER_LEN)?),
            size,
            term,
            internal_index: internal.map(|body| body.index),
        })
    }

    /// Offsets that the entry owns.
    pub(crate) fn offset_count(&self) -> u32 {
        // The header's deltas are 31 bits wide, so the count fits.
        u32::try_from(self.header.offset_count()).unwrap_or(u32::MAX)
    }
}

/// What the next entry of a log must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) next_index: u64,
    pub(crate) next_offset: i64,
    /// Term of the entry before; `None` if nothing is known of it.
    pub(crate) term: Option<u32>,
}

impl Chain {
    /// Whether `entry` continues the log: index and offset follow, and only an internal entry, with
    /// which a leader begins its term, may change the term.
    pub(crate) fn accepts(&self, entry: &EntryFrame) -> bool {
        let term_follows = match (self.term, entry.internal_index) {
            (None, _) => true,
            (Some(term), Some(_)) => entry.term >= term,
            (Some(term), None) => entry.term == term,
        };
        let index_follows = entry.internal_index.is_none_or(|index| index == self.next_index);
        term_follows && index_follows && entry.header.base_offset == self.next_offset
    }

    /// Moves on behind an entry.
    pub(crate) fn advance(&mut self, term: u32, next_offset: i64) {
        self.next_index += 1;
        self.next_offset = next_offset;
        self.term = Some(term);
    }
}

/// Reads a file in chunks that grow as long as the walk goes on.
pub(crate) struct FrameReader {
    file: Rc<dyn DiskFile>,
    len: u64,
    seed: u32,
    chunk: Bytes,
    chunk_start: u64,
    chunk_len: usize,
}

impl FrameReader {
    /// A reader of the first `len` bytes of the file.
    pub(crate) fn new(file: Rc<dyn DiskFile>, len: u64, seed: u32) -> Self {
        let (chunk, chunk_start) = (Bytes::new(), 0);
        FrameReader { file, len, seed, chunk, chunk_start, chunk_len: CHUNK_MIN }
    }

    /// The valid frame at `position`; `None` if there is none, or not all of it.
    pub(crate) async fn frame(&mut self, position: u64) -> io::Result<Option<Frame>> {
        let Ok(position_u32) = u32::try_from(position) else { return Ok(None) };
        let Some(head) = self.bytes(position, HEADER_LEN).await? else { return Ok(None) };
        let Ok(header) = BatchHeader::parse(&head) else { return Ok(None) };
        let Some(bytes) = self.bytes(position, header.size()).await? else { return Ok(None) };
        Ok(Frame::decode(&bytes, self.seed, position_u32))
    }

    /// Whether all bytes from `position` to the end are zero.
    pub(crate) async fn is_zero_from(&mut self, mut position: u64) -> io::Result<bool> {
        while position < self.len {
            let rest = self.available(position).await?;
            if zeroes(&rest) < rest.len() {
                return Ok(false);
            }
            position += rest.len() as u64;
        }
        Ok(true)
    }

    /// The first valid mark at or after `position`, and where it is.
    pub(crate) async fn find_mark(
        &mut self,
        position: u64,
    ) -> io::Result<Option<(u64, FlushMark)>> {
        let mut from = position + MARK_MAGIC_POSITION as u64;
        while from < self.len {
            let rest = self.available(from).await?;
            let zeroes = zeroes(&rest);
            if zeroes > 0 {
                // The magic holds no zero.
                from += zeroes as u64;
                continue;
            }
            let found = rest.windows(MARK_MAGIC.len()).position(|bytes| bytes == MARK_MAGIC);
            let Some(found) = found else {
                // The magic may lie across the end of the piece.
                from += rest.len().saturating_sub(MARK_MAGIC.len() - 1).max(1) as u64;
                continue;
            };
            let magic = from + found as u64;
            let start = magic - MARK_MAGIC_POSITION as u64;
            if let Some(Frame::Mark(mark)) = self.frame(start).await? {
                return Ok(Some((start, mark)));
            }
            from = magic + 1;
        }
        Ok(None)
    }

    /// `len` bytes at `position`; `None` if the file ends before.
    pub(crate) async fn bytes(&mut self, position: u64, len: usize) -> io::Result<Option<Bytes>> {
        if position.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        if self.cached(position).is_none_or(|rest| rest.len() < len) {
            self.load(position, len).await?;
        }
        let rest = self.cached(position);
        Ok(rest.filter(|rest| rest.len() >= len).map(|rest| rest.slice(..len)))
    }

    /// As many bytes at `position`, which lies before the end, as are at hand; at least one.
    async fn available(&mut self, position: u64) -> io::Result<Bytes> {
        let enough = (MARK_MAGIC.len() as u64).min(self.len - position);
        if self.cached(position).is_none_or(|rest| (rest.len() as u64) < enough) {
            self.load(position, 1).await?;
        }
        let rest = self.cached(position).filter(|rest| !rest.is_empty());
        rest.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    fn cached(&self, position: u64) -> Option<Bytes> {
        let skip = usize::try_from(position.checked_sub(self.chunk_start)?).ok()?;
        (skip <= self.chunk.len()).then(|| self.chunk.slice(skip..))
    }

    async fn load(&mut self, position: u64, len: usize) -> io::Result<()> {
        let left = usize::try_from(self.len - position).unwrap_or(usize::MAX);
        let wanted = len.max(self.chunk_len).min(left);
        self.chunk = self.file.read_at(position, wanted).await?;
        self.chunk_start = position;
        self.chunk_len = (self.chunk_len * 8).min(CHUNK_MAX);
        Ok(())
    }
}

/// How many bytes at the beginning are zero, to be counted in preallocated space at memory speed.
fn zeroes(bytes: &[u8]) -> usize {
    const BLOCK: usize = 256;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let is_zero = |block: &&[u8; BLOCK]| block.iter().fold(0, |any, byte| any | byte) == 0;
    let skipped = blocks.iter().take_while(is_zero).count() * BLOCK;
    let rest = bytes.iter().skip(skipped);
    skipped + rest.take_while(|&&byte| byte == 0).count()
}
