//! Cold data: the files of segments, mapped, brought into memory without stalling the shard,
//! verified.
//!
//! Whoever holds a mapping across an await checks the segment's generation afterwards and before
//! touching a byte: the file may have been cut meanwhile, and touching what is gone would be a
//! SIGBUS.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::batch::{BatchView, HEADER_LEN};

use crate::damage::DamagedRange;
use crate::disk::{DiskFile, Mapping, OpenMode};
use crate::error::ReadError;
use crate::examine::{LedgerImage, Scope, SegmentFiles, examine};
use crate::frame::Chain;
use crate::ledger::slot_position;
use crate::ledger_entry::{LEDGER_ENTRY_LEN, LedgerEntry};
use crate::ledger_file::RebuiltLedger;
use crate::log::Log;
use crate::segment::{Segment, SegmentFile};
use crate::shared::add;

/// Why cold data cannot be had right now.
#[derive(Debug)]
pub(crate) enum ColdError {
    /// The segment was cut or deleted meanwhile: look again.
    Changed,
    /// There is no point in looking again.
    Failed(ReadError),
}

impl From<io::Error> for ColdError {
    fn from(error: io::Error) -> Self {
        ColdError::Failed(ReadError::Io(error.kind()))
    }
}

/// An entry of a ledger that does not validate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadSlot;

/// An entry of a segment's ledger, with its index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedEntry {
    pub(crate) index: u64,
    pub(crate) entry: LedgerEntry,
}

impl PlacedEntry {
    /// Bytes of header and body.
    pub(crate) fn size(&self) -> usize {
        self.entry.size as usize
    }

    /// What to report when its bytes are not what was written.
    pub(crate) fn damaged_range(&self, segment: &Segment) -> DamagedRange {
        let PlacedEntry { index, entry } = self;
        DamagedRange {
            path: segment.log_path.clone(),
            positions: entry.position.into()..entry.end(),
            indexes: *index..index + 1,
            offsets: entry.base_offset..entry.next_offset(),
        }
    }
}

/// Verified bytes of consecutive entries.
pub(crate) struct Loaded {
    region: Bytes,
    start: u64,
    /// How many of the entries that were asked for are there and intact.
    pub(crate) entry_count: usize,
}

impl Loaded {
    /// The bytes between two positions of the segment.
    pub(crate) fn slice(&self, positions: Range<u64>) -> Bytes {
        self.region
            .slice(as_usize(positions.start - self.start)..as_usize(positions.end - self.start))
    }

    /// The bytes of one entry.
    pub(crate) fn entry(&self, entry: &LedgerEntry) -> Bytes {
        self.slice(entry.position.into()..entry.end())
    }
}

/// The entries of a segment's ledger, validated as they are looked at.
pub(crate) struct LedgerView {
    bytes: Bytes,
    seed: u32,
    entry_count: u32,
}

impl LedgerView {
    /// Number of slots.
    pub(crate) fn len(&self) -> u32 {
        self.entry_count
    }

    pub(crate) fn get(&self, slot: u32) -> Result<LedgerEntry, BadSlot> {
        let start = usize::try_from(slot_position(slot)).map_err(|_| BadSlot)?;
        let bytes = self.bytes.get(start..start + LEDGER_ENTRY_LEN).ok_or(BadSlot)?;
        let bytes = bytes.first_chunk().ok_or(BadSlot)?;
        LedgerEntry::decode(bytes, self.seed, slot).ok_or(BadSlot)
    }

    /// The first slot for which `before` does not hold; it must hold for all slots before it.
    pub(crate) fn partition_point(
        &self,
        before: impl Fn(&LedgerEntry) -> bool,
    ) -> Result<u32, BadSlot> {
        let mut range = 0..self.entry_count;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            if before(&self.get(middle)?) {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        Ok(range.start)
    }
}

impl Log {
    /// Looks something up in a segment's ledger. A sealed ledger that turns out to be damaged is
    /// rebuilt first.
    pub(crate) async fn look_up<T>(
        &self,
        segment: &Rc<Segment>,
        find: impl Fn(&LedgerView) -> Result<T, BadSlot>,
    ) -> Result<T, ColdError> {
        if let Ok(found) = find(&self.ledger(segment).await?) {
            return Ok(found);
        }
        self.rebuild_ledger(segment).await?;
        self.look_up_now(segment, find).await
    }

    /// Looks something up and rebuilds nothing, for whoever is rewriting a segment already.
    pub(crate) async fn look_up_now<T>(
        &self,
        segment: &Rc<Segment>,
        find: impl Fn(&LedgerView) -> Result<T, BadSlot>,
    ) -> Result<T, ColdError> {
        let found = find(&self.ledger(segment).await?);
        found.map_err(|BadSlot| ColdError::Failed(ReadError::Io(io::ErrorKind::InvalidData)))
    }

    async fn ledger(&self, segment: &Rc<Segment>) -> Result<LedgerView, ColdError> {
        let entry_count = segment.extent().entry_count;
        let len = slot_position(entry_count);
        let bytes = self.map(segment, SegmentFile::Ledger, 0..len).await?;
        Ok(LedgerView { bytes, seed: segment.seed, entry_count })
    }

    /// Bytes of a segment's file, in memory and uncopied.
    pub(crate) async fn map(
        &self,
        segment: &Rc<Segment>,
        file: SegmentFile,
        range: Range<u64>,
    ) -> Result<Bytes, ColdError> {
        let generation = segment.generation();
        let outcome = self.map_resident(segment, file, &range).await;
        if segment.generation() != generation {
            return Err(ColdError::Changed);
        }
        match outcome {
            Ok(mapping) => Ok(mapping.bytes(as_usize(range.start)..as_usize(range.end))),
            Err(_) if !self.state.borrow().has_segment(segment) => Err(ColdError::Changed),
            Err(error) => Err(error.into()),
        }
    }

