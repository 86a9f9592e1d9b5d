//! Reading the votes file after whatever happened, telling a torn tail from damage.
//!
//! A torn tail is what a crash may leave of the last batch: records not written, or not to their
//! end. Anything else that does not validate, any gap before the last batch, and any among the
//! records that a seal vouches for, is damage. So is a file with records that has lost its first
//! seal; one without any record is a file that was never written, or is as good as lost.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::record::{Change, Content, RECORD_LEN, Record, Slot};
use super::writer::{Writer, rewrite_path};
use super::{GroupId, HardState, VotesConfig, VotesOpenError};
use crate::disk::{Disk, DiskFile, OpenMode, parent_of};

/// What the file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recovered {
    pub(super) states: BTreeMap<GroupId, HardState>,
    /// The slot that the next record goes to; what lies beyond is torn.
    pub(super) next_slot: u32,
    /// Whether it begins with a seal, as all files do that were not just created.
    pub(super) sealed: bool,
}

/// Why the file's bytes cannot be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScanError {
    Damaged { position: u64 },
    NewerFormat(u8),
}

pub(super) async fn open(
    disk: Rc<dyn Disk>,
    path: &Path,
    config: VotesConfig,
) -> Result<(Writer, BTreeMap<GroupId, HardState>), VotesOpenError> {
    let failed = |source| VotesOpenError::Io { path: path.to_path_buf(), source };
    let (file, found) = read(&*disk, path).await.map_err(failed)?;
    let recovered = scan(&found).map_err(|error| match error {
        ScanError::Damaged { position } => {
            VotesOpenError::Damaged { path: path.to_path_buf(), position }
        }
        ScanError::NewerFormat(format) => {
            VotesOpenError::NewerFormat { path: path.to_path_buf(), format }
        }
    })?;
    settle(&*disk, path, &*file, &recovered).await.map_err(failed)?;
    let mut writer = Writer::new(disk, path.to_path_buf(), file, recovered.next_slot, config);
    if !recovered.sealed {
        writer.seal(&recovered.states).await.map_err(failed)?;
    }
    Ok((writer, recovered.states))
}

async fn read(disk: &dyn Disk, path: &Path) -> io::Result<(Rc<dyn DiskFile>, Vec<u8>)> {
    disk.create_dir_all(parent_of(path)).await?;
    let file = disk.open(path, OpenMode::CreateIfMissing).await?;
    let len = usize::try_from(file.len().await?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let found = file.read_at(0, len).await?;
    Ok((file, found.into()))
}

/// Makes what was found durable before anyone acts on it, and clears the torn tail away: after a
/// killed process the page cache may hold records that no flush has covered.
async fn settle(
    disk: &dyn Disk,
    path: &Path,
    file: &dyn DiskFile,
    recovered: &Recovered,
) -> io::Result<()> {
    file.truncate(u64::from(recovered.next_slot) * RECORD_LEN as u64).await?;
    file.sync_all().await?;
    match disk.remove_file(&rewrite_path(path)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?, // a rewrite that a crash interrupted
    }
    disk.sync_dir(parent_of(path)).await
}

pub(super) fn scan(found: &[u8]) -> Result<Recovered, ScanError> {
    let (slots, _torn) = found.as_chunks::<RECORD_LEN>();
    let slots: Vec<Slot> =
        (0..).zip(slots).map(|(slot, bytes)| Record::decode(slot, bytes)).collect();
    let damaged = |slot: usize| ScanError::Damaged { position: (slot * RECORD_LEN) as u64 };
    let (durable, sealed) = durable_slots(&slots).map_err(damaged)?;
    if durable > slots.len() {
        return Err(damaged(slots.len()));
    }
    let mut states = BTreeMap::new();
    let mut next_slot = None;
    for (slot, found) in slots.iter().enumerate() {
        match found {
            Slot::Newer(format) => return Err(ScanError::NewerFormat(*format)),
            Slot::Unfinished if slot >= durable => next_slot = next_slot.or(Some(slot)),
            Slot::Unfinished | Slot::Invalid => return Err(damaged(slot)),
            // Behind a gap in the last batch: never acknowledged, and cut off with the gap.
            Slot::Valid(_) | Slot::Unsealed(_) if next_slot.is_some() => {}
            Slot::Valid(record) | Slot::Unsealed(record) => apply(record, &mut states),
        }
    }
    let next_slot = next_slot.unwrap_or(slots.len());
    let next_slot = u32::try_from(next_slot).map_err(|_| damaged(next_slot))?;
    Ok(Recovered { states, next_slot, sealed })
}

fn apply(record: &Record, states: &mut BTreeMap<GroupId, HardState>) {
    match record.content {
        Content::Change(group, Change::Saved(state)) => states.insert(group, state),
        Content::Change(group, Change::Removed) => states.remove(&group),
        Content::Sealed(_) => None,
    };
}

/// How many slots are known to have been durable, and whether the file begins with a seal; or the
/// slot that is damaged for certain.
fn durable_slots(slots: &[Slot]) -> Result<(usize, bool), usize> {
    let sealed = match slots.first() {
        Some(Slot::Valid(Record { content: Content::Sealed(_), .. })) => true,
        _ if slots.iter().any(|slot| matches!(slot, Slot::Valid(_))) => return Err(0),
        _ => false,
    };
    let mut durable = 0;
    for (slot, found) in slots.iter().enumerate() {
        let (Slot::Valid(record) | Slot::Unsealed(record)) = found else { continue };
        // Everything before a batch was durable when that was written.
        let first = slot.checked_sub(record.place as usize).ok_or(slot)?;
        let vouched_for = match record.content {
            Content::Sealed(count) => count as usize,
            Content::Change(..) => first,
        };
        durable = durable.max(vouched_for);
    }
    Ok((durable, sealed))
}
