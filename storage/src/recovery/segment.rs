//! Recovering one segment: trusting its footer, or examining it and settling what was found.
//!
//! Called by recovery for each segment, oldest first. What it returns is as durable as it says;
//! what it cannot vouch for is reported as damage and left as it lies.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::active::Active;
use crate::damage::DamagedRange;
use crate::disk::{DiskFile, OpenMode};
use crate::error::OpenError;
use crate::examine::{Damage, Examination, LedgerImage, Scope, SegmentFiles, examine};
use crate::footer::{Footer, FooterEpoch};
use crate::frame::Chain;
use crate::ledger::{FORMAT_VERSION, LedgerHeader, slot_position};
use crate::ledger_entry::LedgerEntry;
use crate::ledger_file::{RebuiltLedger, read_ends};
use crate::log::OpenLog;
use crate::segment::{Extent, Segment, SegmentKey};

use super::SegmentReport;

/// A segment by its names in the directory.
pub(super) struct FoundSegment {
    pub(super) key: SegmentKey,
    pub(super) has_log: bool,
    pub(super) has_ledger: bool,
}

/// A segment that is in order, or set aside.
pub(super) struct RecoveredSegment {
    pub(super) segment: Rc<Segment>,
    /// All entries, if any of them may not be applied yet.
    pub(super) entries: Vec<LedgerEntry>,
    pub(super) epochs: Vec<FooterEpoch>,
    pub(super) chain: Chain,
    pub(super) prev_term: Option<u32>,
    /// What the writer goes on with, if this is the last segment and not sealed.
    pub(super) active: Option<Active>,
    pub(super) report: SegmentReport,
    pub(super) damaged: Vec<DamagedRange>,
}

impl FoundSegment {
    /// Removes the files.
    pub(super) async fn remove(&self, open: &OpenLog) -> Result<(), OpenError> {
        if self.has_ledger {
            open.disk.remove_file(&self.key.ledger_path(&open.dir)).await?;
        }
        if self.has_log {
            open.disk.remove_file(&self.key.log_path(&open.dir)).await?;
        }
        Ok(())
    }

    async fn open(&self, open: &OpenLog) -> Result<SegmentFiles, OpenError> {
        let file = async |exists: bool, path: PathBuf| -> Result<_, OpenError> {
            if !exists {
                return Ok(None);
            }
            Ok(Some(open.disk.open(&path, OpenMode::Existing).await?))
        };
        Ok(SegmentFiles {
            key: self.key,
            log: file(self.has_log, self.key.log_path(&open.dir)).await?,
            ledger: file(self.has_ledger, self.key.ledger_path(&open.dir)).await?,
        })
    }
}

/// Recovers a segment that should begin as `expected` says; its term may be unknown.
pub(super) async fn recover_segment(
    open: &OpenLog,
    found: &FoundSegment,
    expected: Chain,
    is_last: bool,
) -> Result<RecoveredSegment, OpenError> {
    let files = found.open(open).await?;
    let key = files.key;
    let (header, footer) = match &files.ledger {
        Some(ledger) => read_ends(&**ledger, key.crc_seed()).await?,
        None => (None, None),
    };
    if let Some(header) = header {
        check_home(&header, key, &key.ledger_path(&open.dir))?;
    }
    let prev_term = expected.term.or(header.and_then(|header| header.prev_term));
    let chain = Chain { term: prev_term, ..expected };
    if let Some(footer) = footer
        && let Some(trusted) = trust(open, &files, footer, chain, is_last).await?
    {
        return Ok(trusted);
    }
    let image = match &files.ledger {
        Some(ledger) => LedgerImage::load(&**ledger, &key).await?,
        None => LedgerImage::default(),
    };
    let proven = proven(&files, &image, is_last).await?;
    let scope = Scope { proven, known_end: (0, 0), verify_all: false };
    let examination = examine(&files, &image, chain, scope).await?;
    Settlement { open, files, prev_term, examination }.settle(is_last).await
}

/// A file in another partition's directory, or from a newer version, is not to be touched.
pub(crate) fn check_home(
    header: &LedgerHeader,
    key: SegmentKey,
    path: &Path,
) -> Result<(), OpenError> {
    let path = path.to_path_buf();
    if header.version > FORMAT_VERSION {
        let (found, supported) = (header.version, FORMAT_VERSION);
        return Err(OpenError::NewerFormat { path, found, supported });
    }
    if header.key != key {
        let SegmentKey { identity, base_offset, base_index } = header.key;
        let (topic, partition) = (identity.topic, identity.partition);
        let found = format!("topic {topic} partition {partition} at {base_offset}-{base_index}");
        return Err(OpenError::Foreign { path, found });
    }
    Ok(())
}

