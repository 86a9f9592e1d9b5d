//! One partition on its shard: the only place that appends to its log or reads from it.
//!
//! A partition is a Raft group (also when this broker is its only member) whose state machine is
//! small: the high watermark, the producers' sequences, the log start. Everything here happens on
//! the owning shard's thread, in calls that do not wait; what waits, waits on a oneshot or on the
//! log.
//!
//! Invariant: `log start <= high watermark <= log end`, and nothing at or above the high watermark
//! is ever shown to a reader.
//! Invariant: offsets are given out by the leader only, in the order of Raft indexes.

mod append;
mod apply;
pub(crate) mod error;
pub(crate) mod fetch_wait;
mod heal;
mod in_sync;
mod offsets;
pub(crate) mod producers;
mod read;
mod reassign;
mod snapshot;
mod validate;

#[cfg(test)]
pub(crate) mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use thalweg_storage::ScrubPosition;
use thalweg_storage::disk::Disk;
use thalweg_storage::entry::Entry;
use thalweg_storage::error::{OpenError, WriteError};
use thalweg_storage::log::{Log, LogEvent, LogIdentity, OpenLog};
use thalweg_storage::shared::LogShared;
use thalweg_storage::votes::{GroupId, HardState, Votes};
use tracing::{error, info, warn};

pub(crate) use append::{Acks, Ticket};
pub(crate) use offsets::OffsetQuery;
pub(crate) use read::{ReadAnswer, ReadSpec};

use crate::abort::{AbortOnPanic, stop_process};
use crate::admin::metrics::{Metrics, TopicMetrics};
use crate::clock::Clock;
use crate::controller::assignment::Assignment;
use crate::controller::leaders::{Announced, Leader, Leaders};
use crate::replication::catch_up::CatchUp;
use crate::replication::group::{Group, Meeting, OpenGroup, Passive, Received};
use crate::replication::membership::Members;
use crate::replication::outgoing::{GroupMessage, Outgoing};
use crate::replication::scheduler::Scheduler;
use crate::shard::space::SpaceState;
use crate::topic_config::TopicSettings;
use append::InFlight;
use error::PartitionError;
use fetch_wait::Waiters;
use in_sync::InSync;
use producers::Producers;
use reassign::Confirming;
use snapshot::{Change, OpenPartitionError};

/// How long to wait before an entry that cannot be read is tried again for another replica.
const UNREADABLE_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What the partitions of one shard share.
pub(crate) struct Environment {
    pub(crate) node: i32,
    pub(crate) clock: Clock,
    pub(crate) disk: Rc<dyn Disk>,
    pub(crate) shared: Rc<LogShared>,
    pub(crate) votes: Rc<Votes>,
    pub(crate) scheduler: Rc<Scheduler>,
    /// What this shard's groups have to say to other brokers.
    pub(crate) outgoing: Rc<Outgoing>,
    /// Where reads for replicas that are behind wait for their turn.
    pub(crate) catch_up: CatchUp,
    pub(crate) leaders: Arc<Leaders>,
    pub(crate) metrics: Metrics,
    pub(crate) space: Arc<SpaceState>,
}

/// What it takes to open a partition.
pub(crate) struct OpenPartition {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) assignment: Assignment,
    pub(crate) hard_state: HardState,
    pub(crate) settings: Arc<TopicSettings>,
}

/// One partition of which this broker holds a replica.
pub(crate) struct Partition {
    pub(crate) id: GroupId,
    /// The topic's name.
    pub(crate) name: String,
    dir: PathBuf,
    assignment: RefCell<Assignment>,
    env: Rc<Environment>,
    log: Rc<Log>,
    group: RefCell<Group>,
    state: RefCell<State>,
    /// One writer of the snapshot at a time.
    saving: tokio::sync::Mutex<()>,
    topic_metrics: TopicMetrics,
    /// What the topic's metrics hold of this log's size.
    counted_bytes: Cell<i64>,
    /// Whether someone waits for `acks=1`: only then is a mere write worth a step.
    wants_written: Rc<Cell<bool>>,
}

struct State {
    settings: Arc<TopicSettings>,
    role: Role,
    /// The offset that the next batch gets: the log end once everything proposed is in the log.
    next_append_offset: i64,
    high_watermark: i64,
    commit: u64,
    applied: u64,
    /// A committed entry is being read back from disk, or a change of members is being made
    /// durable, before it can be applied.
    applying: bool,
    /// That a leader was met is being made durable.
    meeting: bool,
    producers: Producers,
    in_flight: VecDeque<InFlight>,
    /// `acks` of 0 and 1 are answered up to this index.
    answered_written: u64,
    waiters: Waiters,
    unsaved: snapshot::Unsaved,
    /// Records below are deleted; a replica that came late may have to delete them yet.
    log_start_floor: i64,
    /// How far the log has been verified in this round.
    scrubbed: ScrubPosition,
    healing: heal::Healing,
    /// Nothing may be begun any more.
    closed: bool,
    in_sync: InSync,
    confirming: Option<Confirming>,
    /// How often in a row the preferred leader was found able to lead.
    preferred_seen: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Following,
    /// Elected, but no entry of this term has committed and applied yet: nothing is served.
    Elected {
        term: u32,
    },
    Serving {
        term: u32,
    },
}

