//! The coordinator of the groups of one partition of `__consumer_offsets`, for as long as this
//! broker leads that partition in one epoch.
//!
//! Every request is one turn of the groups' state machine: it reads, appends and changes state in
//! one call that does not wait. Its answer does wait, until everything that was appended before it
//! was computed has committed.
//!
//! Invariant: no answer, not even a read, is given while something it may rest on is uncommitted;
//! if that is lost with the leadership, the answer is NOT_COORDINATOR.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::classic::{Join, Sync};
use super::deadlines::Deadlines;
use super::groups::Groups;
use super::journal::PartitionJournal;
use super::progress::{AppendCount, Progress};
use super::turn::{Answer, GroupSettings, Turn, Waiter};
use super::{load, upkeep};
use crate::node::Node;
use crate::partition::Partition;
use crate::shard::Shard;

/// How soon a load that failed is tried again, and how seldom at last.
const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);
const LOAD_AGAIN_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// Groups whose time has come that are dealt with before others have their turn.
const DUE_TOGETHER: usize = 64;

/// The coordinator of one partition in one leader epoch.
pub(crate) struct Coordinator {
    pub(super) node: Arc<Node>,
    pub(super) partition: Rc<Partition>,
    /// Where it runs.
    pub(super) shard: Weak<Shard>,
    epoch: i32,
    started: Instant,
    phase: Cell<Phase>,
    state: RefCell<State>,
    progress: Progress,
    /// The broker is stopping: nobody is kept waiting for others.
    dismissing: Cell<bool>,
    /// A deadline came nearer, or the coordinator ended.
    wake: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Ended,
}

#[derive(Default)]
struct State {
    groups: Groups,
    /// When each group has something to do.
    due: Deadlines,
    waiting: HashMap<Waiter, oneshot::Sender<Answered>>,
    last_waiter: u64,
    appended: AppendCount,
}

/// An answer, and how many appends must have committed before it is given.
struct Answered {
    answer: Answer,
    after: AppendCount,
}

impl Coordinator {
    /// Begins to load the partition's groups; they are served when all is loaded.
    pub(super) fn start(shard: &Rc<Shard>, partition: &Rc<Partition>, epoch: i32) -> Rc<Self> {
        let (progress, queue) = Progress::new();
        // A log without records has no groups: the first client need not be told to come back.
        let is_bare = partition.log_start_offset() == partition.high_watermark();
        let phase = if is_bare { Phase::Active } else { Phase::Loading };
        let coordinator = Rc::new(Coordinator {
            node: Arc::clone(&shard.node),
            partition: Rc::clone(partition),
            shard: Rc::downgrade(shard),
            epoch,
            started: Instant::now(),
            phase: Cell::new(phase),
            state: RefCell::default(),
            progress,
            dismissing: Cell::new(false),
            wake: Notify::new(),
        });
        tokio::task::spawn_local(Rc::clone(&coordinator).serve());
        let following = Rc::clone(&coordinator);
        tokio::task::spawn_local(async move {
            following.progress.follow(queue).await;
            following.end();
        });
        coordinator
    }

    /// The leader epoch that this coordinator is of.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Leadership is lost, or the partition goes: everyone who waits asks elsewhere.
    pub(super) fn end(&self) {
        if self.phase.replace(Phase::Ended) != Phase::Ended {
            self.progress.lose();
            self.state.replace(State::default());
            self.wake.notify_one();
        }
    }

    /// Sends away everyone who waits for other members, now and from now on. What was appended is
    /// still answered for.
    pub(super) fn dismiss_waiting(&self) {
        self.dismissing.set(true);
        self.state.borrow_mut().waiting.clear();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase.get() == Phase::Ended
    }

    async fn serve(self: Rc<Self>) {
        if self.phase.get() == Phase::Loading {
            self.load().await;
        }
        tokio::select! {
            () = self.keep_time() => {}
            () = upkeep::run(&self) => {}
        }
    }

