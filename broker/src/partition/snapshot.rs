//! `producers.snap`: the state machine as of one index (the producers' sequences and the group's
//! members), so that a start need not read the whole log to know it.
//!
//! Saved after every 32 MiB applied, after a change of members, and at shutdown. What lies behind
//! the snapshot is applied again from the log. A snapshot that is ahead of the log (its tail was
//! lost with write caching) says nothing of the producers; the members it names stay.
//!
//! A replica that is too far behind gets its leader's state in the same form. It notes down what it
//! is about to install before it clears its log, so that a crash in between is carried on.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_storage::atomic_file;
use thalweg_storage::error::OpenError;
use thalweg_storage::log::{Log, LogIdentity};
use thalweg_storage::{BeginError, Beginning, begin_at};
use thiserror::Error;
use tracing::{error, info, warn};

use super::producers::Producers;
use super::{Environment, Partition};
use crate::replication::group::{Meeting, Passive};
use crate::replication::membership::Members;

const FILE_NAME: &str = "producers.snap";
const SAVE_AFTER_BYTES: usize = 32 << 20;
const SAVE_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a partition cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenPartitionError {
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error(
        "the members of its group cannot be read ({0}); move the partition's directory away, and it is fetched anew from the other replicas"
    )]
    Members(String),
}

impl OpenPartitionError {
    /// Whether it may work when there is space again.
    pub(crate) fn is_no_space(&self) -> bool {
        let kinds = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Log(OpenError::Io(error)) if kinds.contains(&error.kind()))
    }
}

/// The state machine as of `applied`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) applied: u64,
    pub(super) producers: Producers,
    /// Absent in files of before there were other members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Members>,
    /// This replica has no say yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) passive: Option<Passive>,
    /// Records below are deleted, though the log may not have come so far yet.
    #[serde(default)]
    pub(super) log_start_floor: i64,
    /// The log has to begin here; not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    install: Option<Install>,
}

/// Where the log of a replica begins that was too far behind.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Install {
    /// Index and term of the last entry it will not have.
    index: u64,
    term: u32,
    /// Offset of the first record it will have.
    offset: i64,
}

/// What a leader tells a replica that is too far behind.
#[derive(Serialize, Deserialize)]
struct Transfer {
    offset: i64,
    log_start_offset: i64,
    producers: Producers,
    members: Members,
    /// What the leader has applied.
    applied: u64,
}

/// What is about to change, once it is durable.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    Nothing,
    Members(&'a Members),
    /// A passive replica has met a leader.
    Met(Meeting),
}

/// What has changed since the last save.
#[derive(Default)]
pub(super) struct Unsaved {
    bytes: usize,
    saving: bool,
}

impl Unsaved {
    pub(super) fn on_applied(&mut self, bytes: usize) {
        self.bytes += bytes;
    }
}

/// The directory's snapshot, after carrying on an installation that a crash has interrupted.
///
/// # Errors
/// [`OpenPartitionError::Members`] if there is a file that cannot be read and `needed` says that
/// the members of the group are known from nowhere else.
pub(super) async fn load(
    env: &Environment,
    dir: &Path,
    identity: LogIdentity,
    needed: bool,
) -> Result<Option<Snapshot>, OpenPartitionError> {
    let mut snapshot = match read(env, dir).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return Ok(None),
        Err(why) if needed => return Err(OpenPartitionError::Members(why)),
        Err(why) => {
            warn!(dir = %dir.display(), why, "unusable snapshot: rebuilding from the log");
            return Ok(None);
        }
    };
    if let Some(install) = snapshot.install.take() {
        let Install { index, term, offset } = install;
        // A process that was killed may have left a name that the disk has never seen.
        env.disk.sync_dir(dir).await.map_err(OpenError::from)?;
        let beginning = Beginning { index: index + 1, prev_term: term, offset };
        match begin_at(&env.disk, dir, identity, beginning).await {
            Ok(()) => {}
            Err(BeginError::Files(error)) => return Err(error.into()),
            Err(BeginError::Nowhere(at)) => unreachable!("a leader's log begins at {at:?}"),
        }
        // As long as the note stands the next start clears the log again.
        write(env, dir, &snapshot).await?;
    }
    Ok(Some(snapshot))
}

/// What of a snapshot holds for this log. What it does not know is applied again from the log.
pub(super) fn usable(snapshot: Option<Snapshot>, log: &Log) -> Snapshot {
    let before_first = log.first_index() - 1;
    match snapshot {
        Some(snapshot) if (before_first..=log.last_index()).contains(&snapshot.applied) => snapshot,
        Some(stale) => Snapshot {
            applied: before_first,
            members: stale.members,
            passive: stale.passive,
            log_start_floor: stale.log_start_floor,
            ..Snapshot::default()
        },
        None => Snapshot { applied: before_first, ..Snapshot::default() },
    }
}