impl Partition {
    /// Opens the partition's log, rebuilds its state and starts its group.
    pub(crate) async fn open(
        env: &Rc<Environment>,
        open: OpenPartition,
    ) -> Result<Rc<Partition>, OpenPartitionError> {
        let OpenPartition { id, name, dir, assignment, hard_state, settings } = open;
        let wants_written = Rc::new(Cell::new(false));
        let identity = LogIdentity { topic: id.topic, partition: id.partition };
        let moved = assignment.origin.is_some();
        let snapshot = snapshot::load(env, &dir, identity, moved).await?;
        let open_log = |applied| OpenLog {
            disk: Rc::clone(&env.disk),
            dir: dir.clone(),
            identity,
            config: settings.log_config(),
            shared: Rc::clone(&env.shared),
            applied,
            on_event: on_log_event(env, id, &name, &wants_written),
        };
        let known = snapshot.as_ref().map_or(0, |snapshot| snapshot.applied);
        let (mut log, mut report) = Log::open(open_log(known)).await?;
        let is_new = snapshot.is_none() && log.last_index() == 0;
        let mut snapshot = snapshot::usable(snapshot, &log);
        if known > log.last_index() {
            // The log has lost its tail. What it gets instead may be something else, so what was
            // known of the tail must not be believed later.
            snapshot::write(env, &dir, &snapshot).await?;
            if let Err(error) = log.close().await {
                return Err(OpenError::from(std::io::Error::other(error)).into());
            }
            (log, report) = Log::open(open_log(snapshot.applied)).await?;
        }
        if is_new && moved {
            // The group began without this broker, or long ago: whom the broker would take for the
            // voters may have left.
            snapshot.passive = Some(Passive::default());
            let members = Members::of_voters(assignment.initial_voters().iter().copied());
            snapshot.members = Some(members);
            snapshot::write(env, &dir, &snapshot).await?;
        }
        let cut_bytes = report.segments.iter().map(|segment| segment.bytes_cut).sum();
        let rebuilt = report.segments.iter().filter(|segment| segment.ledger_rebuilt).count();
        env.metrics.on_recovered(cut_bytes, rebuilt.try_into().unwrap_or(u64::MAX));
        let snapshot::Snapshot { applied, producers, members, passive, log_start_floor, .. } =
            snapshot;
        let initial = || Members::of_voters(assignment.initial_voters().iter().copied());
        let preferred = assignment.replicas.first() == Some(&env.node);
        let group = Group::open(OpenGroup {
            id,
            node: env.node,
            members: members.unwrap_or_else(initial),
            passive,
            preferred,
            log: Rc::clone(&log),
            hard_state,
            applied,
            votes: Rc::clone(&env.votes),
            scheduler: Rc::clone(&env.scheduler),
            outgoing: Rc::clone(&env.outgoing),
        });
        let next_offset = log.next_offset();
        let state = State {
            settings,
            role: Role::Following,
            next_append_offset: next_offset,
            high_watermark: offset_after(&log, applied).await,
            commit: applied,
            applied,
            applying: false,
            meeting: false,
            producers,
            in_flight: VecDeque::new(),
            answered_written: 0,
            waiters: Waiters::default(),
            unsaved: snapshot::Unsaved::default(),
            log_start_floor,
            scrubbed: ScrubPosition::START,
            healing: heal::Healing::default(),
            closed: false,
            in_sync: InSync::default(),
            confirming: None,
            preferred_seen: 0,
        };
        let (group, state) = (RefCell::new(group), RefCell::new(state));
        let saving = tokio::sync::Mutex::default();
        let topic_metrics = env.metrics.topic(&name);
        let env = Rc::clone(env);
        let partition = Rc::new(Partition {
            id,
            name,
            dir,
            assignment: RefCell::new(assignment),
            env,
            log,
            group,
            state,
            saving,
            topic_metrics,
            counted_bytes: Cell::new(0),
            wants_written,
        });
        partition.report_damage();
        Ok(partition)
    }

