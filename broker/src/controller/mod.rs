//! The controller: Raft group 0, whose state machine is the cluster image.
//!
//! It lives on shard 0 of every broker; up to five of them vote, the others follow. Commands are
//! carried out by the one that leads, the *active controller* (`forward` finds it), written through
//! the group's log, applied by a pure function on every broker, and the new image is published to
//! every shard as one `Arc`. The active controller also watches which brokers live and who should
//! vote (`registry`).

pub(crate) mod apply;
pub(crate) mod assignment;
pub(crate) mod command;
pub(crate) mod forward;
pub(crate) mod image;
pub(crate) mod leaders;
mod membership;
pub(crate) mod placement;
mod registry;
mod snapshot;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_storage::config::LogConfig;
use thalweg_storage::entry::Entry;
use thalweg_storage::log::{Log, LogEvent, OpenLog};
use thalweg_storage::votes::{GroupId, HardState};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use self::apply::apply;
use self::command::{Command, CommandError, Outcome};
use self::forward::Forwarded;
use self::registry::Registry;
use self::snapshot::Snapshots;
use crate::abort::{AbortOnPanic, stop_process};
use crate::node::Node;
use crate::partition::Environment;
use crate::replication::entry::Internal;
use crate::replication::group::{Group, MemberProgress, OpenGroup, Received};
use crate::replication::membership::{MemberChange, Members};
use crate::replication::outgoing::GroupMessage;
use crate::replication::vote;

/// Group 0's name among the groups of shard 0.
pub(crate) const CONTROLLER_GROUP: GroupId = GroupId { topic: Uuid::nil(), partition: 0 };

const REPLAY_BYTES: usize = 1 << 20;
const SAVE_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposeError {
    /// Nobody leads group 0, as far as this broker knows.
    #[error("there is no active controller; are most of the controllers up?")]
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
        "the controller's log is damaged: {0}; in a cluster, start an empty directory with a new \
         --node-id and --join, then drain and remove this broker's id; a broker that is alone has \
         to be restored from a backup"
    )]
    Damaged(String),
    #[error("the controller's snapshot cannot be used: {0}")]
    Snapshot(String),
}

type Waiting = (u64, oneshot::Sender<Result<Outcome, ProposeError>>);

/// Group 0 on this broker.
pub(crate) struct Controller {
    env: Rc<Environment>,
    /// Replaced, like the group, when this broker has to begin anew.
    log: RefCell<Rc<Log>>,
    group: RefCell<Group>,
    state: RefCell<State>,
    node: Arc<Node>,
    snapshots: Snapshots,
    /// Commands that another broker's controller has been asked to carry out.
    forwarded: RefCell<Forwarded>,
    registry: RefCell<Registry>,
    closed: Cell<bool>,
}

struct State {
    /// This broker leads group 0 and has applied everything that earlier leaders committed.
    active: bool,
    term: u32,
    commit: u64,
    /// Index of the last entry dealt with; the image counts only commands.
    applied: u64,
    /// A committed entry is being read back from disk before it can be applied.
    applying: bool,
    /// Another image is being installed: the group rests.
    installing: bool,
    /// Bytes of what was applied since the last snapshot.
    unsaved_bytes: usize,
    waiting: VecDeque<Waiting>,
}

impl Controller {
    /// Opens group 0 below `dir`, replays what is known to be committed over its snapshot, and
    /// publishes the image.
    pub(crate) async fn open(
        env: &Rc<Environment>,
        dir: &Path,
        hard_state: HardState,
        node: &Arc<Node>,
    ) -> Result<Rc<Controller>, OpenControllerError> {
        let (snapshots, saved) = Snapshots::load(env, dir).await?;
        let log = open_log(env, dir, saved.applied, node).await?;
        if saved.applied + 1 < log.first_index() {
            return Err(OpenControllerError::Snapshot(format!(
                "the log begins at index {}, and no snapshot that can be read reaches so far",
                log.first_index()
            )));
        }
        if saved.applied > log.last_index() {
            return Err(OpenControllerError::Damaged(format!(
                "it ends at index {}, its snapshot at {}",
                log.last_index(),
                saved.applied
            )));
        }
        let members = match saved.members {
            Some(members) => members,
            None => members_of(&log, node).await?,
        };
        let group = open_group(env, node, &log, members, hard_state, saved.applied);
        let controller = Rc::new(Controller {
            env: Rc::clone(env),
            log: RefCell::new(log),
            group: RefCell::new(group),
            state: RefCell::new(State {
                active: false,
                term: 0,
                commit: saved.applied,
                applied: saved.applied,
                applying: false,
                installing: false,
                unsaved_bytes: 0,
                waiting: VecDeque::new(),
            }),
            node: Arc::clone(node),
            snapshots,
            forwarded: RefCell::default(),
            registry: RefCell::default(),
            closed: Cell::new(false),
        });
        node.images.publish(saved.image);
        controller.replay().await?;
        let image = node.images.load();
        let here = |topic: &Arc<image::Topic>| {
            topic.partitions.iter().filter(|partition| partition.has_member(node.id)).count()
        };
        node.health.begin_recovery(image.topics.values().map(here).sum());
        node.refresh_config();
        Ok(controller)
    }

