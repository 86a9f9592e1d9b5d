//! Beginning a log elsewhere than at its beginning: a replica that is too far behind gets the
//! leader's log from some index on, and whatever it had before is worth nothing.
//!
//! One write decides. `log-start` says where the log begins *and* that all segments there are
//! belong to the log before; from then on it is the new log, empty, whatever lies around. Then the
//! old segments are removed, and only when their names are durably gone is that taken back, so that
//! the segments that come next count. A crash before the write leaves the old log whole; a crash
//! after it is finished by the next open, or by the next beginning. Files set aside as damaged
//! stay.

use std::io;
use std::path::Path;
use std::rc::Rc;

use thiserror::Error;

use crate::disk::{Disk, OpenMode};
use crate::error::OpenError;
use crate::ledger_file::read_ends;
use crate::log::LogIdentity;
use crate::log_start::LogStart;
use crate::recovery::check_home;
use crate::segment::{SegmentFile, SegmentKey};

/// Where a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Index of the first entry; at least 1.
    pub index: u64,
    /// Term of the entry before it; 0 if there is none.
    pub prev_term: u32,
    /// Offset of the first record; not negative.
    pub offset: i64,
}

/// Why a log could not begin elsewhere.
#[derive(Debug, Error)]
pub enum BeginError {
    /// There is no such place.
    #[error("no log begins at {0:?}")]
    Nowhere(Beginning),
    /// The directory is not this log's, or the disk failed: the same reasons as for opening.
    #[error(transparent)]
    Files(#[from] OpenError),
}

impl From<io::Error> for BeginError {
    fn from(error: io::Error) -> Self {
        BeginError::Files(error.into())
    }
}

/// Makes the log in `dir` an empty one whose first entry will be at `beginning`, durably; the
/// directory is created if it is missing. The log must not be open.
///
/// # Errors
/// [`BeginError`]. After one, and after a crash, the directory opens either as the log it was or as
/// the new one; calling this again settles which.
pub async fn begin_at(
    disk: &Rc<dyn Disk>,
    dir: &Path,
    identity: LogIdentity,
    beginning: Beginning,
) -> Result<(), BeginError> {
    let Beginning { index, prev_term, offset } = beginning;
    // The last term stands for an unknown one in the files.
    if index == 0 || offset < 0 || prev_term == u32::MAX {
        return Err(BeginError::Nowhere(beginning));
    }
    disk.create_dir_all(dir).await?;
    check_homes(&**disk, dir, identity).await?;
    let start = LogStart {
        offset,
        first_index: index,
        prev_term: Some(prev_term),
        replaces_segments: true,
    };
    start.save(&**disk, dir, identity).await?;
    finish(&**disk, dir, identity, start).await?;
    Ok(())
}

/// Removes the segments that `start` replaces, and gives the log start that holds from then on.
pub(crate) async fn finish(
    disk: &dyn Disk,
    dir: &Path,
    identity: LogIdentity,
    start: LogStart,
) -> Result<LogStart, OpenError> {
    check_homes(disk, dir, identity).await?;
    // What decides must outlive what it decides about.
    LogStart::settle(disk, dir).await?;
    for (key, file) in segment_files(disk, dir, identity).await? {
        disk.remove_file(&path(key, file, dir)).await?;
    }
    disk.sync_dir(dir).await?;
    let start = LogStart { replaces_segments: false, ..start };
    start.save(disk, dir, identity).await?;
    Ok(start)
}

/// Segments of another partition, or of a newer program, are nobody's to remove.
async fn check_homes(disk: &dyn Disk, dir: &Path, identity: LogIdentity) -> Result<(), OpenError> {
    for (key, file) in segment_files(disk, dir, identity).await? {
        if file == SegmentFile::Ledger {
            let path = key.ledger_path(dir);
            let ledger = disk.open(&path, OpenMode::Existing).await?;
            if let (Some(header), _) = read_ends(&*ledger, key.crc_seed()).await? {
                check_home(&header, key, &path)?;
            }
        }
    }
    Ok(())
}

/// The segments' files, oldest first, each ledger before its log.
async fn segment_files(
    disk: &dyn Disk,
    dir: &Path,
    identity: LogIdentity,
) -> io::Result<Vec<(SegmentKey, SegmentFile)>> {
    let names = disk.list_dir(dir).await?;
    let files = names.iter().filter_map(|entry| SegmentKey::parse_name(identity, &entry.name));
    let mut files: Vec<_> = files.collect();
    files.sort_by_key(|(key, file)| (key.base_index, key.base_offset, *file == SegmentFile::Log));
    Ok(files)
}

fn path(key: SegmentKey, file: SegmentFile, dir: &Path) -> std::path::PathBuf {
    match file {
        SegmentFile::Log => key.log_path(dir),
        SegmentFile::Ledger => key.ledger_path(dir),
    }
}
