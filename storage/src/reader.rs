//! Reading by offset (for consumers) and by index (for Raft): the tail cache first, then the files.
//!
//! Consumers get slices of mapped files, as few as possible: batches that lie next to each other
//! are one slice; internal frames and marks are cut out. Raft gets copies, because what it reads
//! may not be committed and may be cut from the file while the copy is on its way to a peer.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::batch::HEADER_LEN;

use crate::cold::{BadSlot, ColdError, LedgerView, Loaded, PlacedEntry};
use crate::damage::DamagedRange;
use crate::entry::Entry;
use crate::error::ReadError;
use crate::log::{EntryMeta, Fetched, Log};
use crate::segment::Segment;
use crate::state::LogState;

/// What to read.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) from: i64,
    pub(crate) bytes_max: usize,
    pub(crate) upper: i64,
    pub(crate) min_one: bool,
}

impl Fetched {
    fn new(next_offset: i64) -> Self {
        Fetched { records: Vec::new(), bytes: 0, next_offset }
    }

    fn push_run(&mut self, loaded: &Loaded, run: Range<u64>) {
        if !run.is_empty() {
            let bytes = loaded.slice(run);
            self.bytes += bytes.len();
            self.records.push(bytes);
        }
    }

    fn append(&mut self, more: Fetched) {
        self.records.extend(more.records);
        self.bytes += more.bytes;
        self.next_offset = more.next_offset;
    }
}

impl Wanted {
    /// Whether a batch is to be read when so many bytes have been already.
    fn takes(&self, bytes: usize, size: u32, next_offset: i64) -> bool {
        let fits = bytes + size as usize <= self.bytes_max || (bytes == 0 && self.min_one);
        fits && next_offset <= self.upper
    }

    /// What is still to be read after `fetched`.
    fn after(&self, fetched: &Fetched) -> Self {
        Wanted {
            from: fetched.next_offset,
            bytes_max: self.bytes_max.saturating_sub(fetched.bytes),
            min_one: self.min_one && fetched.bytes == 0,
            ..*self
        }
    }
}

/// Answers from the tail cache; `None` if it does not reach back far enough.
pub(crate) fn read_cached(state: &LogState, wanted: Wanted) -> Result<Option<Fetched>, ReadError> {
    let Wanted { from, .. } = wanted;
    check_offset(state, from)?;
    if from >= wanted.upper || from == state.next_offset {
        return Ok(Some(Fetched::new(from)));
    }
    let tail = state.tail.borrow();
    let Some(first) = state.recent_at_offset(from).filter(|index| *index >= tail.first_index())
    else {
        return Ok(None);
    };
    let mut fetched = Fetched::new(from);
    for (index, recent) in state.recent_from(first) {
        let meta = recent.meta;
        if meta.is_internal() {
            continue;
        }
        if !wanted.takes(fetched.bytes, meta.size, meta.next_offset()) {
            break;
        }
        let Some((header, body)) = tail.get(index) else { break };
        fetched.records.push(header.clone());
        fetched.records.push(body.clone());
        fetched.bytes += meta.size as usize;
        fetched.next_offset = meta.next_offset();
    }
    Ok(Some(fetched))
}

fn check_offset(state: &LogState, offset: i64) -> Result<(), ReadError> {
    let (log_start_offset, next_offset) = (state.log_start_offset, state.next_offset);
    if (log_start_offset..=next_offset).contains(&offset) {
        return Ok(());
    }
    Err(ReadError::OutOfRange { offset, log_start_offset, next_offset })
}

/// Reads from wherever the data is, across segments.
pub(crate) async fn read(log: &Log, wanted: Wanted) -> Result<Fetched, ReadError> {
    let mut fetched = Fetched::new(wanted.from);
    loop {
        let more = read_some(log, wanted.after(&fetched)).await;
        match more {
            Ok(more) if more.bytes > 0 => fetched.append(more),
            Ok(_) => return Ok(fetched),
            Err(_) if fetched.bytes > 0 => return Ok(fetched),
            Err(error) => return Err(error),
        }
    }
}

