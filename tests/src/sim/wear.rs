//! What wears out in a run: the disk of one machine, and links that come and go.
//!
//! Damage that stays (bits that flip, writes that land beside their place, sectors that cannot be
//! read) is done to one machine of a run, so that most replicas of a partition have every record.
//! And it is done where it can be told from a crash. No log can do that with the newest window: it
//! may as well not have been flushed when the power went. So bits flip in what is sealed, and
//! otherwise before the last flush mark but one; and a machine that has misdirected a write is
//! spared until its log has been flushed twice behind it.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_storage::disk::sim::Operation;
use thalweg_storage::disk::{Disk, OpenMode};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::dice::Dice;
use super::machine::Machine;
use super::network::Net;
use super::toll::Misfortune;
use super::trace::Trace;

/// In the middle of every flush mark: docs/internals/log-format.md.
const MARK_MAGIC: &[u8] = b"twflmark";
const MAGIC_AT: usize = 65;
const MARK_LEN: usize = 128;
/// Where a mark says where its window begins.
const WINDOW_START_AT: usize = 73;
/// Marks that prove that a window was flushed: its own may have gone astray with it, the next
/// one's flush may be under way.
const MARKS_THAT_PROVE: usize = 3;
/// A log that is not written to misdirects nothing.
const MISDIRECTED_WITHIN: Duration = Duration::from_secs(3);

/// Whatever wears out.
pub(super) struct Wear {
    /// All machines.
    pub(super) machines: Vec<Rc<Machine>>,
    /// The one whose disk fails.
    pub(super) worn: Rc<Machine>,
    /// The way between them.
    pub(super) net: Rc<Net>,
    /// The run's log.
    pub(super) trace: Rc<Trace>,
    /// What decides.
    pub(super) dice: Dice,
    /// When it is over.
    pub(super) end: Instant,
}

impl Wear {
    /// Lets things wear out until the end.
    pub(super) async fn run(self: Rc<Self>) {
        self.note(&format!("the disk of {} is bad", self.worn.host));
        loop {
            sleep(self.dice.millis(100, 1500)).await;
            if Instant::now() >= self.end {
                return;
            }
            match self.dice.below(6) {
                0..=2 => self.flip().await,
                3 => self.misdirect().await,
                4 => self.fail_a_read(),
                _ => self.flap(),
            }
        }
    }

    fn note(&self, what: &str) {
        self.trace.note(&format!("wear: {what}"));
    }

    /// Flips a bit for good.
    async fn flip(&self) {
        let disk = self.worn.disk().reopen();
        let Ok(files) = log_files(&disk).await else { return };
        if files.is_empty() {
            return;
        }
        let file = self.dice.pick(&files);
        let Ok(bytes) = content(&disk, &file.path).await else { return };
        let end = if file.sealed { bytes.len() } else { file.proven(&bytes) };
        if end == 0 {
            return;
        }
        let (position, bit) = (self.dice.below(end as u64), self.dice.below(8));
        if disk.flip_bit(&file.path, position, u8::try_from(bit).unwrap_or(0)).is_ok() {
            self.note(&format!("bit {bit} of byte {position} of {}", file.path.display()));
        }
    }

    /// Lets the next write to a log land beside its place.
    async fn misdirect(&self) {
        let disk = self.worn.disk().reopen();
        let Ok(mut files) = log_files(&disk).await else { return };
        files.retain(|file| !file.sealed && file.is_log());
        if files.is_empty() || self.worn.is_spared() || !self.worn.is_up() {
            return;
        }
        let path = self.dice.pick(&files).path.clone();
        let Ok(bytes) = content(&disk, &path).await else { return };
        let written = marks(&bytes).last().map_or(0, |mark| mark + MARK_LEN);
        // What else was planned for this disk would end the process.
        self.worn.disk().clear_faults();
        let shift = 1 + self.dice.below(8192);
        if disk.misdirect_next_write_to(&path, shift).is_err() {
            return;
        }
        self.worn.spare(true);
        self.note(&format!("the next write to {} lands {shift} bytes beyond", path.display()));
        let (worn, before) = (Rc::clone(&self.worn), self.worn.disk().struck().misdirected);
        spawn_local(async move {
            let since = Instant::now();
            loop {
                sleep(Duration::from_millis(20)).await;
                let disk = worn.disk().reopen();
                let struck = disk.struck().misdirected > before;
                if struck && is_proven(&disk, &path, written).await {
                    break;
                }
                if !struck && since.elapsed() > MISDIRECTED_WITHIN {
                    worn.disk().clear_faults();
                    break;
                }
            }
            worn.spare(false);
        });
    }

