//! Looking at a log without a broker: `thalweg log verify` and `thalweg log dump`.
//!
//! Only reads, with plain blocking calls, and may be pointed at the files of a running broker: what
//! it is writing at that moment looks like a torn tail.

mod dump;
mod file;

pub use self::dump::{Dump, DumpedFrame, FrameKind, dump};

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use uuid::Uuid;

use crate::damage::DamagedRange;
use crate::examine::{Examination, LedgerImage, Scope, SegmentFiles, examine};
use crate::frame::Chain;
use crate::ledger::{LEDGER_ENTRIES_START, LedgerHeader};
use crate::ledger_entry::LedgerEntry;
use crate::log::LogIdentity;
use crate::segment::SegmentKey;

use self::file::{open, read_start};

/// What a whole log holds, every byte looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// One for each segment, oldest first.
    pub segments: Vec<VerifiedSegment>,
    /// All that is damaged or missing, oldest first.
    pub damaged: Vec<DamagedRange>,
}

/// What one segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSegment {
    /// The segment's `.log` file.
    pub path: PathBuf,
    /// Indexes of its entries.
    pub indexes: std::ops::Range<u64>,
    /// Offsets of its records.
    pub offsets: std::ops::Range<i64>,
    /// Whether its ledger has a footer.
    pub sealed: bool,
    /// Whether its ledger says exactly what the log says. If not, the next start of the broker or
    /// the next reader rebuilds it: nothing is lost.
    pub ledger_intact: bool,
    /// Bytes of valid frames.
    pub bytes: u64,
    /// Bytes behind the last valid frame that nothing proves to have been durable: what was being
    /// written when the process or the power went. Preallocated zeroes do not count.
    pub bytes_torn: u64,
}

/// Verifies every frame of the log in a partition's directory.
pub fn verify(dir: &Path) -> io::Result<VerifyReport> {
    let identity = find_identity(dir)?;
    let mut report = VerifyReport::default();
    let mut expected: Option<Chain> = None;
    let keys = segments(dir, identity)?;
    let last = keys.last().copied();
    for key in keys {
        let begins = Chain { next_index: key.base_index, next_offset: key.base_offset, term: None };
        let chain = match expected {
            Some(Chain { term, .. }) if expected == Some(Chain { term, ..begins }) => {
                Chain { term, ..begins }
            }
            Some(before) => {
                report.damaged.push(missing(dir, before, key));
                begins
            }
            None => begins,
        };
        let examined = verify_segment(dir, key, chain, last == Some(key))?;
        expected = Some(examined.examination.chain);
        report.damaged.extend(examined.damaged);
        report.segments.push(examined.segment);
    }
    Ok(report)
}

struct Examined {
    segment: VerifiedSegment,
    damaged: Vec<DamagedRange>,
    examination: Examination,
}

fn verify_segment(
    dir: &Path,
    key: SegmentKey,
    chain: Chain,
    is_last: bool,
) -> io::Result<Examined> {
    let path = key.log_path(dir);
    let files = SegmentFiles { key, log: open(&path)?, ledger: open(&key.ledger_path(dir))? };
    let image = match &files.ledger {
        Some(ledger) => now(LedgerImage::load(&**ledger, &key))?,
        None => LedgerImage::default(),
    };
    let known_end = image.slots.iter().flatten().last().map_or(0, LedgerEntry::end);
    let file_len = match &files.log {
        Some(log) => log.len().now_or_never().unwrap_or(Ok(0))?,
        None => 0,
    };
    let proven = if is_last && files.log.is_some() { 0 } else { known_end.max(file_len) };
    let term = chain.term.or(image.header.and_then(|header| header.prev_term));
    let scope = Scope { proven, known_end: (0, 0), verify_all: true };
    let examination = now(examine(&files, &image, Chain { term, ..chain }, scope))?;
    let damaged = examination.damaged.iter().map(|damage| damage.range(key, dir));
    let segment = VerifiedSegment {
        path,
        indexes: key.base_index..examination.chain.next_index,
        offsets: key.base_offset..examination.chain.next_offset,
        sealed: image.footer.is_some(),
        ledger_intact: examination.ledger_intact,
        bytes: examination.bytes_verified,
        bytes_torn: if examination.torn { file_len.saturating_sub(examination.end) } else { 0 },
    };
    Ok(Examined { segment, damaged: damaged.collect(), examination })
}

fn missing(dir: &Path, before: Chain, key: SegmentKey) -> DamagedRange {
    let Chain { next_index: base_index, next_offset: base_offset, .. } = before;
    DamagedRange {
        path: SegmentKey { base_offset, base_index, ..key }.log_path(dir),
        positions: 0..0,
        indexes: base_index..key.base_index.max(base_index),
        offsets: base_offset..key.base_offset.max(base_offset),
    }
}

/// The segments of a directory, oldest first.
fn segments(dir: &Path, identity: LogIdentity) -> io::Result<Vec<SegmentKey>> {
    let mut keys = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let key = name.to_str().and_then(|name| SegmentKey::parse_name(identity, name));
        if let Some((key, _)) = key {
            keys.insert((key.base_index, key.base_offset), key);
        }
    }
    Ok(keys.into_values().collect())
}

/// Whose log it is, as any ledger says, or else the path: `<topic id>/<partition>`.
fn find_identity(dir: &Path) -> io::Result<LogIdentity> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx")
            && let Some(header) = LedgerHeader::find(&read_start(&path, LEDGER_ENTRIES_START)?)
        {
            return Ok(header.key.identity);
        }
    }
    let absolute = std::path::absolute(dir)?;
    let mut names = absolute.components().rev().filter_map(|name| name.as_os_str().to_str());
    let partition = names.next().and_then(|name| name.parse().ok());
    let topic = names.next().and_then(|name| Uuid::parse_str(name).ok());
    let identity = topic.zip(partition).map(|(topic, partition)| LogIdentity { topic, partition });
    identity.ok_or_else(|| {
        let reason = "no ledger says which partition this is, nor does the path";
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

/// The result of a future that only reads files of this module, which never wait.
fn now<T>(reading: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let waited = || io::Error::new(io::ErrorKind::WouldBlock, "a plain file never waits");
    reading.now_or_never().unwrap_or_else(|| Err(waited()))
}