    /// Applies what was committed when this broker last heard of it, so that it starts with an
    /// image that is nearly the cluster's.
    async fn replay(self: &Rc<Self>) -> Result<(), OpenControllerError> {
        let commit = self.group.borrow().hard_state().commit;
        let mut index = self.state.borrow().applied + 1;
        let mut changed = false;
        while index <= commit {
            let entries = self.log().entries(index, commit + 1, REPLAY_BYTES).await;
            let entries =
                entries.map_err(|error| OpenControllerError::Damaged(error.to_string()))?;
            for entry in &entries {
                if let Some(change) = change_of(entry) {
                    let mut group = self.group.borrow_mut();
                    changed |= group.members_after(entry.index, &change).is_some();
                    group.apply_members(entry.index, &change);
                }
                // A refusal was the outcome when it was first applied, too.
                let _ = self.apply_entry(entry);
                index = entry.index + 1;
            }
        }
        {
            let mut state = self.state.borrow_mut();
            (state.applied, state.commit) = (index - 1, index - 1);
        }
        if changed {
            // Before anybody is told anything: see `change_members`.
            self.save_snapshot(None).await.map_err(OpenControllerError::Snapshot)?;
        }
        self.group.borrow_mut().applied_to(index - 1);
        Ok(())
    }

    fn log(&self) -> Rc<Log> {
        Rc::clone(&self.log.borrow())
    }

    /// Does everything the group has to do now.
    pub(crate) fn step(self: &Rc<Self>) {
        if self.state.borrow().installing {
            return;
        }
        let _abort = AbortOnPanic("controller step");
        let progress = self.group.borrow_mut().step();
        self.fetch_wanted();
        if progress.snapshot_wanted {
            self.offer_image();
        }
        if progress.lost_leadership {
            self.on_leadership_lost();
        }
        if let Some(term) = progress.became_leader {
            self.state.borrow_mut().term = term;
        }
        self.on_commit(progress.commit);
    }

    fn on_leadership_lost(&self) {
        let mut state = self.state.borrow_mut();
        state.active = false;
        for (_, waiting) in state.waiting.drain(..) {
            let _ = waiting.send(Err(ProposeError::OutcomeUnknown));
        }
    }

    /// Moves the group's clock by one tick.
    pub(crate) fn tick(&self) {
        if self.state.borrow().installing {
            return;
        }
        let _abort = AbortOnPanic("controller tick");
        self.group.borrow_mut().tick();
    }

    /// Takes a message of another controller.
    pub(crate) fn receive(self: &Rc<Self>, message: GroupMessage) {
        if self.state.borrow().installing {
            return;
        }
        let _abort = AbortOnPanic("controller receive");
        let received = self.group.borrow_mut().receive(message);
        match received {
            Received::Taken => {}
            Received::Install(message) => self.install(*message),
            Received::Met(_) => unreachable!("a controller is never passive"),
        }
    }

    /// The connection to a broker broke.
    pub(crate) fn on_unreachable(&self, node: i32) {
        self.group.borrow_mut().on_unreachable(node);
    }

    /// Starts handing group 0 to another controller. Returns whether there is one to wait for.
    pub(crate) fn hand_over(&self) -> bool {
        let mut group = self.group.borrow_mut();
        if group.leader_term().is_none() {
            return false;
        }
        let mut others = group.others();
        others.retain(|other| other.in_sync && group.members().voters.contains(&other.node));
        let Some(best) = others.iter().max_by_key(|other| other.matched) else { return false };
        group.transfer_leadership(best.node);
        true
    }

    /// The active controller, if this broker knows one.
    pub(crate) fn leader(&self) -> Option<i32> {
        self.group.borrow().leader()
    }

    /// Whether this broker is the active controller.
    pub(crate) fn is_active(&self) -> bool {
        self.state.borrow().active
    }