    /// Lets a read fail: of a file, or of a map.
    fn fail_a_read(&self) {
        let operation = *self.dice.pick(&[Operation::Read, Operation::MakeResident]);
        self.note(&format!("EIO on the next read of {} ({operation:?})", self.worn.host));
        self.worn.disk().fail_next(operation, libc::EIO, 1);
    }

    /// Lets a link come and go, in one direction or both.
    fn flap(&self) {
        let hosts = self.dice.shuffled(&self.machines);
        let [from, to, ..] = hosts.as_slice() else { return };
        let (from, to, both) = (from.host, to.host, self.dice.one_in(2));
        let (times, pause) = (3 + self.dice.below(10), self.dice.millis(30, 400));
        self.note(&format!("the link from {from} to {to} comes and goes {times} times"));
        self.trace.struck(Misfortune::Flapping);
        let (net, end) = (Rc::clone(&self.net), self.end);
        spawn_local(async move {
            for _ in 0..times {
                if Instant::now() + pause >= end {
                    break;
                }
                net.cut(from, to);
                if both {
                    net.cut(to, from);
                }
                sleep(pause).await;
                net.mend(from, to);
                net.mend(to, from);
                sleep(pause).await;
            }
        });
    }
}

/// A segment's `.log`, or its ledger.
struct LogFile {
    path: PathBuf,
    /// It has a successor.
    sealed: bool,
}

impl LogFile {
    fn is_log(&self) -> bool {
        self.path.extension().is_some_and(|it| it == "log")
    }

    /// Position below which a later mark proves that an unsealed log was durable. Its ledger is not
    /// read again before the next start.
    fn proven(&self, bytes: &[u8]) -> usize {
        let marks = if self.is_log() { marks(bytes) } else { Vec::new() };
        let Some(last_but_one) = marks.iter().rev().nth(1) else { return 0 };
        let start = bytes.get(last_but_one + WINDOW_START_AT..).and_then(|it| it.first_chunk());
        let start = start.map_or(0, |start| u32::from_be_bytes(*start));
        usize::try_from(start).unwrap_or(0)
    }
}

/// Where the marks of a log begin.
fn marks(bytes: &[u8]) -> Vec<usize> {
    let magics = bytes.windows(MARK_MAGIC.len()).enumerate();
    let magics = magics.filter(|(_, window)| *window == MARK_MAGIC);
    magics.filter_map(|(at, _)| at.checked_sub(MAGIC_AT)).collect()
}

/// Whether a log proves by now that what was written behind `written` was flushed; or has none of
/// it any more.
async fn is_proven(disk: &dyn Disk, path: &Path, written: usize) -> bool {
    let Ok(files) = log_files(disk).await else { return false };
    let Some(file) = files.iter().find(|file| file.path == *path) else { return true };
    let Ok(bytes) = content(disk, path).await else { return false };
    let behind = marks(&bytes).into_iter().filter(|mark| *mark >= written).count();
    file.sealed || bytes.len() < written || behind >= MARKS_THAT_PROVE
}

async fn content(disk: &dyn Disk, path: &Path) -> io::Result<Bytes> {
    let file = disk.open(path, OpenMode::Existing).await?;
    let len = usize::try_from(file.len().await?).map_err(io::Error::other)?;
    file.read_at(0, len).await
}

/// Segments and ledgers of all topics on a disk.
async fn log_files(disk: &dyn Disk) -> io::Result<Vec<LogFile>> {
    let mut paths = Vec::new();
    let mut dirs = vec![PathBuf::from("/data/topics")];
    while let Some(dir) = dirs.pop() {
        for entry in disk.list_dir(&dir).await? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == "log" || it == "idx") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let sealed = |path: &PathBuf| {
        let same_dir = paths.iter().filter(|other| other.parent() == path.parent());
        same_dir.filter_map(|other| other.file_stem()).max() > path.file_stem()
    };
    Ok(paths.iter().map(|path| LogFile { path: path.clone(), sealed: sealed(path) }).collect())
}