/// Log position up to which the segment was durable because of what is outside of its ledger: a
/// successor is created only when all before it is sealed, and a ledger with entries only where a
/// `.log` is.
async fn proven(
    files: &SegmentFiles,
    image: &LedgerImage,
    is_last: bool,
) -> Result<u64, OpenError> {
    let known_end = image.slots.iter().flatten().last().map_or(0, LedgerEntry::end);
    match &files.log {
        None => Ok(known_end),
        Some(_) if is_last => Ok(0),
        Some(log) => Ok(known_end.max(log.len().await?)),
    }
}

/// The segment as its footer describes it, unless its files contradict.
///
/// The last one is looked at more closely: its ledger is rebuilt now or never, because readers
/// leave the last ledger to the writer, and without an entry its successor would have its name.
async fn trust(
    open: &OpenLog,
    files: &SegmentFiles,
    footer: Footer,
    chain: Chain,
    is_last: bool,
) -> Result<Option<RecoveredSegment>, OpenError> {
    let key = files.key;
    if is_last && footer.entry_count == 0 {
        return Ok(None);
    }
    let file_len = match &files.log {
        Some(log) => log.len().await?,
        None => 0,
    };
    if file_len < footer.file_len {
        return Ok(None);
    }
    let next_index = key.base_index + u64::from(footer.entry_count);
    let mut entries = Vec::new();
    if (is_last || next_index - 1 > open.applied || footer.damaged_count > 0)
        && let Some(ledger) = &files.ledger
    {
        let image = LedgerImage::load(&**ledger, &key).await?;
        entries = image.slots.into_iter().flatten().collect();
        if entries.len() != footer.entry_count as usize {
            return Ok(None);
        }
    }
    let Footer { entry_count, log_len, next_offset, max_timestamp, last_term, .. } = footer;
    let extent = Extent { entry_count, log_len, next_offset, max_timestamp };
    let segment = Segment::new(key, &open.dir, open.shared.next_segment_id(), extent);
    let damaged = flagged(&entries, &segment);
    damaged.iter().for_each(|range| {
        segment.add_damage(range.clone());
    });
    Ok(Some(RecoveredSegment {
        report: SegmentReport {
            path: segment.log_path.clone(),
            sealed: true,
            entries_verified: 0,
            bytes_verified: 0,
            bytes_cut: 0,
            ledger_rebuilt: false,
        },
        segment: Rc::new(segment),
        entries,
        epochs: footer.epochs,
        chain: Chain { next_index, next_offset, term: Some(last_term) },
        prev_term: chain.term,
        active: None,
        damaged,
    }))
}

/// The runs of entries that an earlier recovery flagged as damaged, each up to where the next entry
/// lies: what the flagged ones say of their sizes may be a guess.
fn flagged(entries: &[LedgerEntry], segment: &Segment) -> Vec<DamagedRange> {
    let mut ranges: Vec<DamagedRange> = Vec::new();
    let nexts = entries.iter().skip(1).map(|next| u64::from(next.position));
    let ends = nexts.chain([segment.extent().log_len.into()]);
    for ((entry, index), end) in entries.iter().zip(segment.key.base_index..).zip(ends) {
        if !entry.damaged {
            continue;
        }
        let positions = u64::from(entry.position)..end.max(entry.end());
        match ranges.last_mut().filter(|last| last.indexes.end == index) {
            Some(last) => {
                last.positions.end = last.positions.end.max(positions.end);
                last.indexes.end = index + 1;
                last.offsets.end = entry.next_offset();
            }
            None => ranges.push(DamagedRange {
                path: segment.log_path.clone(),
                positions,
                indexes: index..index + 1,
                offsets: entry.base_offset..entry.next_offset(),
            }),
        }
    }
    ranges
}

/// An examined segment, about to be put in order.
struct Settlement<'a> {
    open: &'a OpenLog,
    files: SegmentFiles,
    prev_term: Option<u32>,
    examination: Examination,
}