    /// Does everything the group has to do now. Called by the shard's driver.
    ///
    /// Returns false if the partition has to be opened anew: see [`Partition::close`].
    #[must_use]
    pub(crate) fn step(self: &Rc<Self>) -> bool {
        let _abort = AbortOnPanic("partition step");
        let progress = self.group.borrow_mut().step();
        self.fetch_wanted();
        if progress.snapshot_wanted {
            let transfer = self.transfer();
            let before_first = self.log.first_index() - 1;
            self.group.borrow_mut().offer_snapshot(before_first, transfer);
        }
        if progress.lost_leadership {
            self.on_leadership_lost();
        }
        if progress.campaigned {
            self.env.metrics.on_election();
        }
        if let Some(term) = progress.became_leader {
            let mut state = self.state.borrow_mut();
            state.role = Role::Elected { term };
            state.next_append_offset = self.log.next_offset();
        }
        self.answer_written();
        self.on_commit(progress.commit);
        !progress.promoted
    }

    /// Moves the group's clock by one tick.
    pub(crate) fn tick(&self) {
        let _abort = AbortOnPanic("partition tick");
        self.group.borrow_mut().tick();
    }

    /// Takes a message of another replica.
    /// What has to be installed first is returned.
    pub(crate) fn receive(self: &Rc<Self>, message: GroupMessage) -> Option<Box<GroupMessage>> {
        let _abort = AbortOnPanic("partition receive");
        let received = self.group.borrow_mut().receive(message);
        match received {
            Received::Taken => None,
            Received::Install(message) => Some(message),
            Received::Met(meeting) => {
                self.meet(meeting);
                None
            }
        }
    }

    /// A passive replica notes when it first heard of a leader, before it answers that; the leader
    /// writes again.
    fn meet(self: &Rc<Self>, meeting: Meeting) {
        if std::mem::replace(&mut self.state.borrow_mut().meeting, true) {
            return;
        }
        let partition = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if partition.insist_on_saving(Change::Met(meeting)).await {
                partition.group.borrow_mut().met(meeting);
                partition.state.borrow_mut().meeting = false;
            }
        });
    }

    /// The connection to a broker broke.
    pub(crate) fn on_unreachable(&self, node: i32) {
        self.group.borrow_mut().on_unreachable(node);
    }

    /// Closes the partition such that its next open begins where the leader's log begins, if the
    /// leader's state can be read.
    pub(crate) async fn prepare_install(
        self: &Rc<Self>,
        index: u64,
        term: u64,
        data: &[u8],
    ) -> bool {
        self.on_leadership_lost_for_good();
        let _no_other_writer = self.saving.lock().await;
        if let Err(error) = self.log.close().await {
            warn!(topic = %self.name, partition = self.id.partition, %error, "closing");
        }
        let passive = self.group.borrow().passive();
        snapshot::note_install(&self.env, &self.dir, (index, term), data, passive).await
    }

    /// Reads from disk what members that are behind need next.
    fn fetch_wanted(self: &Rc<Self>) {
        for wanted in self.group.borrow().take_wanted() {
            let partition = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let read = partition.log.entries(wanted.low, wanted.high, wanted.bytes_max);
                let bytes = |read: &Result<Vec<_>, _>| {
                    read.iter().flatten().map(|entry: &Entry| entry.size()).sum()
                };
                let entries = match partition.env.catch_up.read(read, bytes).await {
                    Ok(entries) => entries,
                    Err(error) => {
                        error!(topic = %partition.name, partition = partition.id.partition,
                            index = wanted.low, %error, "cannot read what another replica needs");
                        tokio::time::sleep(UNREADABLE_RETRY_AFTER).await;
                        Vec::new()
                    }
                };
                let _abort = AbortOnPanic("partition send");
                partition.group.borrow_mut().on_fetched(entries, wanted);
            });
        }
    }

    /// The term this broker serves the partition in.
    fn serving(&self) -> Result<i32, PartitionError> {
        match self.state.borrow().role {
            Role::Serving { term } => Ok(i32::try_from(term).unwrap_or(i32::MAX)),
            Role::Elected { .. } | Role::Following => Err(PartitionError::NotLeader),
        }
    }

    /// Checks the leader epoch that a client believes in; −1 means it has none (KIP-320).
    fn check_epoch(&self, found: i32) -> Result<i32, PartitionError> {
        let current = self.serving()?;
        match found {
            -1 => Ok(current),
            _ if found < current => Err(PartitionError::FencedEpoch { found, current }),
            _ if found > current => Err(PartitionError::UnknownEpoch { found, current }),
            _ => Ok(current),
        }
    }

    fn on_serving(&self, term: u32) {
        let mut lagging = self.env.leaders.lagging(self.id.topic, self.id.partition);
        lagging.retain(|node| *node != self.env.node);
        let mut state = self.state.borrow_mut();
        state.role = Role::Serving { term };
        state.in_sync.begin(tokio::time::Instant::now(), self.log.last_index(), lagging);
        drop(state);
        self.announce();
        info!(topic = %self.name, partition = self.id.partition, epoch = term, "leading");
    }

    /// What all brokers are to know of this leadership, if it is one.
    pub(crate) fn announcement(&self) -> Option<Announced> {
        let leader = Leader { node: self.env.node, epoch: self.serving_epoch()? };
        Some(Announced { leader, lagging: self.state.borrow().in_sync.lagging().to_vec() })
    }

    fn announce(&self) {
        let Some(announced) = self.announcement() else { return };
        self.env.leaders.announce(&[(self.id, announced.clone())]);
        self.env.outgoing.announce(self.id, announced);
        // Whoever follows the leadership looks after each step.
        self.env.scheduler.schedule(self.id);
    }

    fn on_leadership_lost(&self) {
        warn!(topic = %self.name, partition = self.id.partition, "leadership lost");
        let mut state = self.state.borrow_mut();
        state.role = Role::Following;
        state.producers.forget_in_flight();
        for in_flight in state.in_flight.drain(..) {
            in_flight.finish(&Err(PartitionError::OutcomeUnknown));
        }
        state.waiters.wake_all();
    }

    /// Takes over changed topic configuration.
    pub(crate) fn set_settings(&self, settings: &Arc<TopicSettings>) {
        let mut state = self.state.borrow_mut();
        if state.settings != *settings {
            state.settings = Arc::clone(settings);
            self.log.set_config(settings.log_config());
        }
    }

    /// The leader epoch in which this broker serves the partition, if it does.
    pub(crate) fn serving_epoch(&self) -> Option<i32> {
        self.serving().ok()
    }

    /// Whether no other broker has a replica.
    pub(crate) fn is_alone(&self) -> bool {
        self.group.borrow().members().is_alone(self.env.node)
    }

    /// Whether this broker serves the partition.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving().is_ok()
    }

    /// Bytes on disk, without preallocated space.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// Brings the topic's metrics up to the log's size.
    pub(crate) fn count_size(&self) {
        let bytes = i64::try_from(self.size_bytes()).unwrap_or(i64::MAX);
        self.topic_metrics.add_log_bytes(bytes - self.counted_bytes.replace(bytes));
    }

    /// Refuses everything from now on, saves what the next start would otherwise rebuild, and
    /// leaves the files such that nothing need be verified.
    pub(crate) async fn close(self: &Rc<Self>) -> Result<(), WriteError> {
        self.on_leadership_lost_for_good();
        self.save_at_close().await;
        self.log.close().await
    }

    /// Removes the partition's data.
    pub(crate) async fn delete(self: &Rc<Self>) -> Result<(), WriteError> {
        self.on_leadership_lost_for_good();
        self.log.delete().await
    }

    fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    fn on_leadership_lost_for_good(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.role = Role::Following;
        for in_flight in state.in_flight.drain(..) {
            in_flight.finish(&Err(PartitionError::OutcomeUnknown));
        }
        state.waiters.wake_all();
    }

    /// What to persist at shutdown so that the next start knows how far the log was committed.
    pub(crate) fn hard_state(&self) -> HardState {
        self.group.borrow().hard_state()
    }
}