/// Reads from the cache or from one segment.
async fn read_some(log: &Log, wanted: Wanted) -> Result<Fetched, ReadError> {
    loop {
        if let Some(fetched) = read_cached(&log.state.borrow(), wanted)? {
            return Ok(fetched);
        }
        if let Some(gap) = log.state.borrow().gap_at_offset(wanted.from) {
            return Err(ReadError::Damaged(gap));
        }
        let segment = log.state.borrow().segment_at_offset(wanted.from);
        let Some(segment) = segment else { return Ok(Fetched::new(wanted.from)) };
        match read_segment(log, &segment, wanted).await {
            Err(ColdError::Changed) => continue,
            Err(ColdError::Failed(error)) => return Err(error),
            Ok(fetched) => return Ok(fetched),
        }
    }
}

async fn read_segment(
    log: &Log,
    segment: &Rc<Segment>,
    wanted: Wanted,
) -> Result<Fetched, ColdError> {
    let plan = log.look_up(segment, |ledger| plan_read(ledger, segment, wanted)).await?;
    let placed = match plan {
        Plan::Batches(placed) => before_damage(segment, placed)?,
        Plan::Hole(range) => return Err(log.on_damage(segment, range)),
    };
    let loaded = log.load(segment, &placed).await?;
    let mut fetched = Fetched::new(wanted.from);
    let mut run = 0..0;
    for PlacedEntry { entry, .. } in placed.iter().take(loaded.entry_count) {
        if run.end != u64::from(entry.position) {
            fetched.push_run(&loaded, run);
            run = entry.position.into()..entry.position.into();
        }
        run.end = entry.end();
        fetched.next_offset = entry.next_offset();
    }
    fetched.push_run(&loaded, run);
    Ok(fetched)
}

/// What a segment's ledger has to say to a read.
enum Plan {
    Batches(Vec<PlacedEntry>),
    /// No entry owns the first offset, nor those after it up to the next entry's: what was here is
    /// lost, and how many entries it was is not known.
    Hole(DamagedRange),
}

/// The batches to read from one segment, as long as they follow each other.
fn plan_read(ledger: &LedgerView, segment: &Segment, wanted: Wanted) -> Result<Plan, BadSlot> {
    let after = ledger.partition_point(|entry| entry.base_offset <= wanted.from)?;
    let mut placed: Vec<PlacedEntry> = Vec::new();
    let mut bytes = 0;
    let mut expected = segment.key.base_offset;
    for slot in after.saturating_sub(1)..ledger.len() {
        let entry = ledger.get(slot)?;
        let index = segment.key.base_index + u64::from(slot);
        let begun = std::mem::replace(&mut expected, entry.next_offset());
        if entry.offset_count == 0 || entry.next_offset() <= wanted.from {
            continue;
        }
        let follows = entry.base_offset <= begun.max(wanted.from);
        if !follows && placed.is_empty() {
            return Ok(Plan::Hole(hole(segment, index, begun..entry.base_offset)));
        }
        if !follows || !wanted.takes(bytes, entry.size, entry.next_offset()) {
            return Ok(Plan::Batches(placed));
        }
        bytes += entry.size as usize;
        placed.push(PlacedEntry { index, entry });
    }
    let extent = segment.extent();
    // Unless more has been written since the ledger was mapped.
    let is_all = ledger.len() == extent.entry_count;
    if is_all && placed.is_empty() && wanted.from < extent.next_offset.min(wanted.upper) {
        return Ok(Plan::Hole(hole(segment, segment.next_index(), expected..extent.next_offset)));
    }
    Ok(Plan::Batches(placed))
}

/// Offsets that no entry owns, before the entry at `index`.
fn hole(segment: &Segment, index: u64, offsets: Range<i64>) -> DamagedRange {
    DamagedRange { path: segment.log_path.clone(), positions: 0..0, indexes: index..index, offsets }
}

/// The entries before the first that is known to be damaged; an error if that is the very first.
pub(crate) fn before_damage(
    segment: &Segment,
    mut placed: Vec<PlacedEntry>,
) -> Result<Vec<PlacedEntry>, ColdError> {
    let damage = |found: &PlacedEntry| {
        let flagged = || found.entry.damaged.then(|| found.damaged_range(segment));
        segment.damage_at(found.index).or_else(flagged)
    };
    let first = placed.iter().enumerate().find_map(|(at, found)| Some((at, damage(found)?)));
    match first {
        Some((0, range)) => {
            segment.add_damage(range.clone());
            return Err(ColdError::Failed(ReadError::Damaged(range)));
        }
        Some((at, _)) => placed.truncate(at),
        None => {}
    }
    Ok(placed)
}

/// The entry, from the tail cache.
pub(crate) fn cached_entry(state: &LogState, index: u64) -> Option<Entry> {
    let (header, body) = state.tail.borrow().get(index).cloned()?;
    Some(Entry { index, term: state.term(index)?, header, body })
}

