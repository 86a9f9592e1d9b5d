//! The faults waiting to happen to a simulated disk.

use std::io;

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

struct Failure {
    operation: Operation,
    errno: i32,
    left: u32,
}

/// Faults in the order they were planted; each operation takes its own when it starts.
#[derive(Default)]
pub(super) struct Faults {
    failures: Vec<Failure>,
    misdirections: Vec<u64>,
    lies: u32,
}

impl Faults {
    pub(super) fn fail_next(&mut self, operation: Operation, errno: i32, count: u32) {
        self.failures.push(Failure { operation, errno, left: count });
    }

    pub(super) fn misdirect_next_write(&mut self, shift: u64) {
        self.misdirections.push(shift);
    }

    pub(super) fn lie_next_sync(&mut self) {
        self.lies += 1;
    }

    pub(super) fn clear(&mut self) {
        *self = Faults::default();
    }

    pub(super) fn take_failure(&mut self, operation: Operation) -> Option<io::Error> {
        let next = |failure: &&mut Failure| failure.operation == operation && failure.left > 0;
        let failure = self.failures.iter_mut().find(next)?;
        failure.left -= 1;
        Some(io::Error::from_raw_os_error(failure.errno))
    }

    /// How far beyond its place the next write lands.
    pub(super) fn take_misdirection(&mut self) -> u64 {
        if self.misdirections.is_empty() { 0 } else { self.misdirections.remove(0) }
    }

    /// Whether the next sync only claims to have happened.
    pub(super) fn take_lie(&mut self) -> bool {
        let lies = self.lies > 0;
        self.lies -= u32::from(lies);
        lies
    }
}