/// The offset that follows the entry at `index`.
async fn offset_after(log: &Rc<Log>, index: u64) -> i64 {
    if index >= log.last_index() {
        return log.next_offset();
    }
    if index < log.first_index() {
        return log.first_entry_offset();
    }
    match log.load_meta(index).await {
        Ok(meta) => meta.next_offset(),
        // Damaged: what follows says it when it is applied.
        Err(_damaged) => log.log_start_offset(),
    }
}

/// What a log's progress means to its shard.
fn on_log_event(
    env: &Rc<Environment>,
    id: GroupId,
    name: &str,
    wants_written: &Rc<Cell<bool>>,
) -> Rc<dyn Fn(LogEvent)> {
    let (scheduler, wants_written) = (Rc::clone(&env.scheduler), Rc::clone(wants_written));
    let name = name.to_owned();
    Rc::new(move |event| match event {
        LogEvent::Stable(_) => scheduler.schedule(id),
        LogEvent::Written(_) if wants_written.get() => scheduler.schedule(id),
        LogEvent::Written(_) => {}
        LogEvent::Full => warn!(topic = %name, partition = id.partition, "disk full: writes wait"),
        LogEvent::Roomy => {
            info!(topic = %name, partition = id.partition, "space again: writes go on");
        }
        LogEvent::Failed => stop_process(&format!(
            "writing or flushing {name}-{} failed; what was acknowledged is on disk, and nothing more can be trusted to get there",
            id.partition
        )),
    })
}
