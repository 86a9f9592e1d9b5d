//! The controller: Raft group 0, whose state machine is the cluster image.
//!
//! It lives on shard 0. Commands are proposed here, written through the group's log, applied by a
//! pure function, and the new image is published to every shard as one `Arc`.

pub(crate) mod apply;
pub(crate) mod assignment;
pub(crate) mod command;
pub(crate) mod image;
pub(crate) mod leaders;
mod membership;
pub(crate) mod placement;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_storage::atomic_file;
use thalweg_storage::config::LogConfig;
use thalweg_storage::entry::Entry;
use thalweg_storage::log::{Log, LogEvent, LogIdentity, OpenLog};
use thalweg_storage::votes::{GroupId, HardState};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use self::apply::apply;
use self::command::{Command, CommandError, Outcome};
use self::image::Image;
use crate::abort::{AbortOnPanic, stop_process};
use crate::node::Node;
use crate::partition::Environment;
use crate::replication::RaftId;
use crate::replication::entry::Internal;
use crate::replication::group::{Group, OpenGroup};

/// Group 0's name among the groups of shard 0.
pub(crate) const CONTROLLER_GROUP: GroupId = GroupId { topic: Uuid::nil(), partition: 0 };

const SNAPSHOT_FILE: &str = "image.snap";
/// Commands applied between two snapshots.
const SNAPSHOT_AFTER: u64 = 1000;
const REPLAY_BYTES: usize = 1 << 20;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ProposeError {
    /// This broker does not lead group 0.
    #[error("this broker is not the active controller")]
    NotController,
    /// Leadership ended while the outcome was open.
    #[error("the controller changed before the outcome was known")]
    OutcomeUnknown,
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// Why group 0 cannot start. Unlike a topic's partition it is never started with holes.
#[derive(Debug, Error)]
pub(crate) enum OpenControllerError {
    #[error(transparent)]
    Log(#[from] thalweg_storage::error::OpenError),
    #[error(
        "the controller's log is damaged: {0}; restore the directory from a backup, or start this broker with an empty data directory"
    )]
    Damaged(String),
    #[error("the controller's snapshot cannot be used: {0}")]
    Snapshot(String),
}

type Waiting = (u64, oneshot::Sender<Result<Outcome, ProposeError>>);

/// Group 0 on this broker.
pub(crate) struct Controller {
    env: Rc<Environment>,
    log: Rc<Log>,
    group: RefCell<Group>,
    state: RefCell<State>,
    node: Arc<Node>,
    snapshot_path: std::path::PathBuf,
}

struct State {
    commit: u64,
    /// Index of the last entry dealt with; the image counts only commands.
    applied: u64,
    snapshot_at: u64,
    waiting: VecDeque<Waiting>,
}

impl Controller {
    /// Opens group 0 below `dir`, replays its log over its snapshot and publishes the image.
    pub(crate) async fn open(
        env: &Rc<Environment>,
        dir: &Path,
        hard_state: HardState,
        node: &Arc<Node>,
    ) -> Result<Rc<Controller>, OpenControllerError> {
        let scheduler = Rc::clone(&env.scheduler);
        let (log, report) = Log::open(OpenLog {
            disk: Rc::clone(&env.disk),
            dir: dir.to_owned(),
            identity: LogIdentity { topic: CONTROLLER_GROUP.topic, partition: 0 },
            config: LogConfig { retention_ms: None, ..LogConfig::default() },
            shared: Rc::clone(&env.shared),
            applied: hard_state.commit,
            on_event: Rc::new(move |event| match event {
                LogEvent::Stable(_) => scheduler.schedule(CONTROLLER_GROUP),
                LogEvent::Failed => stop_process("writing the controller's log failed"),
                LogEvent::Written(_) | LogEvent::Full | LogEvent::Roomy => {}
            }),
        })
        .await?;
        if let Some(range) = report.damaged.first() {
            return Err(OpenControllerError::Damaged(range.to_string()));
        }
        let snapshot_path = dir.join(SNAPSHOT_FILE);
        let image = replay(load_snapshot(env, &snapshot_path).await?, &log).await?;
        let group = Group::open(OpenGroup {
            id: CONTROLLER_GROUP,
            node: RaftId::of(env.node),
            voters: vec![RaftId::of(env.node)],
            log: Rc::clone(&log),
            hard_state,
            votes: Rc::clone(&env.votes),
            scheduler: Rc::clone(&env.scheduler),
        });
        let state = State {
            commit: log.last_index(),
            applied: log.last_index(),
            snapshot_at: image.applied,
            waiting: VecDeque::new(),
        };
        let here = |topic: &Arc<image::Topic>| {
            topic.partitions.iter().filter(|partition| partition.has_member(node.id)).count()
        };
        node.health.begin_recovery(image.topics.values().map(here).sum());
        node.images.publish(image);
        node.refresh_config();
        Ok(Rc::new(Controller {
            env: Rc::clone(env),
            log,
            group: RefCell::new(group),
            state: RefCell::new(state),
            node: Arc::clone(node),
            snapshot_path,
        }))
    }

    /// Does everything the group has to do now.
    pub(crate) fn step(self: &Rc<Self>) {
        let _abort = AbortOnPanic("controller step");
        let progress = self.group.borrow_mut().step();
        if progress.lost_leadership {
            for (_, waiting) in self.state.borrow_mut().waiting.drain(..) {
                let _ = waiting.send(Err(ProposeError::OutcomeUnknown));
            }
        }
        if let Some(term) = progress.became_leader {
            info!(term, "active controller");
        }
        self.apply_committed(progress.commit);
    }

