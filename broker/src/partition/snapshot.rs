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
use thalweg_storage::log::{Log, LogIdentity};
use thalweg_storage::{BeginError, Beginning, begin_at};
use tracing::{error, info, warn};

use super::producers::Producers;
use super::{Environment, Partition};
use crate::replication::membership::Members;

const FILE_NAME: &str = "producers.snap";
const SAVE_AFTER_BYTES: usize = 32 << 20;

/// The state machine as of `applied`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) applied: u64,
    pub(super) producers: Producers,
    /// Absent in files of before there were other members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Members>,
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
}

/// How much has been applied since the last save.
#[derive(Default)]
pub(super) struct Unsaved {
    bytes: usize,
    members: bool,
    saving: bool,
}

impl Unsaved {
    pub(super) fn on_applied(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn on_members(&mut self) {
        self.members = true;
    }

    fn is_due(&self) -> bool {
        !self.saving && (self.members || self.bytes >= SAVE_AFTER_BYTES)
    }
}

/// The directory's snapshot, after carrying on an installation that a crash has interrupted.
pub(super) async fn load(
    env: &Environment,
    dir: &Path,
    identity: LogIdentity,
) -> Result<Option<Snapshot>, thalweg_storage::error::OpenError> {
    let Some(mut snapshot) = read(env, dir).await else { return Ok(None) };
    if let Some(install) = snapshot.install.take() {
        let Install { index, term, offset } = install;
        let beginning = Beginning { index: index + 1, prev_term: term, offset };
        match begin_at(&env.disk, dir, identity, beginning).await {
            Ok(()) => {}
            Err(BeginError::Files(error)) => return Err(error),
            Err(BeginError::Nowhere(at)) => unreachable!("a leader's log begins at {at:?}"),
        }
        write(env, dir, &snapshot).await;
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
            log_start_floor: stale.log_start_floor,
            ..Snapshot::default()
        },
        None => Snapshot { applied: before_first, ..Snapshot::default() },
    }
}

async fn read(env: &Environment, dir: &Path) -> Option<Snapshot> {
    let path = dir.join(FILE_NAME);
    match atomic_file::read(&*env.disk, &path).await {
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                warn!(path = %path.display(), %error, "unreadable snapshot: rebuilding from the log");
                None
            }
        },
        Ok(None) => None,
        Err(error) => {
            warn!(path = %path.display(), %error, "unusable snapshot: rebuilding from the log");
            None
        }
    }
}

async fn write(env: &Environment, dir: &Path, snapshot: &Snapshot) -> bool {
    let path = dir.join(FILE_NAME);
    let json = match serde_json::to_vec(snapshot) {
        Ok(json) => json,
        Err(error) => unreachable!("a snapshot is plain data: {error}"),
    };
    let written = atomic_file::write(&*env.disk, &path, &json).await;
    if let Err(error) = &written {
        warn!(path = %path.display(), %error, "saving the partition's state failed");
    }
    written.is_ok()
}

/// Notes down that this directory's log is to begin where the leader says; the next open does it.
/// Returns whether it is so.
pub(super) async fn note_install(
    env: &Environment,
    dir: &Path,
    index: u64,
    term: u64,
    data: &[u8],
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
    let snapshot = Snapshot {
        applied: index,
        producers: transfer.producers,
        members: Some(transfer.members),
        log_start_floor: transfer.log_start_offset,
        install: Some(Install { index, term, offset: transfer.offset }),
    };
    write(env, dir, &snapshot).await
}

impl Partition {
    /// What a replica needs whose next entry is no longer in this log.
    pub(super) fn transfer(&self) -> Bytes {
        let transfer = Transfer {
            offset: self.log.first_entry_offset(),
            log_start_offset: self.log.log_start_offset(),
            producers: self.state.borrow().producers.clone(),
            members: self.group.borrow().members().clone(),
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
    if !state.unsaved.is_due() {
        return;
    }
    state.unsaved.saving = true;
    drop(state);
    let partition = Rc::clone(partition);
    tokio::task::spawn_local(async move {
        save(&partition).await;
        partition.state.borrow_mut().unsaved.saving = false;
        maybe_save_again(&partition);
    });
}

/// Members may have changed while a save was under way.
fn maybe_save_again(partition: &Rc<Partition>) {
    if partition.state.borrow().unsaved.members {
        maybe_save(partition);
    }
}

/// Saves the state as of what is applied now. A failure costs only a longer next start.
pub(super) async fn save(partition: &Rc<Partition>) {
    let snapshot = {
        let mut state = partition.state.borrow_mut();
        if state.unsaved.bytes == 0 && !state.unsaved.members {
            return;
        }
        (state.unsaved.bytes, state.unsaved.members) = (0, false);
        Snapshot {
            applied: state.applied,
            producers: state.producers.clone(),
            members: Some(partition.group.borrow().members().clone()),
            log_start_floor: state.log_start_floor,
            install: None,
        }
    };
    write(&partition.env, &partition.dir, &snapshot).await;
}