impl Settlement<'_> {
    async fn settle(self, is_last: bool) -> Result<RecoveredSegment, OpenError> {
        if !is_last {
            return self.seal().await;
        }
        if self.examination.damaged.is_empty() {
            return self.resume().await;
        }
        if self.examination.entries.is_empty() {
            return self.set_aside().await;
        }
        self.seal().await
    }

    fn report(&self, ledger_rebuilt: bool) -> SegmentReport {
        let Examination { entries_verified, bytes_verified, file_len, end, torn, .. } =
            self.examination;
        let path = self.files.key.log_path(&self.open.dir);
        let bytes_cut = if torn { file_len.saturating_sub(end) } else { 0 };
        if torn {
            tracing::warn!(path = %path.display(), end, bytes_cut, "cut a torn tail");
        }
        SegmentReport {
            path,
            sealed: false,
            entries_verified,
            bytes_verified,
            bytes_cut,
            ledger_rebuilt,
        }
    }

    fn damaged(&self) -> Vec<DamagedRange> {
        let range = |damage: &Damage| damage.range(self.files.key, &self.open.dir);
        self.examination.damaged.iter().map(range).collect()
    }

    async fn replace_ledger(&self, footer: Option<Footer>) -> Result<Rc<dyn DiskFile>, OpenError> {
        let examination = &self.examination;
        let durable = examination.durable.min(examination.end);
        let rebuilt = RebuiltLedger {
            key: self.files.key,
            prev_term: self.prev_term,
            durable_position: u32::try_from(durable).unwrap_or(0),
            entries: &examination.entries,
            footer,
        };
        Ok(rebuilt.replace(&*self.open.disk, &self.open.dir).await?)
    }

    fn done(
        self,
        segment: Rc<Segment>,
        active: Option<Active>,
        ledger_rebuilt: bool,
    ) -> RecoveredSegment {
        let damaged = self.damaged();
        for range in &damaged {
            segment.add_damage(range.clone());
        }
        RecoveredSegment {
            segment,
            report: self.report(ledger_rebuilt),
            epochs: self.examination.footer().epochs,
            chain: self.examination.chain,
            entries: self.examination.entries,
            prev_term: self.prev_term,
            active,
            damaged,
        }
    }

    fn segment(&self) -> Rc<Segment> {
        let (dir, id) = (&self.open.dir, self.open.shared.next_segment_id());
        Rc::new(Segment::new(self.files.key, dir, id, self.examination.extent()))
    }

    /// Damage that leaves nothing to number a successor by: the `.log` gets out of the way, and an
    /// empty one under its name keeps what the name says of the log before.
    async fn set_aside(mut self) -> Result<RecoveredSegment, OpenError> {
        if self.files.log.take().is_some() {
            let path = self.files.key.log_path(&self.open.dir);
            self.open.disk.rename(&path, &self.unused_path().await?).await?;
        }
        self.files.ledger = None;
        self.examination.start_over();
        self.resume().await
    }

    /// Where nothing lies that was set aside before.
    async fn unused_path(&self) -> Result<PathBuf, OpenError> {
        let path = self.files.key.log_path(&self.open.dir);
        let mut candidate = path.with_extension("log.damaged");
        for number in 2.. {
            match self.open.disk.open(&candidate, OpenMode::Existing).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                found => drop(found?),
            }
            candidate = path.with_extension(format!("log.damaged-{number}"));
        }
        Ok(candidate)
    }

    /// The segment stays as it is; a new ledger says what is good in it and what is not.
    async fn seal(self) -> Result<RecoveredSegment, OpenError> {
        self.replace_ledger(Some(self.examination.footer())).await?;
        let segment = self.segment();
        Ok(self.done(segment, None, true))
    }

    /// The log goes on in this segment, behind the last valid frame.
    async fn resume(self) -> Result<RecoveredSegment, OpenError> {
        let path = self.files.key.log_path(&self.open.dir);
        let log = match &self.files.log {
            Some(log) => Rc::clone(log),
            None => self.open.disk.open(&path, OpenMode::CreateIfMissing).await?,
        };
        let Examination { end, file_len, torn, durable, .. } = self.examination;
        if torn {
            log.truncate(end).await?;
            log.sync_all().await?;
        } else if end > durable {
            log.sync_data().await?;
        }
        // After the log, so that an announced cut is done before it is forgotten.
        let entry_count = self.examination.extent().entry_count;
        let (ledger, ledger_rebuilt) = match &self.files.ledger {
            Some(ledger) if self.examination.ledger_intact => {
                if ledger.len().await? > slot_position(entry_count) {
                    // A footer that was never finished, or zeroes.
                    ledger.truncate(slot_position(entry_count)).await?;
                }
                (Rc::clone(ledger), false)
            }
            _ => (self.replace_ledger(None).await?, true),
        };
        if self.files.log.is_none() {
            self.open.disk.sync_dir(&self.open.dir).await?;
        }
        let segment = self.segment();
        let mut active = Active::resume(Rc::clone(&segment), log, ledger, &self.examination);
        active.allocated = if torn { end } else { file_len };
        Ok(self.done(segment, Some(active), ledger_rebuilt))
    }
}