    /// Who has group 0, with what the leader knows of everyone (nothing elsewhere).
    pub(crate) fn quorum(&self) -> Quorum {
        let group = self.group.borrow();
        Quorum {
            members: group.members().clone(),
            leader: group.leader(),
            term: group.hard_state().term,
            applied: self.state.borrow().applied,
            last_index: self.log().last_index(),
            others: group.others(),
        }
    }

    /// Carries out a command on this broker, which has to be the active controller: written,
    /// committed, applied. Resolves with the state machine's word.
    async fn propose_here(&self, command: &Command) -> Result<Outcome, ProposeError> {
        if !self.is_active() {
            return Err(ProposeError::NotController);
        }
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

    fn on_commit(self: &Rc<Self>, commit: u64) {
        let mut state = self.state.borrow_mut();
        state.commit = state.commit.max(commit);
        if state.applying || state.applied >= state.commit {
            return;
        }
        drop(state);
        self.apply_committed();
    }

    fn apply_committed(self: &Rc<Self>) {
        loop {
            let (index, commit) = {
                let state = self.state.borrow();
                (state.applied + 1, state.commit)
            };
            if index > commit {
                break;
            }
            let Some(entry) = self.log().entry(index) else {
                self.state.borrow_mut().applying = true;
                self.load_and_apply(index);
                break;
            };
            if let Some(change) = change_of(&entry) {
                self.state.borrow_mut().applying = true;
                self.change_members(index, change);
                break;
            }
            self.apply_and_answer(&entry);
        }
        let (applied, term) = {
            let state = self.state.borrow();
            (state.applied, state.term)
        };
        let mut group = self.group.borrow_mut();
        group.applied_to(applied);
        // An entry of its own term is applied: only now does it know all that is committed.
        let active = group.leader_term() == Some(term) && self.log().term(applied) == Some(term);
        drop(group);
        if active && !std::mem::replace(&mut self.state.borrow_mut().active, true) {
            info!(term, "active controller");
            self.begin_watching();
        }
        self.maybe_save_snapshot();
    }

    /// Reads committed entries back from disk, then goes on applying.
    fn load_and_apply(self: &Rc<Self>, from: u64) {
        let controller = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let to = controller.state.borrow().commit + 1;
            let entries = match controller.log().entries(from, to, REPLAY_BYTES).await {
                Ok(entries) => entries,
                Err(error) => stop_process(&format!(
                    "committed entry {from} of the controller cannot be read back: {error}"
                )),
            };
            let _abort = AbortOnPanic("controller apply");
            for entry in &entries {
                if let Some(change) = change_of(entry) {
                    controller.change_members(entry.index, change);
                    return;
                }
                controller.apply_and_answer(entry);
            }
            controller.state.borrow_mut().applying = false;
            controller.apply_committed();
        });
    }

    /// Makes durable who the controllers are after a change, then lets it take effect: a controller
    /// that starts again must not take those it has left behind for a majority.
    fn change_members(self: &Rc<Self>, index: u64, change: MemberChange) {
        let controller = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let next = controller.group.borrow().members_after(index, &change);
            while let Some(members) = &next
                && let Err(error) = controller.save_snapshot(Some(members)).await
            {
                warn!(error, "the controllers' change waits until it is saved");
                tokio::time::sleep(SAVE_AGAIN_AFTER).await;
            }
            // Should the newest file be lost, the log still tells, as far as it is known committed.
            let mut hard_state = controller.group.borrow().hard_state();
            hard_state.commit = hard_state.commit.max(index);
            vote::save(&controller.env.votes, CONTROLLER_GROUP, hard_state).await;
            let _abort = AbortOnPanic("controller members");
            controller.group.borrow_mut().apply_members(index, &change);
            if let Some(members) = next {
                info!(?members, "controllers changed");
            }
            let mut state = controller.state.borrow_mut();
            state.applied = index;
            state.applying = false;
            drop(state);
            controller.apply_committed();
        });
    }

    fn apply_and_answer(&self, entry: &Entry) {
        let outcome = self.apply_entry(entry);
        let mut state = self.state.borrow_mut();
        state.applied = entry.index;
        state.unsaved_bytes += entry.size();
        let waiting = state.waiting.pop_front_if(|(of, _)| *of == entry.index);
        if let (Some((_, waiting)), Some(outcome)) = (waiting, outcome) {
            let _ = waiting.send(outcome.map_err(ProposeError::from));
        }
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

    /// Reads from disk what controllers that are behind need next.
    fn fetch_wanted(self: &Rc<Self>) {
        for wanted in self.group.borrow().take_wanted() {
            let controller = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let log = controller.log();
                let read = log.entries(wanted.low, wanted.high, wanted.bytes_max).await;
                let entries = match read {
                    Ok(entries) => entries,
                    // Cut meanwhile, or replaced: Raft finds another way.
                    Err(_) if wanted.low < log.first_index() => Vec::new(),
                    Err(_) if controller.state.borrow().installing => return,
                    Err(_) if !Rc::ptr_eq(&log, &controller.log()) => return,
                    // Whoever leads now sends what there is instead.
                    Err(_) if controller.group.borrow().leader_term().is_none() => Vec::new(),
                    Err(error) => {
                        stop_process(&format!("the controller's log cannot be read: {error}"))
                    }
                };
                let _abort = AbortOnPanic("controller send");
                controller.group.borrow_mut().on_fetched(entries, wanted);
            });
        }
    }

    /// Saves the image and leaves the log clean.
    pub(crate) async fn close(self: &Rc<Self>) {
        self.closed.set(true);
        if self.state.borrow().installing {
            return; // the next start carries on with whatever of it is durable
        }
        if let Err(error) = self.save_snapshot(None).await {
            warn!(error, "saving the cluster image failed");
        }
        if let Err(error) = self.log().close().await {
            warn!(%error, "closing the controller's log");
        }
    }

    /// What to persist at shutdown.
    pub(crate) fn hard_state(&self) -> HardState {
        self.group.borrow().hard_state()
    }
}

