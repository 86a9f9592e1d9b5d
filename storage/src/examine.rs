//! The examination of one segment: reads its two files, changes nothing, and says what they hold.
//!
//! What the ledger proves durable is trusted (reads verify it later); from there on every frame is
//! verified. At the first position P where no valid frame continues the log, one question decides:
//! *was P durable?* It was if the ledger says so, or if something valid behind P was written only
//! after P's window had been flushed (see `flush_mark.rs`). Then the bytes were **damaged**: they
//! stay, and the walk resumes at the next place that ledger or marks vouch for. Otherwise the
//! process or the power went before a flush: a **torn tail**, to be cut at P.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::damage::DamagedRange;
use crate::disk::DiskFile;
use crate::flush_mark::{FlushMark, MARK_LEN, extend_headers_crc};
use crate::footer::Footer;
use crate::frame::{Chain, EntryFrame, Frame, FrameReader};
use crate::ledger::{Checkpoint, LEDGER_ENTRIES_START, LedgerHeader, decode_entries};
use crate::ledger_entry::LedgerEntry;
#[cfg(feature = "planted-bugs")]
use crate::recovery::planted;
use crate::segment::{Extent, SegmentKey};

/// A segment's files; one that is missing is `None`.
pub(crate) struct SegmentFiles {
    pub(crate) key: SegmentKey,
    pub(crate) log: Option<Rc<dyn DiskFile>>,
    pub(crate) ledger: Option<Rc<dyn DiskFile>>,
}

/// What to take for granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Log position below which all was durable for a reason outside of the segment.
    pub(crate) proven: u64,
    /// The slot and the offset behind the last entry, as far as they are known from elsewhere.
    pub(crate) known_end: (u32, i64),
    /// Verify every byte instead of trusting what is durable.
    pub(crate) verify_all: bool,
}

/// All of a ledger file that validates.
#[derive(Default)]
pub(crate) struct LedgerImage {
    pub(crate) header: Option<LedgerHeader>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) slots: Vec<Option<LedgerEntry>>,
    pub(crate) footer: Option<Footer>,
}

/// A damaged stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) positions: Range<u64>,
    pub(crate) slots: Range<u32>,
    pub(crate) offsets: Range<i64>,
}

impl Damage {
    /// The same, as it is reported.
    pub(crate) fn range(&self, key: SegmentKey, dir: &Path) -> DamagedRange {
        let index = |slot: u32| key.base_index + u64::from(slot);
        DamagedRange {
            path: key.log_path(dir),
            positions: self.positions.clone(),
            indexes: index(self.slots.start)..index(self.slots.end),
            offsets: self.offsets.clone(),
        }
    }
}

/// Entries at the end that no mark covers yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnmarkedWindow {
    pub(crate) start: u32,
    pub(crate) entry_count: u32,
    pub(crate) headers_crc: u32,
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Examination {
    /// Every slot, damaged ones flagged.
    pub(crate) entries: Vec<LedgerEntry>,
    /// What would come next.
    pub(crate) chain: Chain,
    /// Position after the last valid frame.
    pub(crate) end: u64,
    /// Length of the `.log` file.
    pub(crate) file_len: u64,
    /// Whether the bytes from `end` on, or ledger entries, are a torn tail.
    pub(crate) torn: bool,
    pub(crate) damaged: Vec<Damage>,
    pub(crate) window: UnmarkedWindow,
    /// Position below which all was durable.
    pub(crate) durable: u64,
    pub(crate) entries_verified: u64,
    pub(crate) bytes_verified: u64,
    /// Whether the ledger file holds exactly `entries`.
    pub(crate) ledger_intact: bool,
}

impl LedgerImage {
    /// Reads a whole ledger.
    pub(crate) async fn load(file: &dyn DiskFile, key: &SegmentKey) -> io::Result<Self> {
        let len = file.len().await?;
        let bytes = file.read_at(0, usize::try_from(len).unwrap_or(usize::MAX)).await?;
        let seed = key.crc_seed();
        let entries = bytes.get(LEDGER_ENTRIES_START..).unwrap_or_default();
        Ok(LedgerImage {
            header: LedgerHeader::find(&bytes),
            checkpoint: Checkpoint::find(&bytes, seed),
            slots: decode_entries(entries, seed),
            footer: Footer::decode(&bytes, len, seed),
        })
    }

