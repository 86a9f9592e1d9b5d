//! The frames of one `.log` file, one after another, as far as they can be told apart.

use std::io;
use std::path::Path;

use thalweg_protocol::batch::{BatchHeader, HEADER_LEN};

use crate::frame::{Frame, FrameReader};
use crate::segment::SegmentKey;

use super::{file::open, find_identity, now};

/// One frame of a `.log` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpedFrame {
    /// Where it begins.
    pub position: u64,
    /// Bytes it takes.
    pub size: u64,
    /// What it is.
    pub kind: FrameKind,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A record batch with a valid checksum.
    Batch(BatchHeader),
    /// An entry of the replication protocol.
    Internal {
        /// Its index.
        index: u64,
        /// Its term.
        term: u32,
        /// Offset of the next record.
        next_offset: i64,
    },
    /// The end of a flush window.
    FlushMark {
        /// Everything before was durable when the mark was written.
        window_start: u32,
        /// Entries of the window.
        entry_count: u32,
        /// Index of the next entry.
        next_index: u64,
        /// Offset of the next record.
        next_offset: i64,
    },
    /// Something with a plausible header whose checksums do not hold.
    Invalid(BatchHeader),
    /// Nothing but zeroes up to the end of the file.
    Zeroes,
    /// Bytes up to the end of the file that do not begin like a frame.
    Garbage,
}

/// The walk over a `.log` file. A frame that is not valid but has a plausible header is stepped
/// over by the length it claims.
pub struct Dump {
    reader: FrameReader,
    position: u64,
    len: u64,
}

/// Walks the frames of one `.log` file.
pub fn dump(path: &Path) -> io::Result<Dump> {
    let unfit = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let identity = find_identity(dir)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (key, _) = SegmentKey::parse_name(identity, name)
        .ok_or_else(|| unfit("not the name of a segment: <offset>-<index>.log"))?;
    let file = open(&key.log_path(dir))?.ok_or(io::ErrorKind::NotFound)?;
    let len = now(file.len())?;
    let reader = FrameReader::new(file, len, key.crc_seed());
    Ok(Dump { reader, position: 0, len })
}

impl Dump {
    fn read(&mut self) -> io::Result<DumpedFrame> {
        let position = self.position;
        let rest = self.len - position;
        let described = |size, kind| DumpedFrame { position, size, kind };
        if let Some(frame) = now(self.reader.frame(position))? {
            let size = frame.size();
            let kind = match frame {
                Frame::Mark(mark) => FrameKind::FlushMark {
                    window_start: mark.window_start,
                    entry_count: mark.entry_count,
                    next_index: mark.next_index,
                    next_offset: mark.next_offset,
                },
                Frame::Entry(entry) => match entry.internal_index {
                    None => FrameKind::Batch(entry.header),
                    Some(index) => FrameKind::Internal {
                        index,
                        term: entry.term,
                        next_offset: entry.header.base_offset,
                    },
                },
            };
            return Ok(described(size, kind));
        }
        let head = now(self.reader.bytes(position, HEADER_LEN))?;
        let plausible = head.and_then(|head| BatchHeader::parse(&head).ok());
        if let Some(header) = plausible.filter(|header| header.size() as u64 <= rest) {
            return Ok(described(header.size() as u64, FrameKind::Invalid(header)));
        }
        let is_zero = now(self.reader.is_zero_from(position))?;
        Ok(described(rest, if is_zero { FrameKind::Zeroes } else { FrameKind::Garbage }))
    }
}

impl Iterator for Dump {
    type Item = io::Result<DumpedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.len {
            return None;
        }
        let frame = self.read();
        // After a failed read there is nothing to go on with.
        self.position = frame.as_ref().map_or(self.len, |frame| frame.position + frame.size);
        Some(frame)
    }
}
