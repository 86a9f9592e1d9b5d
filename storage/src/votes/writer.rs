//! Appending batches to the votes file, and rewriting it when most of it is history.
//!
//! Owned by the votes while no write is under way. A rewritten file is durable, seals and all,
//! before it takes the name of the one it replaces.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::record::{Change, Content, RECORD_LEN, Record};
use super::{GroupId, HardState, VotesConfig, VotesSaveError};
use crate::disk::{Disk, DiskFile, OpenMode, parent_of};

/// The file grows by this much, long before it must: while a full disk waits for an operator,
/// elections still find room for thousands of votes.
const GROWTH_BYTES: u64 = 256 * 1024;

/// The one that writes the file. At most one batch is on its way at a time.
pub(super) struct Writer {
    disk: Rc<dyn Disk>,
    path: PathBuf,
    file: Rc<dyn DiskFile>,
    next_slot: u32,
    allocated: u64,
    config: VotesConfig,
    /// A rewrite that found no space is tried again only beyond this many records.
    rewrite_after: u32,
}

impl Writer {
    pub(super) fn new(
        disk: Rc<dyn Disk>,
        path: PathBuf,
        file: Rc<dyn DiskFile>,
        next_slot: u32,
        config: VotesConfig,
    ) -> Self {
        let allocated = position(next_slot);
        Writer { disk, path, file, next_slot, allocated, config, rewrite_after: 0 }
    }

    /// Writes one batch and makes it durable.
    pub(super) async fn append(
        &mut self,
        changes: &BTreeMap<GroupId, Change>,
    ) -> Result<(), VotesSaveError> {
        let changes = changes.iter().map(|(group, change)| Content::Change(*group, *change));
        let (batch, end_slot) = encode(self.next_slot, changes);
        self.reserve(position(end_slot)).await?;
        self.file.write_at(position(self.next_slot), vec![batch]).await.map_err(fatal)?;
        self.file.sync_data().await.map_err(fatal)?;
        self.next_slot = end_slot;
        Ok(())
    }

    pub(super) fn wants_rewrite(&self, groups: usize) -> bool {
        let records = self.next_slot as usize;
        records > self.config.rewrite_records_min
            && records > groups.saturating_mul(self.config.records_per_group_max)
            && self.next_slot > self.rewrite_after
    }

    /// Replaces the file by one that holds only `states`.
    ///
    /// Until the rename nothing depends on the new file, so failing to write it only postpones
    /// the rewrite. From then on a crash may bring up either, and an error is final.
    pub(super) async fn rewrite(
        &mut self,
        states: &BTreeMap<GroupId, HardState>,
    ) -> Result<(), VotesSaveError> {
        let replacement = rewrite_path(&self.path);
        let (content, end_slot) = encode_sealed(states);
        let file = match self.prepare(&replacement, content).await {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, path = %replacement.display(), "votes not rewritten");
                self.rewrite_after = self.next_slot.saturating_mul(2);
                let _ = self.disk.remove_file(&replacement).await; // only to give its space back
                return Ok(());
            }
        };
        self.replace(&replacement, file, end_slot).await.map_err(fatal)
    }

    /// Gives a file that has no seals yet, or nothing at all in it, the shape of a rewritten one.
    pub(super) async fn seal(&mut self, states: &BTreeMap<GroupId, HardState>) -> io::Result<()> {
        let replacement = rewrite_path(&self.path);
        let (content, end_slot) = encode_sealed(states);
        let file = self.prepare(&replacement, content).await?;
        self.replace(&replacement, file, end_slot).await
    }

    async fn replace(
        &mut self,
        replacement: &Path,
        file: Rc<dyn DiskFile>,
        end_slot: u32,
    ) -> io::Result<()> {
        self.disk.rename(replacement, &self.path).await?;
        self.disk.sync_dir(parent_of(&self.path)).await?;
        self.file = file;
        self.next_slot = end_slot;
        self.allocated = position(end_slot);
        self.rewrite_after = 0;
        Ok(())
    }

    async fn prepare(&self, path: &Path, content: Bytes) -> io::Result<Rc<dyn DiskFile>> {
        let file = self.disk.open(path, OpenMode::CreateIfMissing).await?;
        file.truncate(0).await?;
        file.write_at(0, vec![content]).await?;
        file.sync_all().await?;
        Ok(file)
    }

    /// Makes room up to `end`, and beyond while that can be had.
    async fn reserve(&mut self, end: u64) -> Result<(), VotesSaveError> {
        if end + GROWTH_BYTES / 2 <= self.allocated {
            return Ok(());
        }
        let wanted = end + GROWTH_BYTES;
        match self.file.allocate(wanted).await {
            Ok(()) => self.allocated = wanted,
            Err(_) if end <= self.allocated => {} // what is left is enough for now
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                return Err(VotesSaveError::NoSpace);
            }
            Err(error) => return Err(fatal(error)),
        }
        Ok(())
    }
}

/// Where a rewrite prepares the new file.
pub(super) fn rewrite_path(path: &Path) -> PathBuf {
    let mut path: OsString = path.as_os_str().to_owned();
    path.push(".tmp");
    path.into()
}

/// A whole file that holds `states`, between two seals, and the slot after it.
pub(super) fn encode_sealed(states: &BTreeMap<GroupId, HardState>) -> (Bytes, u32) {
    let count = u32::try_from(states.len() + 2).expect("a shard has thousands of groups at most");
    let seal = [Content::Sealed(count)];
    let states = states.iter().map(|(group, state)| Content::Change(*group, Change::Saved(*state)));
    let contents: Vec<Content> = seal.into_iter().chain(states).chain(seal).collect();
    encode(0, contents.into_iter())
}

/// One batch beginning at `first_slot`, and the slot after it.
fn encode(first_slot: u32, contents: impl ExactSizeIterator<Item = Content>) -> (Bytes, u32) {
    let mut batch = BytesMut::with_capacity(contents.len() * RECORD_LEN);
    let mut slot = first_slot;
    for content in contents {
        Record { place: slot - first_slot, content }.encode(slot, &mut batch);
        slot = slot.checked_add(1).expect("rewritten long before four billion records");
    }
    (batch.freeze(), slot)
}

fn position(slot: u32) -> u64 {
    u64::from(slot) * RECORD_LEN as u64
}

fn fatal(error: io::Error) -> VotesSaveError {
    VotesSaveError::Disk(Arc::new(error))
}
