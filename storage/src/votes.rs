//! The hard state (term, vote, commit) of every Raft group of one shard, in one file.
//!
//! Thousands of groups elect at once when a broker starts, so they share one append-only file and
//! its flushes: what is saved while a flush is under way goes out with the next, in one write.
//! A vote that is forgotten can be cast twice, so damage is an error and never a missing record.
//!
//! Invariant: a `save` that has returned is found by every later `open`.

mod record;
mod recovery;
mod writer;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use self::record::Change;
use self::writer::Writer;
use crate::disk::Disk;

/// The file's name in the shard's directory.
const FILE_NAME: &str = "votes.log";

/// A Raft group: one partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// What a Raft member must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term seen.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: u64,
}

/// When the file is rewritten without the records that later ones replaced.
#[derive(Clone, Copy, Debug)]
pub struct VotesConfig {
    /// Rewritten when it holds more than this many records for each live group…
    pub records_per_group_max: usize,
    /// …and more than this many altogether.
    pub rewrite_records_min: usize,
}

impl Default for VotesConfig {
    fn default() -> Self {
        VotesConfig { records_per_group_max: 8, rewrite_records_min: 16 * 1024 }
    }
}

/// Why the votes of a shard cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VotesOpenError {
    /// A record that was durable is not what was written. Votes may be lost with it: this shard's
    /// replicas must be replaced from other brokers.
    #[error("{path} is damaged at position {position}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins, in bytes.
        position: u64,
    },
    /// A later version of this program wrote it.
    #[error("{path} has records of format {format}, written by a later version", path = path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the first such record.
        format: u8,
    },
    /// The disk failed.
    #[error("cannot open {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The disk's error.
        source: io::Error,
    },
}

/// Why a hard state may not have become durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VotesSaveError {
    /// The file could not grow. Nothing was written; saving again may succeed once there is space.
    #[error("no space left to record votes")]
    NoSpace,
    /// A write or flush failed, and nobody knows what is on the disk. Every later save fails too:
    /// the process has to stop.
    #[error("cannot record votes: {0}")]
    Disk(Arc<io::Error>),
}

type Saved = oneshot::Sender<Result<(), VotesSaveError>>;

/// The votes of one shard. Clones share the file.
#[derive(Clone)]
pub struct Votes {
    state: Rc<RefCell<State>>,
}

struct State {
    /// The newest state of every group, durable or about to be.
    known: BTreeMap<GroupId, HardState>,
    /// What the next write takes: the last change of each group, and who waits for it.
    pending: BTreeMap<GroupId, Change>,
    waiting: Vec<Saved>,
    /// Here while no write is under way.
    writer: Option<Writer>,
    failed: Option<VotesSaveError>,
}

impl Votes {
    /// Opens `<dir>/votes.log`, or starts it, and returns every group's hard state.
    ///
    /// A tail torn by a crash is cut off: nobody was told that it had been saved. What is returned
    /// is durable.
    pub async fn open(
        disk: Rc<dyn Disk>,
        dir: &Path,
        config: VotesConfig,
    ) -> Result<(Votes, HashMap<GroupId, HardState>), VotesOpenError> {
        let (writer, known) = recovery::open(disk, &dir.join(FILE_NAME), config).await?;
        let states = known.iter().map(|(group, state)| (*group, *state)).collect();
        let state = State {
            known,
            pending: BTreeMap::new(),
            waiting: Vec::new(),
            writer: Some(writer),
            failed: None,
        };
        Ok((Votes { state: Rc::new(RefCell::new(state)) }, states))
    }

    /// Saves hard states; the future resolves when they are durable. They are on their way once
    /// this returns, also if the future is dropped.
    ///
    /// # Panics
    /// If a term or a vote is taken back, and outside a `LocalSet`.
    pub fn save(
        &self,
        states: Vec<(GroupId, HardState)>,
    ) -> impl Future<Output = Result<(), VotesSaveError>> + use<> {
        {
            let mut inner = self.state.borrow_mut();
            for (group, state) in states {
                if let Some(before) = inner.known.insert(group, state) {
                    assert_succeeds(before, state);
                }
                inner.pending.insert(group, Change::Saved(state));
            }
        }
        self.commit()
    }

    /// Saves a group's state once more, as it is by now: for whoever was told that there was no
    /// space, and cannot know what has been saved since.
    pub fn save_again(
        &self,
        group: GroupId,
    ) -> impl Future<Output = Result<(), VotesSaveError>> + use<> {
        {
            let mut inner = self.state.borrow_mut();
            if let Some(state) = inner.known.get(&group).copied() {
                inner.pending.insert(group, Change::Saved(state));
            }
        }
        self.commit()
    }

    /// Forgets a group that no longer lives on this shard; the future resolves when that is
    /// durable.
    pub fn remove(
        &self,
        group: GroupId,
    ) -> impl Future<Output = Result<(), VotesSaveError>> + use<> {
        {
            let mut inner = self.state.borrow_mut();
            inner.known.remove(&group);
            inner.pending.insert(group, Change::Removed);
        }
        self.commit()
    }

    /// Waits for everything pending now, starting a write if none is under way.
    fn commit(&self) -> impl Future<Output = Result<(), VotesSaveError>> + use<> {
        let (saved, result) = oneshot::channel();
        let mut state = self.state.borrow_mut();
        match &state.failed {
            Some(failed) => {
                let _ = saved.send(Err(failed.clone())); // the receiver is right here
            }
            None => state.waiting.push(saved),
        }
        if let Some(writer) = state.writer.take() {
            tokio::task::spawn_local(write_pending(Rc::clone(&self.state), writer));
        }
        async move { result.await.unwrap_or_else(|_| Err(lost())) }
    }
}

/// Writes what is pending, batch after batch, until nothing is.
async fn write_pending(state: Rc<RefCell<State>>, mut writer: Writer) {
    loop {
        let (pending, waiting) = {
            let mut state = state.borrow_mut();
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.waiting))
        };
        if waiting.is_empty() {
            break;
        }
        let mut written = writer.append(&pending).await;
        if written.is_ok() && writer.wants_rewrite(state.borrow().known.len()) {
            let known = state.borrow().known.clone();
            written = writer.rewrite(&known).await;
        }
        if let Err(VotesSaveError::Disk(_)) = &written {
            state.borrow_mut().failed = written.clone().err();
        }
        for saved in waiting {
            let _ = saved.send(written.clone()); // a dropped future no longer waits
        }
        if written.is_err() && state.borrow().failed.is_some() {
            let waiting = std::mem::take(&mut state.borrow_mut().waiting);
            for saved in waiting {
                let _ = saved.send(written.clone());
            }
            return; // without putting the writer back: it is not to be trusted
        }
    }
    state.borrow_mut().writer = Some(writer);
}

/// Raft's safety hangs on these two: terms only grow, and a vote stands for its whole term.
fn assert_succeeds(before: HardState, after: HardState) {
    assert!(after.term >= before.term, "a term is never taken back: {before:?} to {after:?}");
    assert!(
        after.term > before.term || before.vote == 0 || after.vote == before.vote,
        "a vote is never changed: {before:?} to {after:?}"
    );
}

fn lost() -> VotesSaveError {
    VotesSaveError::Disk(Arc::new(io::ErrorKind::BrokenPipe.into()))
}

#[cfg(test)]
mod tests;