    async fn map_resident(
        &self,
        segment: &Rc<Segment>,
        file: SegmentFile,
        range: &Range<u64>,
    ) -> io::Result<Mapping> {
        let key = (segment.id, file);
        let cached = self.shared.maps.borrow_mut().get(key, range.end);
        let mapping = match cached {
            Some(mapping) => mapping,
            None => {
                let extent = segment.extent();
                let (path, len) = match file {
                    SegmentFile::Log => (&segment.log_path, u64::from(extent.log_len)),
                    SegmentFile::Ledger => {
                        (&segment.ledger_path, slot_position(extent.entry_count))
                    }
                };
                let generation = segment.generation();
                let opened = self.disk.open(path, OpenMode::Existing).await?;
                let len = len.min(opened.len().await?);
                if range.end > len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mapping = opened.map(len).await?;
                if segment.generation() == generation && self.state.borrow().has_segment(segment) {
                    self.shared.maps.borrow_mut().insert(key, mapping.clone());
                }
                mapping
            }
        };
        mapping.make_resident(as_usize(range.start)..as_usize(range.end)).await?;
        Ok(mapping)
    }

    /// The bytes of consecutive entries of a segment, verified one by one: header against the
    /// ledger, body against its own CRC. Of a run with damage the part before it is given; damage
    /// at the very beginning is an error.
    pub(crate) async fn load(
        &self,
        segment: &Rc<Segment>,
        placed: &[PlacedEntry],
    ) -> Result<Loaded, ColdError> {
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else {
            return Ok(Loaded { region: Bytes::new(), start: 0, entry_count: 0 });
        };
        add(&self.shared.stats().cold_reads, 1);
        let start = u64::from(first.entry.position);
        let region = match self.map(segment, SegmentFile::Log, start..last.entry.end()).await {
            Err(ColdError::Failed(ReadError::Io(kind))) if is_missing(kind) => {
                // The file has lost its end: what is left may still be good.
                let (front, _) = placed.split_at(placed.len() / 2);
                if front.is_empty() {
                    return Err(self.on_damage(segment, first.damaged_range(segment)));
                }
                return Box::pin(self.load(segment, front)).await;
            }
            mapped => mapped?,
        };
        let mut loaded = Loaded { region, start, entry_count: 0 };
        for found in placed {
            if !is_intact(&loaded.entry(&found.entry), &found.entry) {
                let damage = self.on_damage(segment, found.damaged_range(segment));
                return if loaded.entry_count == 0 { Err(damage) } else { Ok(loaded) };
            }
            loaded.entry_count += 1;
        }
        Ok(loaded)
    }

    /// Takes note of damage that a reader has met.
    pub(crate) fn on_damage(&self, segment: &Segment, range: DamagedRange) -> ColdError {
        if segment.add_damage(range.clone()) {
            add(&self.shared.stats().damaged_ranges, 1);
            tracing::debug!(%range, "found damage");
        }
        ColdError::Failed(ReadError::Damaged(range))
    }

    /// Makes a new ledger for a sealed segment from its `.log` and what is left of the old one.
    pub(crate) async fn rebuild_ledger(&self, segment: &Rc<Segment>) -> Result<(), ColdError> {
        let _turn = self.rewriting.lock().await;
        let is_last = {
            let state = self.state.borrow();
            state.segments.back().is_none_or(|last| last.id == segment.id)
        };
        if is_last {
            // The writer is at work in it; the next start rebuilds it.
            return Err(ColdError::Failed(ReadError::Io(io::ErrorKind::InvalidData)));
        }
        tracing::warn!(path = %segment.ledger_path.display(), "the ledger is damaged: rebuilding");
        let key = segment.key;
        let open = |path| self.disk.open(path, OpenMode::Existing);
        let log: Rc<dyn DiskFile> = open(&segment.log_path).await?;
        let ledger = open(&segment.ledger_path).await?;
        let image = LedgerImage::load(&*ledger, &key).await?;
        let files = SegmentFiles { key, log: Some(log), ledger: Some(ledger) };
        let prev_term = self.state.borrow().term(key.base_index - 1);
        let chain =
            Chain { next_index: key.base_index, next_offset: key.base_offset, term: prev_term };
        let extent = segment.extent();
        let known_end = (extent.entry_count, extent.next_offset);
        let scope = Scope { proven: extent.log_len.into(), known_end, verify_all: true };
        let examination = examine(&files, &image, chain, scope).await?;
        let rebuilt = RebuiltLedger {
            key,
            prev_term,
            durable_position: extent.log_len,
            entries: &examination.entries,
            footer: Some(examination.footer()),
        };
        if !self.state.borrow().has_segment(segment) || segment.extent() != extent {
            return Err(ColdError::Changed);
        }
        rebuilt.replace(&*self.disk, &self.dir).await?;
        self.shared.maps.borrow_mut().remove((segment.id, SegmentFile::Ledger));
        for damage in &examination.damaged {
            self.on_damage(segment, damage.range(key, &self.dir));
        }
        Ok(())
    }
}

/// Whether a file, or a part of it, is not there.
pub(crate) fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

pub(crate) fn is_intact(bytes: &Bytes, entry: &LedgerEntry) -> bool {
    let header = bytes.get(..HEADER_LEN).map(crc32fast::hash);
    header == Some(entry.header_crc)
        && BatchView::parse(bytes.clone()).is_ok_and(|batch| batch.verify_crc().is_ok())
}

/// File positions fit the address space that maps them.
fn as_usize(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
