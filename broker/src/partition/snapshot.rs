//! `producers.snap`: the producers' sequences as of one index, so that a start need not read the
//! whole log to know them.
//!
//! Saved after every 32 MiB applied and at shutdown. What lies behind the snapshot is replayed from
//! the log. A snapshot that is ahead of the log (its tail was lost with write caching) is worthless
//! and not used.

use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use thalweg_protocol::batch::BatchHeader;
use thalweg_storage::atomic_file;
use thalweg_storage::log::Log;
use tracing::warn;

use super::producers::Producers;
use super::{Environment, Partition};

const FILE_NAME: &str = "producers.snap";
const SAVE_AFTER_BYTES: usize = 32 << 20;
const REPLAY_BYTES: usize = 4 << 20;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    applied: u64,
    producers: Producers,
}

/// How much has been applied since the last save.
#[derive(Default)]
pub(super) struct Progress {
    unsaved_bytes: usize,
    saving: bool,
}

impl Progress {
    pub(super) fn on_applied(&mut self, bytes: usize) {
        self.unsaved_bytes += bytes;
    }
}

/// The producers as of `applied`, from the snapshot and the log behind it.
pub(super) async fn restore(
    env: &Environment,
    dir: &Path,
    log: &Rc<Log>,
    applied: u64,
) -> (Producers, Progress) {
    let snapshot = load(env, dir).await.filter(|snapshot| snapshot.applied <= applied);
    let (mut index, mut producers) = match snapshot {
        Some(Snapshot { applied, producers }) => (applied + 1, producers),
        None => (log.first_index(), Producers::default()),
    };
    let mut progress = Progress::default();
    index = index.max(log.first_index());
    let now_ms = env.clock.now_ms();
    while index <= applied {
        match log.entries(index, applied + 1, REPLAY_BYTES).await {
            Ok(entries) => {
                for entry in &entries {
                    index = entry.index + 1;
                    progress.on_applied(entry.size());
                    if let Ok(header) = BatchHeader::parse(&entry.header)
                        && !header.attributes.is_internal()
                    {
                        producers.on_commit(&header, now_ms);
                    }
                }
            }
            Err(error) => {
                // The damage is known and reported; what can be read behind it still counts.
                warn!(dir = %dir.display(), index, %error, "producer state is rebuilt without an unreadable entry");
                index += 1;
            }
        }
    }
    (producers, progress)
}

async fn load(env: &Environment, dir: &Path) -> Option<Snapshot> {
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

/// Starts saving if enough has been applied since the last time.
pub(super) fn maybe_save(partition: &Rc<Partition>) {
    let mut state = partition.state.borrow_mut();
    let progress = &mut state.snapshot;
    if progress.saving || progress.unsaved_bytes < SAVE_AFTER_BYTES {
        return;
    }
    progress.saving = true;
    drop(state);
    let partition = Rc::clone(partition);
    tokio::task::spawn_local(async move {
        save(&partition).await;
        partition.state.borrow_mut().snapshot.saving = false;
    });
}

/// Saves the producers as of what is applied now. A failure costs only a longer next start.
pub(super) async fn save(partition: &Rc<Partition>) {
    let snapshot = {
        let mut state = partition.state.borrow_mut();
        if state.snapshot.unsaved_bytes == 0 {
            return;
        }
        state.snapshot.unsaved_bytes = 0;
        Snapshot { applied: state.applied, producers: state.producers.clone() }
    };
    let path = partition.dir.join(FILE_NAME);
    let json = match serde_json::to_vec(&snapshot) {
        Ok(json) => json,
        Err(error) => unreachable!("a snapshot is plain data: {error}"),
    };
    if let Err(error) = atomic_file::write(&*partition.env.disk, &path, &json).await {
        warn!(path = %path.display(), %error, "saving the producers' state failed");
    }
}