    async fn load(&self) {
        let mut pause = LOAD_AGAIN_AFTER;
        let groups = loop {
            let groups = load::groups(self).await;
            if self.is_ended() {
                return;
            }
            match groups {
                Some(groups) => break groups,
                // What cannot be read now may be readable later; until then nothing is served.
                None => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LOAD_AGAIN_AT_LEAST_EVERY);
        };
        let ids = groups.ids();
        self.state.borrow_mut().groups = groups;
        self.phase.set(Phase::Active);
        for some in ids.chunks(DUE_TOGETHER) {
            for id in some {
                self.turn(id, |groups, turn| groups.on_loaded(id, turn));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets time do its work in the groups, until the coordinator ends.
    async fn keep_time(&self) {
        while !self.is_ended() {
            let next = self.state.borrow().due.next();
            let due = async {
                match next {
                    Some(ms) => sleep_until(self.started + Duration::from_millis(ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.wake.notified() => {}
            }
            for _ in 0..DUE_TOGETHER {
                let now_ms = self.now_ms();
                let Some(id) = self.state.borrow_mut().due.pop_due(now_ms) else { break };
                self.turn(&id, |groups, turn| groups.on_time(&id, turn));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Milliseconds since this coordinator began.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the configuration says now.
    pub(super) fn settings(&self) -> GroupSettings {
        self.node.config().kafka.groups.clone()
    }

    /// Runs one turn of the state machine on the group `id`, and returns what it returns with the
    /// number of appends that must have committed before anyone hears of it.
    fn turn<R>(
        &self,
        id: &KafkaStr,
        work: impl FnOnce(&mut Groups, &mut Turn<'_>) -> R,
    ) -> (R, AppendCount) {
        let wall_ms = self.node.clock.now_ms();
        let settings = self.settings();
        let image = self.node.images.load();
        let mut journal =
            PartitionJournal { partition: &self.partition, wall_ms, tickets: Vec::new() };
        let mut turn = Turn {
            now_ms: self.now_ms(),
            wall_ms,
            settings: &settings,
            image: &image,
            journal: &mut journal,
            answers: Vec::new(),
        };
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let result = work(&mut state.groups, &mut turn);
        let answers = std::mem::take(&mut turn.answers);
        for ticket in journal.tickets {
            state.appended += 1;
            self.progress.on_appended(ticket);
        }
        for (waiter, answer) in answers {
            if let Some(waiting) = state.waiting.remove(&waiter) {
                // A client that went away does not mind.
                let _ = waiting.send(Answered { answer, after: state.appended });
            }
        }
        let nearest = state.due.next();
        match state.groups.get(id).map(|group| group.next_deadline()) {
            Some(Some(deadline)) => state.due.set(id, deadline),
            Some(None) | None => state.due.remove(id),
        }
        let next = state.due.next();
        if next.is_some_and(|next| nearest.is_none_or(|nearest| next < nearest)) {
            self.wake.notify_one();
        }
        (result, state.appended)
    }

    fn check_active(&self) -> Result<(), ErrorCode> {
        match self.phase.get() {
            Phase::Ended => Err(ErrorCode::NotCoordinator),
            _ if self.partition.serving_epoch() != Some(self.epoch) => {
                Err(ErrorCode::NotCoordinator)
            }
            Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::Active => Ok(()),
        }
    }

    async fn settle(&self, after: AppendCount) -> Result<(), ErrorCode> {
        self.progress.committed(after).await.map_err(|_lost| ErrorCode::NotCoordinator)
    }

    /// Runs one request on the group `id` and returns its outcome when it may be told.
    pub(crate) async fn run<R>(
        &self,
        id: &KafkaStr,
        work: impl FnOnce(&mut Groups, &mut Turn<'_>) -> R,
    ) -> Result<R, ErrorCode> {
        self.check_active()?;
        let (result, after) = self.turn(id, work);
        self.settle(after).await?;
        Ok(result)
    }

    /// Runs a question about all groups.
    pub(crate) async fn ask<R>(&self, question: impl FnOnce(&Groups) -> R) -> Result<R, ErrorCode> {
        self.check_active()?;
        let (result, after) = {
            let state = self.state.borrow();
            (question(&state.groups), state.appended)
        };
        self.settle(after).await?;
        Ok(result)
    }

    /// JoinGroup: answered when the member's generation begins.
    pub(crate) async fn join(
        &self,
        id: &KafkaStr,
        join: Join,
    ) -> Result<JoinGroupResponse, ErrorCode> {
        let answer = self.wait_in(id, |groups, waiter, turn| groups.join(id, join, waiter, turn));
        match answer.await? {
            Answer::Join(response) => Ok(response),
            Answer::Sync(_) => unreachable!("a JoinGroup was answered as a SyncGroup"),
        }
    }

    /// SyncGroup: answered when the leader has assigned.
    pub(crate) async fn sync(
        &self,
        id: &KafkaStr,
        sync: &Sync,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let answer = self.wait_in(id, |groups, waiter, turn| groups.sync(id, sync, waiter, turn));
        match answer.await? {
            Answer::Sync(response) => Ok(response),
            Answer::Join(_) => unreachable!("a SyncGroup was answered as a JoinGroup"),
        }
    }

    async fn wait_in(
        &self,
        id: &KafkaStr,
        work: impl FnOnce(&mut Groups, Waiter, &mut Turn<'_>),
    ) -> Result<Answer, ErrorCode> {
        self.check_active()?;
        if self.dismissing.get() {
            return Err(ErrorCode::NotCoordinator);
        }
        let (answer, answered) = oneshot::channel();
        let waiter = {
            let mut state = self.state.borrow_mut();
            state.last_waiter += 1;
            let waiter = Waiter(state.last_waiter);
            state.waiting.insert(waiter, answer);
            waiter
        };
        self.turn(id, |groups, turn| work(groups, waiter, turn));
        // The state, and with it the sender, goes when the coordinator ends.
        let answered = answered.await.map_err(|_ended| ErrorCode::NotCoordinator)?;
        self.settle(answered.after).await?;
        Ok(answered.answer)
    }

    /// The ids of all groups, for what goes through them one by one.
    pub(super) fn group_ids(&self) -> Vec<KafkaStr> {
        self.state.borrow().groups.ids()
    }

    /// The topics in which any group has offsets, with their ids as far as they were known.
    pub(super) fn topics_with_offsets(&self) -> BTreeSet<(KafkaStr, Uuid)> {
        self.state.borrow().groups.topics_with_offsets()
    }

    /// Runs housekeeping on one group. Nobody waits for its outcome.
    pub(super) fn tend(
        &self,
        id: &KafkaStr,
        work: impl FnOnce(&mut Groups, &mut Turn<'_>) -> Result<(), ErrorCode>,
    ) {
        if self.check_active().is_ok()
            && let (Err(code), _) = self.turn(id, work)
        {
            tracing::warn!(group = %id, %code, "forgetting offsets failed; it will be tried again");
        }
    }
}