    /// Log position below which the ledger proves everything durable.
    fn durable(&self) -> u64 {
        let entries = self.slots.iter().flatten().map(|entry| entry.durable_position);
        let checkpoint = self.checkpoint.map(|checkpoint| checkpoint.durable_position);
        let sealed = self.footer.as_ref().map(|footer| footer.log_len);
        entries.chain(checkpoint).chain(sealed).max().unwrap_or(0).into()
    }
}

impl Examination {
    /// Goes on with an empty `.log`; what is damaged stays known.
    pub(crate) fn start_over(&mut self) {
        (self.end, self.file_len, self.durable, self.torn) = (0, 0, 0, false);
        (self.window, self.ledger_intact) = (UnmarkedWindow::default(), false);
    }

    /// How far the segment reaches.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            entry_count: slot(self.entries.len()),
            log_len: u32::try_from(self.end).unwrap_or(u32::MAX),
            next_offset: self.chain.next_offset,
            max_timestamp: self.entries.last().map_or(-1, |last| last.max_timestamp),
        }
    }

    /// The footer that seals what was found.
    pub(crate) fn footer(&self) -> Footer {
        let footer = Footer::of(&self.entries, self.extent(), self.file_len);
        Footer { last_term: self.chain.term.unwrap_or(0), ..footer }
    }
}

/// Examines a segment that begins as `chain` says.
pub(crate) async fn examine(
    files: &SegmentFiles,
    image: &LedgerImage,
    chain: Chain,
    scope: Scope,
) -> io::Result<Examination> {
    let seed = files.key.crc_seed();
    let file_len = match &files.log {
        Some(log) => log.len().await?,
        None => 0,
    };
    let cut = image.checkpoint.filter(|checkpoint| checkpoint.cutting);
    let cut_position = cut.map(|checkpoint| u64::from(checkpoint.durable_position));
    let file_len = cut_position.map_or(file_len, |position| file_len.min(position));
    let reader = files.log.clone().map(|log| FrameReader::new(log, file_len, seed));
    let mut walk = Walk {
        reader,
        slots: &image.slots,
        base_index: files.key.base_index,
        file_len,
        durable: image.durable().max(scope.proven),
        known_end: image.footer.as_ref().map_or(scope.known_end, Footer::end),
        entries: Vec::with_capacity(image.slots.len()),
        chain,
        position: 0,
        window: UnmarkedWindow::default(),
        window_entries: Vec::new(),
        scan_start: 0,
        damaged: Vec::new(),
        torn: cut.is_some(),
        entries_verified: 0,
        bytes_verified: 0,
    };
    #[cfg(feature = "planted-bugs")]
    let scope = Scope { verify_all: scope.verify_all || planted::cuts_at_first_bad_crc(), ..scope };
    if !scope.verify_all {
        walk.trust();
    }
    walk.begin_window();
    while walk.step().await? {}
    let image_entries = image.slots.iter().flatten();
    let ledger_intact = cut.is_none()
        && image.slots.len() == walk.entries.len()
        && image.header.is_some()
        && image_entries.eq(walk.entries.iter());
    Ok(walk.finish(ledger_intact))
}

/// The walk through a `.log`, frame by frame.
struct Walk<'a> {
    reader: Option<FrameReader>,
    slots: &'a [Option<LedgerEntry>],
    base_index: u64,
    file_len: u64,
    durable: u64,
    /// The slot and the offset behind the last entry, from the footer; zeroes if nothing says.
    known_end: (u32, i64),
    entries: Vec<LedgerEntry>,
    chain: Chain,
    position: u64,
    window: UnmarkedWindow,
    /// Position and header CRC of the entries since the last mark.
    window_entries: Vec<(u32, u32)>,
    /// Where the verified stretch begins: of a window that began before, not all was seen.
    scan_start: u64,
    damaged: Vec<Damage>,
    torn: bool,
    entries_verified: u64,
    bytes_verified: u64,
}

/// Where the log goes on behind damage.
struct Resumption {
    position: u64,
    slot: u32,
    offset: i64,
    term: u32,
}