async fn read(env: &Environment, dir: &Path) -> Result<Option<Snapshot>, String> {
    let path = dir.join(FILE_NAME);
    let bytes = match atomic_file::read(&*env.disk, &path).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let snapshot = serde_json::from_slice(&bytes);
    snapshot.map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

/// Makes a snapshot durable. One writer at a time: see [`Partition::save`].
pub(super) async fn write(
    env: &Environment,
    dir: &Path,
    snapshot: &Snapshot,
) -> Result<(), OpenError> {
    let path = dir.join(FILE_NAME);
    let json = match serde_json::to_vec(snapshot) {
        Ok(json) => json,
        Err(error) => unreachable!("a snapshot is plain data: {error}"),
    };
    atomic_file::write(&*env.disk, &path, &json).await.map_err(OpenError::from)
}

/// Notes down that this directory's log is to begin where the leader says; the next open does it.
/// Returns whether it is so.
pub(super) async fn note_install(
    env: &Environment,
    dir: &Path,
    (index, term): (u64, u64),
    data: &[u8],
    passive: Option<Passive>,
) -> bool {
    let transfer: Transfer = match serde_json::from_slice(data) {
        Ok(transfer) => transfer,
        Err(error) => {
            error!(dir = %dir.display(), %error, "a leader sent a state that cannot be read");
            return false;
        }
    };
    let Ok(term) = u32::try_from(term) else { return false };
    info!(dir = %dir.display(), index, offset = transfer.offset,
        "too far behind: beginning anew where the leader's log begins");
    let met = Meeting { term: u64::from(term), committed: index.max(transfer.applied) };
    let passive = passive.map(|Passive { met_at }| Passive { met_at: met_at.or(Some(met)) });
    let snapshot = Snapshot {
        applied: index,
        producers: transfer.producers,
        members: Some(transfer.members),
        passive,
        log_start_floor: transfer.log_start_offset,
        install: Some(Install { index, term, offset: transfer.offset }),
    };
    let noted = write(env, dir, &snapshot).await;
    if let Err(error) = &noted {
        warn!(dir = %dir.display(), %error, "noting down where the log is to begin");
    }
    noted.is_ok()
}

impl Partition {
    /// What a replica needs whose next entry is no longer in this log.
    pub(super) fn transfer(&self) -> Bytes {
        let transfer = Transfer {
            offset: self.log.first_entry_offset(),
            log_start_offset: self.log.log_start_offset(),
            producers: self.state.borrow().producers.clone(),
            members: self.group.borrow().members().clone(),
            applied: self.state.borrow().applied,
        };
        match serde_json::to_vec(&transfer) {
            Ok(json) => Bytes::from(json),
            Err(error) => unreachable!("a state is plain data: {error}"),
        }
    }
}

/// Starts saving if enough has changed since the last time.
pub(super) fn maybe_save(partition: &Rc<Partition>) {
    let mut state = partition.state.borrow_mut();
    if state.unsaved.saving || state.unsaved.bytes < SAVE_AFTER_BYTES {
        return;
    }
    state.unsaved.saving = true;
    drop(state);
    let partition = Rc::clone(partition);
    tokio::task::spawn_local(async move {
        partition.save(Change::Nothing).await;
        partition.state.borrow_mut().unsaved.saving = false;
    });
}

impl Partition {
    /// Saves the state as of what is applied now, with what is about to change. Returns whether it
    /// is durable; unless something changes, a failure costs only a longer start.
    pub(super) async fn save(&self, change: Change<'_>) -> bool {
        let _one_at_a_time = self.saving.lock().await;
        if self.is_closed() {
            return false;
        }
        self.write_snapshot(change).await
    }

    /// The last save: nobody writes the file after this returns, or while it runs.
    pub(super) async fn save_at_close(&self) {
        let _one_at_a_time = self.saving.lock().await;
        self.write_snapshot(Change::Nothing).await;
    }

    async fn write_snapshot(&self, change: Change<'_>) -> bool {
        let applied = self.state.borrow().applied;
        if self.log.flushed_index() < applied && !self.log.is_full() {
            // With write caching: a snapshot that is ahead of the log is worth little. If this
            // fails, the log says so itself.
            let _ = self.log.flush().await;
        }
        let snapshot = {
            let (state, group) = (self.state.borrow(), self.group.borrow());
            let members = match change {
                Change::Members(members) => members,
                Change::Nothing | Change::Met(_) => group.members(),
            };
            let passive = match change {
                Change::Met(meeting) => Some(Passive { met_at: Some(meeting) }),
                Change::Nothing | Change::Members(_) => group.passive_with(members),
            };
            Snapshot {
                applied: state.applied,
                producers: state.producers.clone(),
                members: Some(members.clone()),
                passive,
                log_start_floor: state.log_start_floor,
                install: None,
            }
        };
        self.state.borrow_mut().unsaved.bytes = 0;
        let written = write(&self.env, &self.dir, &snapshot).await;
        if let Err(error) = &written {
            warn!(topic = %self.name, partition = self.id.partition, %error,
                "saving the partition's state failed");
        }
        written.is_ok()
    }

    /// Makes a change durable, however long it takes. Returns false if the partition was closed
    /// meanwhile.
    pub(super) async fn insist_on_saving(&self, change: Change<'_>) -> bool {
        while !self.save(change).await {
            if self.is_closed() {
                return false;
            }
            tokio::time::sleep(SAVE_AGAIN_AFTER).await;
        }
        true
    }
}
