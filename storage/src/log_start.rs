//! The file `log-start`: where the log begins for readers, and for Raft.
//!
//! Written before the segments below it are deleted, so that their absence is known to be intended.
//! It is overwritten in place, two slots in turn, because it must work on a full disk: deleting old
//! segments is what makes room. A torn slot leaves the other one.
//!
//! With its second magic a slot says more: the log begins here with nothing in it, and the segments
//! that lie around belong to the log before (see `beginning.rs`).
//!
//! | position | bytes | field (big-endian)                                             |
//! |---------:|------:|----------------------------------------------------------------|
//! |   0, 512 |     8 | magic: `twlstart`, or `twlbegin` while old segments are removed |
//! |      + 8 |     8 | sequence; the valid slot with the higher one counts            |
//! |      +16 |     8 | log start offset                                               |
//! |      +24 |     8 | first index                                                    |
//! |      +32 |     4 | term of the entry before the first index; all ones: unknown    |
//! |      +36 |     4 | CRC-32, seeded with topic and partition                        |

use std::io;
use std::path::Path;
use std::rc::Rc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::log::LogIdentity;

const FILE_NAME: &str = "log-start";
const MAGIC: [u8; 8] = *b"twlstart";
const MAGIC_REPLACES: [u8; 8] = *b"twlbegin";
const SLOT_LEN: usize = 40;
const SLOT_STEP: u64 = 512;
const UNKNOWN_TERM: u32 = u32::MAX;

/// Where a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogStart {
    pub(crate) offset: i64,
    pub(crate) first_index: u64,
    pub(crate) prev_term: Option<u32>,
    /// Whether the segments there are, if any, belong to a log that this one replaces.
    pub(crate) replaces_segments: bool,
}

impl Default for LogStart {
    fn default() -> Self {
        LogStart { offset: 0, first_index: 1, prev_term: Some(0), replaces_segments: false }
    }
}

impl LogStart {
    /// What the directory's file says; the beginning of all logs if there is no file or it says
    /// nothing.
    pub(crate) async fn load(
        disk: &dyn Disk,
        dir: &Path,
        identity: LogIdentity,
    ) -> io::Result<LogStart> {
        match disk.open(&dir.join(FILE_NAME), OpenMode::Existing).await {
            Ok(file) => Ok(newest(&*file, identity).await?.map_or_else(LogStart::default, |n| n.1)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogStart::default()),
            Err(error) => Err(error),
        }
    }

    /// Makes this the log start, durably.
    pub(crate) async fn save(
        self,
        disk: &dyn Disk,
        dir: &Path,
        identity: LogIdentity,
    ) -> io::Result<()> {
        let file: Rc<dyn DiskFile> =
            disk.open(&dir.join(FILE_NAME), OpenMode::CreateIfMissing).await?;
        let sequence = newest(&*file, identity).await?.map_or(0, |(sequence, _)| sequence) + 1;
        let slot = self.encode(sequence, identity);
        // The first time both slots, so that later there are blocks for either.
        let is_new = file.len().await? < SLOT_STEP + SLOT_LEN as u64;
        let slots = if is_new { 0..2 } else { sequence % 2..sequence % 2 + 1 };
        for at in slots {
            file.write_at(at * SLOT_STEP, vec![slot.clone()]).await?;
        }
        file.sync_data().await?;
        if is_new {
            disk.sync_dir(dir).await?;
        }
        Ok(())
    }

    /// Makes what [`LogStart::load`] has read durable, if there is a file: a process that was
    /// killed may have left a slot that the disk has never seen. To be called before acting on it.
    pub(crate) async fn settle(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        match disk.open(&dir.join(FILE_NAME), OpenMode::Existing).await {
            Ok(file) => file.sync_data().await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        disk.sync_dir(dir).await
    }

    fn encode(self, sequence: u64, identity: LogIdentity) -> Bytes {
        let mut slot = BytesMut::with_capacity(SLOT_LEN);
        slot.put_slice(if self.replaces_segments { &MAGIC_REPLACES } else { &MAGIC });
        slot.put_u64(sequence);
        slot.put_i64(self.offset);
        slot.put_u64(self.first_index);
        slot.put_u32(self.prev_term.unwrap_or(UNKNOWN_TERM));
        slot.put_u32(slot_crc(&slot, identity));
        slot.freeze()
    }

    fn decode(slot: &[u8; SLOT_LEN], identity: LogIdentity) -> Option<(u64, Self)> {
        let mut rest = &slot[..];
        let magic = rest.get_u64().to_be_bytes();
        let sequence = rest.get_u64();
        let (offset, first_index, prev_term) = (rest.get_i64(), rest.get_u64(), rest.get_u32());
        let prev_term = (prev_term != UNKNOWN_TERM).then_some(prev_term);
        let replaces_segments = magic == MAGIC_REPLACES;
        let valid = (magic == MAGIC || replaces_segments)
            && offset >= 0
            && first_index > 0
            && rest.get_u32() == slot_crc(&slot[..SLOT_LEN - 4], identity);
        valid.then_some((sequence, LogStart { offset, first_index, prev_term, replaces_segments }))
    }
}

async fn newest(file: &dyn DiskFile, identity: LogIdentity) -> io::Result<Option<(u64, LogStart)>> {
    let mut found: Option<(u64, LogStart)> = None;
    for at in [0, SLOT_STEP] {
        let bytes = file.read_at(at, SLOT_LEN).await?;
        let slot = bytes.first_chunk().and_then(|slot| LogStart::decode(slot, identity));
        let sequence = found.map(|(sequence, _)| sequence);
        found = slot.filter(|slot| Some(slot.0) > sequence).or(found);
    }
    Ok(found)
}

fn slot_crc(covered: &[u8], identity: LogIdentity) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(identity.topic.as_bytes());
    hasher.update(&identity.partition.to_be_bytes());
    hasher.update(covered);
    hasher.finalize()
}
