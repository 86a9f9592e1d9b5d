//! Names and directories by blocking calls, as every backend on a real filesystem needs them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use super::{DirEntry, OpenMode};

pub(super) fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match mode {
        OpenMode::Existing => {}
        OpenMode::CreateNew => {
            options.create_new(true);
        }
        OpenMode::CreateIfMissing => {
            options.create(true).truncate(false);
        }
    }
    options.open(path)
}

/// Creates `path` from the top down, each directory only once its parent's name is durable.
///
/// Shards share directories, so the deepest one found may be another shard's, made a moment ago
/// and not yet durable: its parent is synced too. One level is enough, by the order above.
pub(super) fn create_dir_all(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut dir = Some(path);
    while let Some(wanted) = dir {
        if wanted.is_dir() {
            sync_found(wanted)?;
            break;
        }
        missing.push(wanted);
        dir = wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
    }
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            done => done?,
        }
        sync_dir(parent_of(dir))?;
    }
    Ok(())
}

/// Makes the name of a directory that was already there durable, where we may.
fn sync_found(dir: &Path) -> io::Result<()> {
    match sync_dir(parent_of(dir)) {
        // Somebody else's directory: not ours to sync, and not made by us either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

pub(super) fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    fs::read_dir(path)?
        .map(|entry| {
            let entry = entry?;
            Ok(DirEntry {
                // We create no such names; a foreign one is listed so that it can be reported.
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: entry.file_type()?.is_dir(),
            })
        })
        .collect()
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that holds the name `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
