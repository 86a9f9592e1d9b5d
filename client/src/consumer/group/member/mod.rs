//! A member's life in its group. The classic protocol's is here: join, receive an assignment, take
//! it over, heartbeat, and begin anew when the group rebalances. The other's is in `epoch`.
//!
//! It runs in a task of its own. What only the consumer can do it asks for as a
//! [`Step`](super::step::Step), and heartbeats while it waits. Nothing here ends it but leaving and
//! refusals that will not pass.

mod epoch;
mod join;
mod lead;
mod pattern;
mod pulse;
mod takeover;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::messages::LeaveGroupRequest;
use thalweg_protocol::messages::leave_group::MemberIdentity;
use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use self::epoch::Target;
use self::lead::Led;
use self::pattern::Pattern;
use self::pulse::Pulse;
use super::assignor::Assignor;
use super::builder::GroupProtocol;
use super::shared::Shared;
use super::step::Step;
use crate::cluster::{GroupError, GroupFault, Metadata, Pool};
use crate::topic_partition::TopicPartition;

/// What the consumer wants of its member task. When nobody can command it any more, it leaves.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Vec<Arc<str>>),
    Rejoin,
    Leave,
}

/// Why the member does not go on with what it was doing.
#[derive(Debug)]
enum Turn {
    /// The group rebalances, or the subscription has changed.
    Rejoin,
    /// The coordinator says what the member may have.
    Assigned(Target),
    /// The group does not know the member any more.
    Lost,
    /// The application has been busy for too long.
    Stalled,
    Leave,
    Fail(GroupError),
}

pub(super) struct Member {
    shared: Arc<Shared>,
    /// Connections of its own: joining blocks whatever is behind it.
    pool: Arc<Pool>,
    metadata: watch::Receiver<Arc<Metadata>>,
    /// Those that it subscribes to by name.
    topics: Vec<Arc<str>>,
    /// By what it finds further ones itself, where that is not the coordinator's business.
    pattern: Option<Pattern>,
    commands: mpsc::Receiver<Command>,
    steps: mpsc::Sender<Step>,
    pulse: Pulse,
    owned: BTreeSet<TopicPartition>,
    /// What it has divided, if it leads the group.
    led: Option<Led>,
    wants_rejoin: bool,
    /// The consumer may still be giving up what it was told to.
    is_giving_up: bool,
    /// What the coordinator has said while the member was busy with what it said before.
    next_target: Option<Target>,
    failures: u32,
}

