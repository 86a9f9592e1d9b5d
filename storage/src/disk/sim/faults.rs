//! The faults waiting to happen to a simulated disk.

use std::io;

use super::tree::InodeId;

/// What an operation does, for choosing which one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Disk::open`.
    Open,
    /// `Disk::create_dir_all`.
    CreateDir,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove_file` and `Disk::remove_dir_all`.
    Remove,
    /// `Disk::list_dir`.
    List,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::space` and `DiskFile::len`.
    Stat,
    /// `DiskFile::read_at`.
    Read,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::sync_data` and `DiskFile::sync_all`.
    Sync,
    /// `DiskFile::allocate`.
    Allocate,
    /// `DiskFile::truncate`.
    Truncate,
    /// `DiskFile::map`.
    Map,
    /// `Mapping::make_resident`.
    MakeResident,
}

/// How often this disk has failed its user so far, by what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    /// Writes, or pages of them, of which a crash left a part.
    pub torn: u64,
    /// Writes that landed elsewhere.
    pub misdirected: u64,
    /// Bits that flipped.
    pub flipped: u64,
    /// Reads, of files and of maps, that failed as planted.
    pub failed_reads: u64,
    /// Writes that failed as planted.
    pub failed_writes: u64,
    /// Syncs that failed as planted.
    pub failed_syncs: u64,
    /// Operations for which there was no space.
    pub full: u64,
}

struct Failure {
    operation: Operation,
    errno: i32,
    left: u32,
}

/// Faults in the order they were planted; each operation takes its own when it starts.
#[derive(Default)]
pub(super) struct Faults {
    failures: Vec<Failure>,
    misdirections: Vec<Misdirection>,
    lies: u32,
    pub(super) struck: Struck,
}

/// A write that will land elsewhere: the next one, or the next one to that file.
struct Misdirection {
    file: Option<InodeId>,
    shift: u64,
}

impl Faults {
    pub(super) fn fail_next(&mut self, operation: Operation, errno: i32, count: u32) {
        self.failures.push(Failure { operation, errno, left: count });
    }

    pub(super) fn misdirect_next_write(&mut self, file: Option<InodeId>, shift: u64) {
        self.misdirections.push(Misdirection { file, shift });
    }

    pub(super) fn lie_next_sync(&mut self) {
        self.lies += 1;
    }

    pub(super) fn clear(&mut self) {
        *self = Faults { struck: self.struck, ..Faults::default() };
    }

    pub(super) fn take_failure(&mut self, operation: Operation) -> Option<io::Error> {
        let next = |failure: &&mut Failure| failure.operation == operation && failure.left > 0;
        let failure = self.failures.iter_mut().find(next)?;
        failure.left -= 1;
        match operation {
            Operation::Read | Operation::MakeResident => self.struck.failed_reads += 1,
            Operation::Write => self.struck.failed_writes += 1,
            Operation::Sync => self.struck.failed_syncs += 1,
            _ => {}
        }
        Some(io::Error::from_raw_os_error(failure.errno))
    }

    /// How far beyond its place the next write to `file` lands.
    pub(super) fn take_misdirection(&mut self, file: InodeId) -> u64 {
        let meant = |it: &Misdirection| it.file.is_none_or(|meant| meant == file);
        let Some(at) = self.misdirections.iter().position(meant) else { return 0 };
        self.struck.misdirected += 1;
        self.misdirections.remove(at).shift
    }

    pub(super) fn note_full(&mut self, outcome: &io::Result<()>) {
        let full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOSPC);
        self.struck.full += u64::from(outcome.as_ref().err().is_some_and(full));
    }

    /// Whether the next sync only claims to have happened.
    pub(super) fn take_lie(&mut self) -> bool {
        let lies = self.lies > 0;
        self.lies -= u32::from(lies);
        lies
    }
}