    /// Carries out a command: written, committed, applied. Resolves with the state machine's word.
    pub(crate) async fn propose(&self, command: &Command) -> Result<Outcome, ProposeError> {
        let json = match serde_json::to_vec(command) {
            Ok(json) => Bytes::from(json),
            Err(error) => unreachable!("a command is plain data: {error}"),
        };
        let done = {
            let proposed = self.group.borrow_mut().propose_command(json);
            let index = proposed.map_err(|_dropped| ProposeError::NotController)?;
            let (done, waiting) = oneshot::channel();
            self.state.borrow_mut().waiting.push_back((index, done));
            waiting
        };
        done.await.unwrap_or(Err(ProposeError::OutcomeUnknown))
    }

    fn apply_committed(&self, commit: u64) {
        let mut state = self.state.borrow_mut();
        state.commit = state.commit.max(commit);
        while state.applied < state.commit {
            let index = state.applied + 1;
            // What is committed in this process was appended by it a moment ago, or replayed at
            // open: it is in the cache. Group 0 appends too little to be evicted in between.
            let Some(entry) = self.log.entry(index) else {
                stop_process(&format!("controller entry {index} left the cache before it applied"));
            };
            let outcome = self.apply_entry(&entry);
            state.applied = index;
            let waiting = state.waiting.pop_front_if(|(of, _)| *of == index);
            if let (Some((_, waiting)), Some(outcome)) = (waiting, outcome) {
                let _ = waiting.send(outcome.map_err(ProposeError::from));
            }
        }
        let applied = state.applied;
        drop(state);
        self.group.borrow_mut().applied_to(applied);
        self.maybe_save_snapshot();
    }

    fn apply_entry(&self, entry: &Entry) -> Option<Result<Outcome, CommandError>> {
        let command = command_of(entry)?;
        let (next, outcome) = apply(&self.node.images.load(), entry.index, &command);
        self.node.images.publish(next);
        if matches!(command, Command::SetBrokerConfigs { .. }) {
            self.node.refresh_config();
        }
        Some(outcome)
    }

    fn maybe_save_snapshot(&self) {
        let image = self.node.images.load();
        let mut state = self.state.borrow_mut();
        if image.applied < state.snapshot_at + SNAPSHOT_AFTER {
            return;
        }
        state.snapshot_at = image.applied;
        let (env, path) = (Rc::clone(&self.env), self.snapshot_path.clone());
        tokio::task::spawn_local(async move { save_snapshot(&env, &path, &image).await });
    }

    /// Saves the image and leaves the log clean.
    pub(crate) async fn close(self: &Rc<Self>) {
        let image = self.node.images.load();
        save_snapshot(&self.env, &self.snapshot_path, &image).await;
        if let Err(error) = self.log.close().await {
            warn!(%error, "closing the controller's log");
        }
    }

    /// What to persist at shutdown.
    pub(crate) fn hard_state(&self) -> HardState {
        self.group.borrow().hard_state()
    }
}

fn command_of(entry: &Entry) -> Option<Command> {
    match Internal::of(entry) {
        Some(Internal::Command(json)) => match serde_json::from_slice(&json) {
            Ok(command) => Some(command),
            Err(error) => stop_process(&format!(
                "controller entry {} is no command this version knows ({error}); run the version that wrote it",
                entry.index
            )),
        },
        Some(Internal::Blank | Internal::ConfChange(_)) => None,
        None => unreachable!("entry {} of group 0 is a record batch", entry.index),
    }
}

async fn replay(mut image: Image, log: &Rc<Log>) -> Result<Image, OpenControllerError> {
    let mut index = (image.applied + 1).max(log.first_index());
    while index <= log.last_index() {
        let entries = log
            .entries(index, log.last_index() + 1, REPLAY_BYTES)
            .await
            .map_err(|error| OpenControllerError::Damaged(error.to_string()))?;
        for entry in &entries {
            if let Some(command) = command_of(entry) {
                // A refusal was the outcome when it was first applied, too.
                (image, _) = apply(&image, entry.index, &command);
            }
            index = entry.index + 1;
        }
    }
    Ok(image)
}

async fn load_snapshot(env: &Environment, path: &Path) -> Result<Image, OpenControllerError> {
    let refuse = |why: String| OpenControllerError::Snapshot(format!("{}: {why}", path.display()));
    match atomic_file::read(&*env.disk, path).await {
        Ok(Some(json)) => serde_json::from_slice(&json).map_err(|error| refuse(error.to_string())),
        Ok(None) => Ok(Image::default()),
        // The log still has every command: the image is only slower to get.
        Err(error) => {
            warn!(path = %path.display(), %error, "unusable controller snapshot: replaying the log");
            Ok(Image::default())
        }
    }
}

async fn save_snapshot(env: &Environment, path: &Path, image: &Image) {
    let json = match serde_json::to_vec(image) {
        Ok(json) => json,
        Err(error) => unreachable!("an image is plain data: {error}"),
    };
    if let Err(error) = atomic_file::write(&*env.disk, path, &json).await {
        warn!(path = %path.display(), %error, "saving the controller's image failed");
    }
}