/// How long leaving may take: the others wait no longer than for a member that died.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Member {
    pub(super) fn new(
        shared: Arc<Shared>,
        topics: Vec<Arc<str>>,
        commands: mpsc::Receiver<Command>,
        steps: mpsc::Sender<Step>,
    ) -> Self {
        let pool = Arc::new(shared.cluster.separate_pool());
        Member {
            pulse: Pulse::new(shared.clone(), pool.clone()),
            metadata: shared.cluster.watch(),
            shared,
            pool,
            topics,
            pattern: None,
            commands,
            steps,
            owned: BTreeSet::new(),
            led: None,
            wants_rejoin: false,
            is_giving_up: false,
            next_target: None,
            failures: 0,
        }
    }

    /// Lives until it leaves or fails.
    pub(super) async fn run(mut self) {
        let group = self.shared.group.clone();
        if let Err(error) = self.compile_pattern() {
            let _ = self.steps.send(Step::Fail(error)).await;
            return;
        }
        loop {
            let Err(mut turn) = match self.shared.settings.protocol {
                GroupProtocol::Classic => self.round().await,
                GroupProtocol::Consumer => self.live_by_epochs().await,
            };
            tracing::debug!(%group, ?turn, "the group moves on");
            if matches!(turn, Turn::Lost | Turn::Stalled | Turn::Fail(_)) {
                if matches!(turn, Turn::Stalled) {
                    tracing::warn!(%group, "nothing read for max_poll_interval: leaving the group");
                    leave(&self.shared).await;
                }
                self.next_target = None;
                self.shared.leave_identity();
                let lost = self.lose(matches!(turn, Turn::Stalled)).await;
                if let (Err(after), false) = (lost, matches!(turn, Turn::Fail(_))) {
                    turn = after;
                }
            }
            match turn {
                Turn::Rejoin | Turn::Assigned(_) | Turn::Lost | Turn::Stalled => {}
                Turn::Fail(error) => {
                    let _ = self.steps.send(Step::Fail(error)).await;
                    return;
                }
                Turn::Leave => {
                    self.commit_and_leave().await;
                    return;
                }
            }
        }
    }

    fn compile_pattern(&mut self) -> Result<(), GroupError> {
        let settings = &self.shared.settings;
        if let (GroupProtocol::Classic, Some(regex)) = (settings.protocol, &settings.regex) {
            let pattern = Pattern::compile(regex).map_err(|_| {
                let fault = GroupFault::Refused(ErrorCode::InvalidRegularExpression);
                GroupError::new(&self.shared.group, None, fault)
            });
            self.pattern = Some(pattern?);
        }
        Ok(())
    }

    /// The topics that it subscribes to, by name and as far as it has found them itself.
    fn subscribed_topics(&self) -> Vec<Arc<str>> {
        let found = self.pattern.iter().flat_map(Pattern::matches);
        let found = found.filter(|topic| !self.topics.contains(topic));
        self.topics.iter().chain(found).cloned().collect()
    }

    /// One classic generation, from joining to the next rebalance.
    async fn round(&mut self) -> Result<Infallible, Turn> {
        self.led = None;
        self.know_topics().await?;
        if !self.is_cooperative() {
            let owned = self.owned.iter().cloned().collect();
            self.give_up(owned).await?;
        } else if self.shared.settings.auto_commit.is_some() {
            self.shared.commit_bell.notify_one();
        }
        let span = tracing::debug_span!("rebalance", group = %self.shared.group);
        self.rebalance().instrument(span).await?;
        Err(self.next_turn().await)
    }

    async fn rebalance(&mut self) -> Result<(), Turn> {
        self.wants_rejoin = false;
        let joined = self.join().await?;
        let assigned = self.sync(&joined).await?;
        self.failures = 0;
        self.take_over(assigned).await
    }

    /// Whether it keeps its partitions through a rebalance, which all its assignors must allow.
    fn is_cooperative(&self) -> bool {
        let mut assignors = self.shared.settings.assignors.iter();
        assignors.all(|assignor| *assignor == Assignor::CooperativeSticky)
    }

    /// Asks about the topics that it subscribes to, so that they are known when it leads. However
    /// long that takes, the group knows meanwhile that the member lives.
    async fn know_topics(&mut self) -> Result<(), Turn> {
        let cluster = self.shared.cluster.clone();
        loop {
            self.find_topics().await?;
            let asked = self.subscribed_topics();
            asked.iter().for_each(|topic| cluster.keep_interest(topic));
            if asked.iter().all(|topic| cluster.known_topic(topic).is_some()) {
                return Ok(());
            }
            let reading = cluster.clone();
            let reading = async move { drop(reading.refresh().await) };
            match self.unless_lost(reading).await {
                Ok(()) | Err(Turn::Rejoin) => {}
                Err(turn) => return Err(turn),
            }
            // If nobody answers, joining will meet the same trouble, and has the patience.
            if self.subscribed_topics() == asked {
                return Ok(());
            }
        }
    }

    /// Tries the pattern, if there is one, on the topics there are. Whoever cannot tell which there
    /// are goes on with those found before, and tries again soon.
    async fn find_topics(&mut self) -> Result<(), Turn> {
        let Some(mut pattern) = self.pattern.take() else { return Ok(()) };
        let cluster = self.shared.cluster.clone();
        let looked = self.unless_lost(pattern.look_if_due(&cluster)).await;
        self.pattern = Some(pattern);
        match looked {
            Ok(_) | Err(Turn::Rejoin) => Ok(()),
            Err(turn) => Err(turn),
        }
    }

    /// Does `work`, unless it is told to do something else, and heartbeats as long as it is a
    /// member.
    async fn unless_lost<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Turn> {
        match self.shared.is_member() {
            true => self.keep_alive(work).await,
            false => self.unless_commanded(work).await,
        }
    }

    /// What happens next while nothing is to be done. Cancel-safe.
    async fn next_turn(&mut self) -> Turn {
        let cluster = self.shared.cluster.clone();
        tokio::select! {
            command = self.commands.recv() => turn_of(&mut self.topics, command),
            turn = self.pulse.next() => turn,
            () = lead::partitions_change(self.led.as_ref(), &cluster, &mut self.metadata) => {
                Turn::Rejoin
            }
            () = pattern::matches_change(self.pattern.as_mut(), &cluster) => Turn::Rejoin,
        }
    }

    /// Heartbeats while `work` is done. A rebalance is only taken note of.
    async fn keep_alive<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Turn> {
        tokio::pin!(work);
        loop {
            let turn = tokio::select! {
                biased;
                outcome = &mut work => return Ok(outcome),
                turn = self.next_turn() => turn,
            };
            match turn {
                Turn::Rejoin => {
                    self.wants_rejoin = true;
                    self.led = None;
                }
                Turn::Assigned(target) => self.next_target = Some(target),
                turn => return Err(turn),
            }
        }
    }

    /// Does `work`, unless it is told to do something else.
    async fn unless_commanded<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Turn> {
        tokio::select! {
            outcome = work => Ok(outcome),
            command = self.commands.recv() => Err(turn_of(&mut self.topics, command)),
        }
    }

    /// After a failure that may pass: waits a little, and looks for the coordinator anew if it was
    /// about that.
    async fn retry_after(&mut self, error: GroupError) -> Result<(), Turn> {
        if !error.is_retriable() {
            return Err(Turn::Fail(error));
        }
        tracing::debug!(%error, "trying again");
        let cluster = &self.shared.cluster;
        cluster.on_coordinator_error(&error);
        self.back_off().await
    }

    /// Waits a little, and the longer the more often it has done so in vain.
    async fn back_off(&mut self) -> Result<(), Turn> {
        let cluster = &self.shared.cluster;
        self.failures = self.failures.saturating_add(1);
        let delay = cluster.options.retry_backoff.delay(self.failures, &cluster.jitter);
        self.unless_commanded(sleep(delay)).await
    }

    async fn commit_and_leave(&mut self) {
        if self.shared.is_member() && self.shared.settings.auto_commit.is_some() {
            let offsets = self.shared.uncommitted(|_| true);
            let committing = self.shared.commit(offsets);
            if let Ok(Err(error)) = timeout(LEAVE_TIMEOUT, committing).await {
                tracing::warn!(%error, "leaving without a last commit");
            }
        }
        leave(&self.shared).await;
    }
}