/// Entries from the tail cache; `None` if it does not have the first of them.
pub(crate) fn cached_entries(
    state: &LogState,
    from: u64,
    to: u64,
    bytes_max: usize,
) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for index in from..to {
        let Some(entry) = cached_entry(state, index) else { break };
        bytes += entry.size();
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    (!entries.is_empty()).then_some(entries)
}

/// Entries from wherever they are: those that lie in the cache, or in one segment.
pub(crate) async fn entries(
    log: &Log,
    from: u64,
    to: u64,
    bytes_max: usize,
) -> Result<Vec<Entry>, ReadError> {
    loop {
        if from >= to {
            return Ok(Vec::new());
        }
        let (segment, truncations) = {
            let state = log.state.borrow();
            check_index(&state, from)?;
            if let Some(entries) = cached_entries(&state, from, to, bytes_max) {
                return Ok(entries);
            }
            (segment_of(&state, from)?, state.truncations)
        };
        // Behind a cut that waits for its turn the files hold what has been replaced.
        let end = log.progress.clip(to - 1) + 1;
        let copied = copy_entries(log, &segment, from..end, bytes_max).await;
        if log.state.borrow().truncations != truncations {
            continue;
        }
        match copied {
            Err(ColdError::Changed) => {}
            Err(ColdError::Failed(error)) => return Err(error),
            Ok(entries) => return Ok(entries),
        }
    }
}

async fn copy_entries(
    log: &Log,
    segment: &Rc<Segment>,
    indexes: Range<u64>,
    bytes_max: usize,
) -> Result<Vec<Entry>, ColdError> {
    let base_index = segment.key.base_index;
    let plan = |ledger: &LedgerView| {
        let mut placed: Vec<PlacedEntry> = Vec::new();
        let mut bytes = 0;
        for index in indexes.clone() {
            let slot = u32::try_from(index - base_index).unwrap_or(u32::MAX);
            if slot >= ledger.len() {
                break;
            }
            let entry = ledger.get(slot)?;
            bytes += entry.size as usize;
            if bytes > bytes_max && !placed.is_empty() {
                break;
            }
            placed.push(PlacedEntry { index, entry });
        }
        Ok(placed)
    };
    let placed = before_damage(segment, log.look_up(segment, plan).await?)?;
    let loaded = log.load(segment, &placed).await?;
    let copied = placed.iter().take(loaded.entry_count).map(|PlacedEntry { index, entry }| {
        let mut header = Bytes::copy_from_slice(&loaded.entry(entry));
        let body = header.split_off(HEADER_LEN);
        Entry { index: *index, term: entry.term, header, body }
    });
    Ok(copied.collect())
}

/// What the ledger says of an entry, from memory or disk.
pub(crate) async fn load_meta(log: &Log, index: u64) -> Result<EntryMeta, ReadError> {
    loop {
        let segment = {
            let state = log.state.borrow();
            check_index(&state, index)?;
            if let Some(recent) = state.recent(index) {
                return Ok(recent.meta);
            }
            segment_of(&state, index)?
        };
        let slot = u32::try_from(index - segment.key.base_index).unwrap_or(u32::MAX);
        match log.look_up(&segment, |ledger| ledger.get(slot)).await {
            Ok(entry) if entry.damaged => {
                return Err(ReadError::Damaged(
                    PlacedEntry { index, entry }.damaged_range(&segment),
                ));
            }
            Ok(entry) => return Ok(entry.meta()),
            Err(ColdError::Changed) => {}
            Err(ColdError::Failed(error)) => return Err(error),
        }
    }
}

fn check_index(state: &LogState, index: u64) -> Result<(), ReadError> {
    let (first_index, last_index) = (state.first_index, state.last_index);
    if (first_index..=last_index).contains(&index) {
        return Ok(());
    }
    Err(ReadError::IndexOutOfRange { index, first_index, last_index })
}

/// The segment of an entry that is in the log and not in the cache.
fn segment_of(state: &LogState, index: u64) -> Result<Rc<Segment>, ReadError> {
    if let Some(gap) = state.gap_at_index(index) {
        return Err(ReadError::Damaged(gap));
    }
    let (first_index, last_index) = (state.first_index, state.last_index);
    let out_of_range = ReadError::IndexOutOfRange { index, first_index, last_index };
    state.segment_at_index(index).ok_or(out_of_range)
}