impl Walk<'_> {
    /// Takes over the ledger's entries as long as they are durable and follow each other without a
    /// gap.
    fn trust(&mut self) {
        let limit = self.durable.min(self.file_len);
        for slot in self.slots {
            let Some(entry) = slot.filter(|entry| !entry.damaged && entry.end() <= limit) else {
                return;
            };
            // Between two entries there is nothing but marks.
            let gap = u64::from(entry.position).checked_sub(self.position);
            let whole_marks = gap.is_some_and(|gap| gap % u64::from(MARK_LEN) == 0);
            let term_follows = self.chain.term.is_none_or(|term| {
                if entry.offset_count == 0 { entry.term >= term } else { entry.term == term }
            });
            if !whole_marks || !term_follows || entry.base_offset != self.chain.next_offset {
                return;
            }
            self.entries.push(entry);
            self.chain.advance(entry.term, entry.next_offset());
            self.position = entry.end();
        }
    }

    /// Verifies the next frame; returns whether the walk goes on.
    async fn step(&mut self) -> io::Result<bool> {
        let frame = self.frame(self.position).await?;
        let size = frame.as_ref().map_or(0, Frame::size);
        match frame {
            Some(Frame::Entry(entry)) if self.accepts(&entry) => self.on_entry(&entry),
            Some(Frame::Mark(mark)) if self.follows(&mark) => self.on_mark(&mark),
            _ => return self.on_invalid().await,
        }
        self.position += size;
        self.bytes_verified += size;
        Ok(true)
    }

    async fn frame(&mut self, position: u64) -> io::Result<Option<Frame>> {
        match &mut self.reader {
            Some(reader) => reader.frame(position).await,
            None => Ok(None),
        }
    }

    /// Whether the entry at the present position is the one that belongs here.
    fn accepts(&self, entry: &EntryFrame) -> bool {
        let slot = self.slots.get(self.entries.len()).copied().flatten();
        let agrees = slot.is_none_or(|slot| slot.damaged || slot.describes(entry, self.position));
        self.chain.accepts(entry) && agrees
    }

    fn on_entry(&mut self, entry: &EntryFrame) {
        let position = u32::try_from(self.position).unwrap_or(u32::MAX);
        let known = self.slots.get(self.entries.len()).copied().flatten();
        let computed = || {
            let before = self.entries.last().map_or(-1, |last| last.max_timestamp);
            LedgerEntry::new(entry, position, before, 0)
        };
        let entry_known = known.filter(|known| !known.damaged).unwrap_or_else(computed);
        self.entries.push(entry_known);
        self.chain.advance(entry.term, entry_known.next_offset());
        self.window_entries.push((position, entry.header_crc));
        self.entries_verified += 1;
    }

    /// Whether the mark says of the log so far what was found.
    fn follows(&self, mark: &FlushMark) -> bool {
        mark.next_index == self.chain.next_index
            && mark.next_offset == self.chain.next_offset
            && self.chain.term.is_none_or(|term| mark.term == term)
    }

    fn on_mark(&mut self, mark: &FlushMark) {
        let begun = self.window_entries.partition_point(|(at, _)| *at < mark.window_start);
        let window = self.window_entries.get(begun..).unwrap_or_default();
        let headers_crc =
            window.iter().fold(0, |crc, (_, header)| extend_headers_crc(crc, *header));
        let seen_whole = u64::from(mark.window_start) >= self.scan_start;
        if seen_whole
            && (window.len(), headers_crc) != (mark.entry_count as usize, mark.headers_crc)
        {
            self.condemn(mark.window_start);
        }
        self.window_entries.clear();
        self.window.start = u32::try_from(self.position).unwrap_or(u32::MAX) + MARK_LEN;
    }

    /// The entries from `position` on are valid, but not those that the mark was made for.
    fn condemn(&mut self, position: u32) {
        let first = self.entries.partition_point(|entry| entry.position < position);
        let condemned = self.entries.get_mut(first..).unwrap_or_default();
        let Some(start) = condemned.first().map(|entry| entry.base_offset) else { return };
        condemned.iter_mut().for_each(|entry| entry.damaged = true);
        self.damaged.push(Damage {
            positions: u64::from(position)..self.position,
            slots: slot(first)..slot(self.entries.len()),
            offsets: start..self.chain.next_offset,
        });
    }

    /// Nothing valid continues the log here. Returns whether the walk goes on behind.
    async fn on_invalid(&mut self) -> io::Result<bool> {
        let position = self.position;
        let nothing_left = match &mut self.reader {
            Some(reader) => reader.is_zero_from(position).await?,
            None => true,
        };
        if position >= self.durable && nothing_left && self.is_complete() {
            self.torn |= self.slots.len() > self.entries.len();
            return Ok(false);
        }
        if !self.was_durable(position).await? {
            self.torn = true;
            return Ok(false);
        }
        let resumption = match self.resume_by_ledger().await? {
            Some(resumption) => Some(resumption),
            None => self.resume_by_marks().await?,
        };
        self.on_damage(resumption.as_ref());
        Ok(resumption.is_some())
    }

    /// Whether no entry is missing that the segment is known to have.
    fn is_complete(&self) -> bool {
        slot(self.entries.len()) >= self.known_end.0
    }

    async fn was_durable(&mut self, position: u64) -> io::Result<bool> {
        #[cfg(feature = "planted-bugs")]
        if planted::cuts_at_first_bad_crc() {
            return Ok(false);
        }
        let mut from = position + 1;
        if position < self.durable || !self.is_complete() {
            return Ok(true);
        }
        let Some(reader) = &mut self.reader else { return Ok(false) };
        while let Some((at, mark)) = reader.find_mark(from).await? {
            if u64::from(mark.window_start) > position {
                return Ok(true);
            }
            // Behind an exclusive mark nothing was written before its window was durable.
            let next = at + u64::from(MARK_LEN);
            if mark.exclusive && matches!(reader.frame(next).await?, Some(Frame::Entry(_))) {
                return Ok(true);
            }
            from = at + 1;
        }
        Ok(false)
    }

    /// The first entry behind the present position that the ledger knows and that is intact.
    async fn resume_by_ledger(&mut self) -> io::Result<Option<Resumption>> {
        let first = self.entries.len();
        for at in first..self.slots.len() {
            let Some(known) = self.slots.get(at).copied().flatten() else { continue };
            let position = u64::from(known.position);
            let behind = position > self.position && known.base_offset >= self.chain.next_offset;
            if known.damaged || !behind {
                continue;
            }
            let found = self.frame(position).await?;
            if matches!(found, Some(Frame::Entry(entry)) if known.describes(&entry, position)) {
                let (offset, term) = (known.base_offset, known.term);
                return Ok(Some(Resumption { position, slot: slot(at), offset, term }));
            }
        }
        Ok(None)
    }

    /// The first window behind the present position that a mark vouches for, or at least its end.
    async fn resume_by_marks(&mut self) -> io::Result<Option<Resumption>> {
        let mut from = self.position + 1;
        loop {
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let Some((at, mark)) = reader.find_mark(from).await? else { return Ok(None) };
            from = at + 1;
            let start = u64::from(mark.window_start);
            let first = if start > self.position {
                first_of_window(reader, &mark, at).await?
            } else {
                None
            };
            let (index, position, offset, term) = match first {
                Some(entry) => {
                    let index = mark.next_index.saturating_sub(u64::from(mark.entry_count));
                    (index, start, entry.header.base_offset, entry.term)
                }
                None => (mark.next_index, at + u64::from(MARK_LEN), mark.next_offset, mark.term),
            };
            let Some(slot) = self.plausible_slot(index, position) else { continue };
            if offset >= self.chain.next_offset {
                return Ok(Some(Resumption { position, slot, offset, term }));
            }
        }
    }

    /// The slot of `index`, if the entries missing before it have room before `position`.
    fn plausible_slot(&self, index: u64, position: u64) -> Option<u32> {
        let missing = index.checked_sub(self.chain.next_index)?;
        let room = (position - self.position) / thalweg_protocol::batch::HEADER_LEN as u64;
        let slot = u32::try_from(index.checked_sub(self.base_index)?).ok()?;
        (missing <= room).then_some(slot)
    }

    /// Notes that everything up to where the log resumes is damaged; without resumption, up to the
    /// last thing that the ledger knows.
    fn on_damage(&mut self, resumption: Option<&Resumption>) {
        let first = slot(self.entries.len());
        let (end, end_slot, end_offset) = match resumption {
            Some(resumption) => (resumption.position, resumption.slot, resumption.offset),
            None => {
                let last = self.slots.iter().flatten().last();
                let (end_slot, offset) = self.known_end;
                let offset = last.map_or(offset, |last| last.next_offset().max(offset));
                let end = self.file_len.max(self.durable).max(last.map_or(0, LedgerEntry::end));
                let end_slot = slot(self.slots.len()).max(first).max(end_slot);
                (end, end_slot, offset.max(self.chain.next_offset))
            }
        };
        let offsets = self.chain.next_offset..end_offset;
        self.damaged.push(Damage {
            positions: self.position..end,
            slots: first..end_slot,
            offsets: offsets.clone(),
        });
        self.fill_damaged(first..end_slot, offsets);
        self.chain.next_index = self.base_index + u64::from(end_slot);
        self.chain.next_offset = end_offset;
        if let Some(resumption) = resumption {
            self.chain.term = Some(resumption.term);
            self.position = resumption.position;
        }
        self.begin_window();
    }

    /// Entries for damaged slots: what the ledger knew, or else guesses that keep the offsets in
    /// order. The last slot of an unknown stretch stands for all its offsets.
    fn fill_damaged(&mut self, slots: Range<u32>, offsets: Range<i64>) {
        let position = u32::try_from(self.position).unwrap_or(u32::MAX);
        let mut next_offset = offsets.start;
        for at in slots.clone() {
            let known = |at: u32| self.slots.get(at as usize).copied().flatten();
            let before = self.entries.last();
            let entry = known(at).unwrap_or_else(|| {
                let is_last_unknown = at + 1 == slots.end || known(at + 1).is_some();
                let following = known(at + 1).filter(|_| at + 1 < slots.end);
                let end = following.map_or(offsets.end, |entry| entry.base_offset);
                let missing = if is_last_unknown { end - next_offset } else { 0 };
                LedgerEntry {
                    term: before.map_or(self.chain.term.unwrap_or(0), |before| before.term),
                    base_offset: next_offset,
                    offset_count: u32::try_from(missing).unwrap_or(0),
                    position,
                    size: 0,
                    max_timestamp: before.map_or(-1, |before| before.max_timestamp),
                    header_crc: 0,
                    durable_position: 0,
                    damaged: true,
                }
            });
            next_offset = entry.next_offset();
            self.chain.term = Some(entry.term);
            self.entries.push(LedgerEntry { damaged: true, ..entry });
        }
    }

    fn begin_window(&mut self) {
        self.scan_start = self.position;
        self.window_entries.clear();
        self.window.start = u32::try_from(self.position).unwrap_or(u32::MAX);
    }

    fn finish(mut self, ledger_intact: bool) -> Examination {
        let crcs = self.window_entries.iter().map(|(_, header_crc)| *header_crc);
        self.window.headers_crc = crcs.fold(0, extend_headers_crc);
        self.window.entry_count = slot(self.window_entries.len());
        Examination {
            entries: self.entries,
            chain: self.chain,
            end: self.position,
            file_len: self.file_len,
            torn: self.torn,
            damaged: self.damaged,
            window: self.window,
            durable: self.durable,
            entries_verified: self.entries_verified,
            bytes_verified: self.bytes_verified,
            ledger_intact,
        }
    }
}

/// The first entry of the window that the mark at `end` closes, if all of its headers are those
/// that the mark was made for: an entry's own CRC covers neither its offset nor its term.
async fn first_of_window(
    reader: &mut FrameReader,
    mark: &FlushMark,
    end: u64,
) -> io::Result<Option<EntryFrame>> {
    let mut position = u64::from(mark.window_start);
    let (mut first, mut entry_count, mut headers_crc) = (None, 0, 0);
    while position < end {
        let Some(frame) = reader.frame(position).await? else { return Ok(None) };
        position += frame.size();
        if let Frame::Entry(entry) = frame {
            first.get_or_insert(entry);
            entry_count += 1;
            headers_crc = extend_headers_crc(headers_crc, entry.header_crc);
        }
    }
    Ok(first.filter(|_| (entry_count, headers_crc) == (mark.entry_count, mark.headers_crc)))
}

/// A count of entries as a slot. A segment has fewer bytes than 2³², and every entry has some.
fn slot(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
