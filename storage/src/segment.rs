//! One segment of the log: a `.log` file of batches and the `.idx` ledger that describes it.
//!
//! Files are named `<base offset>-<base index>`, 20 digits each. The offset is what operators look
//! for; the index makes the name unique also for segments that hold internal entries only, and
//! spares recovery from guessing it.
//!
//! Readers see a segment through [`Extent`], which the writer moves on after each completed write.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use crate::damage::DamagedRange;
use crate::log::LogIdentity;
use crate::repair::Mended;

/// Which segment of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SegmentKey {
    pub(crate) identity: LogIdentity,
    pub(crate) base_offset: i64,
    pub(crate) base_index: u64,
}

impl SegmentKey {
    /// Start value of every checksum in the segment's files, so that nothing from elsewhere
    /// validates.
    pub(crate) fn crc_seed(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.identity.topic.as_bytes());
        hasher.update(&self.identity.partition.to_be_bytes());
        hasher.update(&self.base_offset.to_be_bytes());
        hasher.update(&self.base_index.to_be_bytes());
        hasher.finalize()
    }

    pub(crate) fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:020}.log", self.base_offset, self.base_index))
    }

    pub(crate) fn ledger_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:020}.idx", self.base_offset, self.base_index))
    }

    /// The key and extension in a file's name; `None` for files that are not a segment's.
    pub(crate) fn parse_name(identity: LogIdentity, name: &str) -> Option<(Self, SegmentFile)> {
        let (stem, extension) = name.rsplit_once('.')?;
        let file = match extension {
            "log" => SegmentFile::Log,
            "idx" => SegmentFile::Ledger,
            _ => return None,
        };
        let (offset, index) = stem.split_once('-')?;
        let number = |digits: &str| {
            let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok())?
        };
        let base_offset = i64::try_from(number(offset)?).ok()?;
        let base_index = number(index).filter(|index| *index > 0)?;
        Some((SegmentKey { identity, base_offset, base_index }, file))
    }
}

/// Which of a segment's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SegmentFile {
    Log,
    Ledger,
}

/// How far a segment reaches, as far as its files have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Slots of the ledger.
    pub(crate) entry_count: u32,
    /// Position after the last frame.
    pub(crate) log_len: u32,
    /// Offset after the last entry.
    pub(crate) next_offset: i64,
    /// Largest timestamp of a record; −1 if there is none.
    pub(crate) max_timestamp: i64,
}

/// A segment as readers see it. Sealed ones never change; the active one grows.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: SegmentKey,
    /// Start value of the checksums in its files.
    pub(crate) seed: u32,
    /// Names the segment among all of the shard, also after a namesake replaced it.
    pub(crate) id: u64,
    pub(crate) log_path: PathBuf,
    pub(crate) ledger_path: PathBuf,
    extent: Cell<Extent>,
    /// Whether the writer has the files open.
    writing: Cell<bool>,
    /// Counts the cuts: bytes read before one mean nothing after it.
    generation: Cell<u64>,
    damaged: RefCell<Vec<DamagedRange>>,
}

impl Segment {
    pub(crate) fn new(key: SegmentKey, dir: &Path, id: u64, extent: Extent) -> Self {
        Segment {
            key,
            seed: key.crc_seed(),
            id,
            log_path: key.log_path(dir),
            ledger_path: key.ledger_path(dir),
            extent: Cell::new(extent),
            writing: Cell::new(false),
            generation: Cell::new(0),
            damaged: RefCell::default(),
        }
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent.get()
    }

    pub(crate) fn set_extent(&self, extent: Extent) {
        self.extent.set(extent);
    }

    /// The index after the last entry written.
    pub(crate) fn next_index(&self) -> u64 {
        self.key.base_index + u64::from(self.extent.get().entry_count)
    }

    pub(crate) fn is_being_written(&self) -> bool {
        self.writing.get()
    }

    pub(crate) fn set_being_written(&self, writing: bool) {
        self.writing.set(writing);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// To be called before the files are cut.
    pub(crate) fn on_cut(&self, extent: Extent) {
        self.generation.set(self.generation.get() + 1);
        self.extent.set(extent);
        let next_index = self.next_index();
        self.damaged.borrow_mut().retain_mut(|range| {
            range.truncate(next_index, extent.next_offset, extent.log_len.into())
        });
    }

    /// Remembers a damaged range; returns whether it was news.
    pub(crate) fn add_damage(&self, range: DamagedRange) -> bool {
        let mut damaged = self.damaged.borrow_mut();
        let news = !damaged.contains(&range);
        if news {
            damaged.push(range);
        }
        news
    }

    /// Forgets damage that has been repaired; keeps what is left of ranges on either side.
    pub(crate) fn mend(&self, mended: &Mended) {
        let Mended { indexes, offsets, positions } = mended;
        let mut damaged = self.damaged.borrow_mut();
        for range in std::mem::take(&mut *damaged) {
            let is_framing = range.indexes.is_empty();
            let left = |rest: &DamagedRange| match is_framing {
                true => !rest.positions.is_empty(),
                false => !rest.indexes.is_empty(),
            };
            let mut front = range.clone();
            front.truncate(indexes.start, offsets.start, positions.start);
            let back = DamagedRange {
                indexes: range.indexes.start.max(indexes.end)..range.indexes.end,
                offsets: range.offsets.start.max(offsets.end)..range.offsets.end,
                positions: range.positions.start.max(positions.end)..range.positions.end,
                path: range.path,
            };
            damaged.extend([front, back].into_iter().filter(left));
        }
    }

    pub(crate) fn damage(&self) -> Vec<DamagedRange> {
        self.damaged.borrow().clone()
    }

    /// The damaged range that holds `index`, if one does.
    pub(crate) fn damage_at(&self, index: u64) -> Option<DamagedRange> {
        self.damaged.borrow().iter().find(|range| range.indexes.contains(&index)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const IDENTITY: LogIdentity = LogIdentity { topic: Uuid::nil(), partition: 3 };

    #[test]
    fn a_name_is_read_back() {
        let key = SegmentKey { identity: IDENTITY, base_offset: 42, base_index: 57 };
        let path = key.log_path(Path::new("p"));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, "00000000000000000042-00000000000000000057.log");
        assert_eq!(SegmentKey::parse_name(IDENTITY, name), Some((key, SegmentFile::Log)));
    }

    #[test]
    fn other_names_are_not_segments() {
        let foreign = [
            "log-start",
            "00000000000000000042-00000000000000000000.log",
            "42-57.log",
            "00000000000000000042-00000000000000000057.tmp",
            "00000000000000000042-0000000000000000005x.log",
            "+0000000000000000042-00000000000000000057.log",
            "99999999999999999999-00000000000000000057.log",
        ];
        for name in foreign {
            assert_eq!(SegmentKey::parse_name(IDENTITY, name), None, "{name}");
        }
    }

    #[test]
    fn seeds_differ_by_every_part_of_the_key() {
        let key = SegmentKey { identity: IDENTITY, base_offset: 42, base_index: 57 };
        let others = [
            SegmentKey { base_offset: 43, ..key },
            SegmentKey { base_index: 58, ..key },
            SegmentKey { identity: LogIdentity { partition: 4, ..IDENTITY }, ..key },
            SegmentKey { identity: LogIdentity { topic: Uuid::max(), ..IDENTITY }, ..key },
        ];
        for other in others {
            assert_ne!(key.crc_seed(), other.crc_seed(), "{other:?}");
        }
    }
}