/// What a command means; a new subscription is taken note of.
fn turn_of(topics: &mut Vec<Arc<str>>, command: Option<Command>) -> Turn {
    match command {
        Some(Command::Subscribe(wanted)) => {
            *topics = wanted;
            Turn::Rejoin
        }
        Some(Command::Rejoin) => Turn::Rejoin,
        Some(Command::Leave) | None => Turn::Leave,
    }
}

/// Tells the coordinator, so that the others need not wait. A static member may come back, so
/// it says nothing.
async fn leave(shared: &Shared) {
    if shared.settings.protocol == GroupProtocol::Consumer {
        return epoch::leave(shared).await;
    }
    let identity = shared.identity();
    if identity.group_instance_id.is_some() || identity.member_id.is_empty() {
        return;
    }
    let member_id = identity.member_id;
    let group_id = KafkaStr::copied_from(&shared.group);
    let build = |version| {
        if version < 3 {
            let (group_id, member_id) = (group_id.clone(), member_id.clone());
            return LeaveGroupRequest { group_id, member_id, ..LeaveGroupRequest::default() };
        }
        let member = MemberIdentity {
            member_id: member_id.clone(),
            reason: Some("the consumer is being closed".into()),
            ..MemberIdentity::default()
        };
        let (group_id, members) = (group_id.clone(), vec![member]);
        LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() }
    };
    // Over the shared connection: ours may be waiting for a rebalance.
    let (cluster, group) = (&shared.cluster, &shared.group);
    give_up_after_a_while(cluster.ask_coordinator(
        &cluster.pool,
        group,
        0..=5,
        build,
        LEAVE_TIMEOUT,
    ))
    .await;
}

/// Leaves it at that if the coordinator is not found, reached or heard from in time.
async fn give_up_after_a_while<T>(leaving: impl Future<Output = Result<T, GroupError>>) {
    match timeout(LEAVE_TIMEOUT, leaving).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the group was not told of the leaving"),
        Err(_) => tracing::debug!("the group was not told of the leaving in time"),
    }
}