/// Group 0 as a broker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Quorum {
    pub(crate) members: Members,
    pub(crate) leader: Option<i32>,
    pub(crate) term: u64,
    pub(crate) applied: u64,
    pub(crate) last_index: u64,
    pub(crate) others: Vec<MemberProgress>,
}

/// Who the controllers are when no snapshot says so: the founders, and what the log has made of
/// them. A change that is not committed yet counts as well: a controller that knew too few of the
/// others might take itself for a majority.
async fn members_of(log: &Rc<Log>, node: &Node) -> Result<Members, OpenControllerError> {
    let mut members = Members::of_voters(node.controller_voters.iter().copied());
    let mut index = log.first_index();
    while index <= log.last_index() {
        let entries = log.entries(index, log.last_index() + 1, REPLAY_BYTES).await;
        for entry in entries.map_err(|error| OpenControllerError::Damaged(error.to_string()))? {
            if let Some(change) = change_of(&entry) {
                members = members.after(entry.index, &change);
            }
            index = entry.index + 1;
        }
    }
    Ok(members)
}

async fn open_log(
    env: &Rc<Environment>,
    dir: &Path,
    applied: u64,
    node: &Node,
) -> Result<Rc<Log>, OpenControllerError> {
    let scheduler = Rc::clone(&env.scheduler);
    // A segment is what comes between two snapshots, so that there is one to let go.
    let segment_bytes = node.config().kafka.metadata_bytes_between_snapshots;
    let segment_bytes_max = u32::try_from(segment_bytes).unwrap_or(u32::MAX);
    let (log, report) = Log::open(OpenLog {
        disk: Rc::clone(&env.disk),
        dir: dir.to_owned(),
        identity: snapshot::IDENTITY,
        config: LogConfig { retention_ms: None, segment_bytes_max, ..LogConfig::default() },
        shared: Rc::clone(&env.shared),
        applied,
        on_event: Rc::new(move |event| match event {
            LogEvent::Stable(_) => scheduler.schedule(CONTROLLER_GROUP),
            LogEvent::Failed => stop_process("writing the controller's log failed"),
            LogEvent::Written(_) | LogEvent::Full | LogEvent::Roomy => {}
        }),
    })
    .await?;
    match report.damaged.first() {
        Some(range) => Err(OpenControllerError::Damaged(range.to_string())),
        None => Ok(log),
    }
}

fn open_group(
    env: &Rc<Environment>,
    node: &Node,
    log: &Rc<Log>,
    members: Members,
    hard_state: HardState,
    applied: u64,
) -> Group {
    Group::open(OpenGroup {
        id: CONTROLLER_GROUP,
        node: env.node,
        members,
        passive: None,
        preferred: node.controller_voters.first() == Some(&node.id),
        log: Rc::clone(log),
        hard_state,
        applied,
        votes: Rc::clone(&env.votes),
        scheduler: Rc::clone(&env.scheduler),
        outgoing: Rc::clone(&env.outgoing),
    })
}

/// The change of members that an entry is, if it is one.
fn change_of(entry: &Entry) -> Option<MemberChange> {
    let Some(Internal::ConfChange(payload)) = Internal::of(entry) else { return None };
    let change = MemberChange::decode(&payload);
    Some(change.unwrap_or_else(|error| panic!("entry {} changes no members: {error}", entry.index)))
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
