//! Small files that are replaced whole: after a crash there is the old content or the new one.
//!
//! All integers are big-endian.
//!
//! | position | bytes | field                                    |
//! |---------:|------:|------------------------------------------|
//! |        0 |     4 | magic `TWAF`                             |
//! |        4 |     4 | format version, 1                        |
//! |        8 |     8 | length of the content                    |
//! |       16 |     4 | CRC-32 of bytes 0–15 and of the content  |
//! |       20 |       | the content                              |

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::disk::{Disk, OpenMode, parent_of};

const MAGIC: u32 = u32::from_be_bytes(*b"TWAF");
const FORMAT: u32 = 1;
const HEADER_LEN: usize = 20;
const CRC_POSITION: usize = 16;

/// Why a file could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum AtomicReadError {
    /// The bytes are not those that were written.
    #[error("{path} is damaged: {found}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        found: Damage,
    },
    /// A later version of this program wrote it.
    #[error("{path} has format {format}; this version reads up to {FORMAT}", path = path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format version.
        format: u32,
    },
    /// The disk failed.
    #[error("cannot read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The disk's error.
        source: io::Error,
    },
}

/// What gave a damaged file away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Too short for a header, or not as long as its header says.
    #[error("its length does not match its header")]
    Length,
    /// It begins with something else.
    #[error("it does not begin as such a file does")]
    Magic,
    /// The checksum does not match.
    #[error("its checksum does not match")]
    Checksum,
}

/// Replaces `path` by `content`, durably. Until this returns, the old content may be found.
///
/// One writer at a time: the new content goes through `<path>.tmp`.
pub async fn write(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let prepared = prepare(disk, &temporary, content).await;
    if prepared.is_err() {
        // On a full disk the half-written file would only keep space; it is no loss if it stays.
        let _ = disk.remove_file(&temporary).await;
    }
    prepared?;
    disk.rename(&temporary, path).await?;
    disk.sync_dir(parent_of(path)).await
}

/// The content of `path`, or `None` if there is no such file.
pub async fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Bytes>, AtomicReadError> {
    let found = match read_whole(disk, path).await {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AtomicReadError::Io { path: path.to_path_buf(), source }),
    };
    match parse(found) {
        Ok(content) => Ok(Some(content)),
        Err(ParseError::Damaged(found)) => {
            Err(AtomicReadError::Damaged { path: path.to_path_buf(), found })
        }
        Err(ParseError::NewerFormat(format)) => {
            Err(AtomicReadError::NewerFormat { path: path.to_path_buf(), format })
        }
    }
}

async fn prepare(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::CreateIfMissing).await?;
    file.truncate(0).await?; // what an earlier crash may have left
    file.write_at(0, vec![header(content), Bytes::copy_from_slice(content)]).await?;
    file.sync_all().await
}

async fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Bytes> {
    let file = disk.open(path, OpenMode::Existing).await?;
    let len = usize::try_from(file.len().await?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    file.read_at(0, len).await
}

fn header(content: &[u8]) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER_LEN);
    header.put_u32(MAGIC);
    header.put_u32(FORMAT);
    header.put_u64(content.len() as u64);
    let crc = checksum(&header, content);
    header.put_u32(crc);
    header.freeze()
}

enum ParseError {
    Damaged(Damage),
    NewerFormat(u32),
}

fn parse(file: Bytes) -> Result<Bytes, ParseError> {
    let mut content = file;
    if content.len() < HEADER_LEN {
        return Err(ParseError::Damaged(Damage::Length));
    }
    let mut header = content.split_to(HEADER_LEN);
    let covered = header.slice(..CRC_POSITION);
    if header.get_u32() != MAGIC {
        return Err(ParseError::Damaged(Damage::Magic));
    }
    let format = header.get_u32();
    let len = header.get_u64();
    let crc = header.get_u32();
    if crc != checksum(&covered, &content) {
        return Err(ParseError::Damaged(Damage::Checksum));
    }
    if format != FORMAT {
        return Err(ParseError::NewerFormat(format));
    }
    if len != content.len() as u64 {
        return Err(ParseError::Damaged(Damage::Length));
    }
    Ok(content)
}

fn checksum(header: &[u8], content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(content);
    crc.finalize()
}

fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let mut name: OsString = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests;
