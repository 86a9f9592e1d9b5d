//! What a group consumer, its member task and its committing task share: who it is in the group,
//! and committing in that name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument;
use uuid::Uuid;

use super::builder::{GroupProtocol, GroupSettings};
use super::error::CommitError;
use super::liveness::Liveness;
use crate::cluster::{Cluster, Committer, GroupError, GroupFault};
use crate::committed_offset::CommittedOffset;
use crate::consumer::board::Board;
use crate::consumer::builder::unbegun;
use crate::consumer::{ConsumeError, ConsumeFault};
use crate::topic_partition::TopicPartition;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) group: Arc<str>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) settings: GroupSettings,
    pub(super) board: Arc<Board>,
    pub(super) liveness: Liveness,
    /// Rung to commit now, in the background.
    pub(super) commit_bell: Notify,
    identity: Mutex<Committer>,
    /// How often it has stopped being a member.
    losses: AtomicU64,
    /// What was last committed, to commit only what is new.
    last_committed: Mutex<HashMap<TopicPartition, i64>>,
    /// Commits go one after another, so that an older one that is tried again cannot undo a newer.
    commit_turn: tokio::sync::Mutex<()>,
}

/// Offsets to commit.
pub(super) type Offsets = Vec<(TopicPartition, CommittedOffset)>;

impl Shared {
    pub(super) fn new(
        group: Arc<str>,
        cluster: Arc<Cluster>,
        settings: GroupSettings,
        board: Arc<Board>,
    ) -> Self {
        let member_id = match settings.protocol {
            // The coordinator gives one to whoever joins.
            GroupProtocol::Classic => KafkaStr::default(),
            GroupProtocol::Consumer => KafkaStr::from(Uuid::new_v4().to_string()),
        };
        let group_instance_id = settings.group_instance_id.clone();
        let identity = Committer { member_id, group_instance_id, ..Committer::outsider() };
        Shared {
            group,
            cluster,
            settings,
            board,
            liveness: Liveness::default(),
            commit_bell: Notify::new(),
            identity: Mutex::new(identity),
            losses: AtomicU64::new(0),
            last_committed: Mutex::default(),
            commit_turn: tokio::sync::Mutex::default(),
        }
    }

    /// Who the consumer is in the group; its generation is −1 while it is nobody.
    pub(super) fn identity(&self) -> Committer {
        self.lock_identity().clone()
    }

    pub(super) fn is_member(&self) -> bool {
        self.lock_identity().generation >= 0
    }

    pub(super) fn generation(&self) -> Option<i32> {
        Some(self.lock_identity().generation).filter(|generation| *generation >= 0)
    }

    pub(super) fn set_identity(&self, member_id: KafkaStr, generation: i32) {
        let mut identity = self.lock_identity();
        identity.member_id = member_id;
        identity.generation = generation;
    }

    /// The consumer is no member any more. In the consumer protocol it comes back under its id.
    pub(super) fn leave_identity(&self) {
        let mut identity = self.lock_identity();
        identity.generation = -1;
        self.losses.fetch_add(1, Ordering::Release);
        if self.settings.protocol == GroupProtocol::Classic {
            identity.member_id = KafkaStr::default();
        }
    }

    fn lock_identity(&self) -> MutexGuard<'_, Committer> {
        self.identity.lock().expect("no one panics while holding this lock")
    }

    fn last_committed(&self) -> MutexGuard<'_, HashMap<TopicPartition, i64>> {
        self.last_committed.lock().expect("no one panics while holding this lock")
    }

    /// Takes note of what is committed; none for a partition that is the consumer's no more.
    pub(super) fn note_committed(&self, partition: &TopicPartition, offset: Option<i64>) {
        let mut last_committed = self.last_committed();
        match offset {
            Some(offset) => last_committed.insert(partition.clone(), offset),
            None => last_committed.remove(partition),
        };
    }

    /// How far the application has got in its partitions, where that has not been committed.
    pub(super) fn uncommitted(&self, wanted: impl Fn(&TopicPartition) -> bool) -> Offsets {
        let board = self.board.lock();
        let last_committed = self.last_committed();
        let reached = board.assigned().filter(|it| wanted(&it.partition)).filter_map(|it| {
            let offset = match self.settings.auto_store {
                true => it.progress.get()?,
                false => it.progress.stored()?,
            };
            let is_new = last_committed.get(&*it.partition) != Some(&offset);
            is_new.then(|| {
                let leader_epoch = it.progress.epoch_before(offset);
                let next = CommittedOffset { leader_epoch, ..CommittedOffset::new(offset) };
                (TopicPartition::clone(&it.partition), next)
            })
        });
        reached.collect()
    }

    /// The application says how far it has come in a partition: what is committed from now on.
    pub(super) fn store(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<(), ConsumeError> {
        let fault = match self.board.lock().find(partition) {
            None => ConsumeFault::NotAssigned,
            Some(assignment) if assignment.progress.store(offset) => {
                self.on_progress();
                return Ok(());
            }
            Some(_) => ConsumeFault::Outdated { offset },
        };
        Err(unbegun(partition, fault))
    }

    /// The application has got further, which is committed now if there is to be no pause.
    pub(super) fn on_progress(&self) {
        if self.settings.auto_commit.is_some_and(|interval| interval.is_zero()) {
            self.commit_bell.notify_one();
        }
    }

    /// Commits offsets, again through rebalances and moves of the coordinator as long as the
    /// partitions are the consumer's and the operation timeout is not over.
    pub(super) async fn commit(&self, offsets: Offsets) -> Result<(), CommitError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let partitions = offsets.len();
        let span = tracing::debug_span!("commit", group = %self.group, partitions);
        let outcome = self.commit_some(&offsets).instrument(span).await;
        if outcome.is_ok() {
            self.board.settings.interceptors.on_commit(&self.group, &offsets);
        }
        if let Some(observer) = &self.cluster.options.observer {
            observer.on_commit(&self.group, partitions, outcome.is_ok());
        }
        outcome
    }

    async fn commit_some(&self, offsets: &Offsets) -> Result<(), CommitError> {
        // What was read as one member is not committed as the next: others may be further by then.
        let losses = self.losses.load(Ordering::Acquire);
        let mut offsets = offsets.clone();
        let _turn = self.commit_turn.lock().await;
        let options = self.cluster.options.clone();
        let deadline = Instant::now() + options.operation_timeout;
        let mut failures = 0;
        loop {
            let committer = self.identity();
            if committer.generation < 0 || self.losses.load(Ordering::Acquire) != losses {
                return Err(CommitError::NotAMember(self.group.clone()));
            }
            let attempt = self.cluster.commit_group_offsets(&self.group, &committer, &offsets);
            let outcomes = attempt.await?;
            let Err(error) = self.judge(&mut offsets, outcomes) else { return Ok(()) };
            failures += 1;
            let delay = options.retry_backoff.delay(failures, &self.cluster.jitter);
            if !self.may_retry(&error, &committer, &offsets) || Instant::now() + delay >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "committing again");
            sleep(delay).await;
        }
    }

    /// Takes note of what was committed, and leaves the rest; the first failure counts.
    fn judge(
        &self,
        offsets: &mut Offsets,
        outcomes: Vec<(TopicPartition, ErrorCode)>,
    ) -> Result<(), CommitError> {
        let outcomes: HashMap<TopicPartition, ErrorCode> = outcomes.into_iter().collect();
        let mut first = Ok(());
        offsets.retain(|(partition, committed)| {
            let fault = match outcomes.get(partition) {
                Some(ErrorCode::None) => {
                    self.note_committed(partition, Some(committed.offset));
                    return false;
                }
                Some(error) if is_about_member(*error) => GroupFault::Refused(*error),
                Some(error) => {
                    let partition = partition.clone();
                    let refused = CommitError::Partition { partition, error: *error };
                    first = std::mem::replace(&mut first, Ok(())).and(Err(refused));
                    return true;
                }
                None => GroupFault::LeftOut,
            };
            let refused = GroupError::new(&self.group, None, fault).into();
            first = std::mem::replace(&mut first, Ok(())).and(Err(refused));
            true
        });
        first
    }

    fn may_retry(&self, error: &CommitError, asked: &Committer, offsets: &Offsets) -> bool {
        let identity = self.identity();
        let is_outdated = identity.generation != asked.generation && identity.generation >= 0;
        let has_all = || {
            let mut board = self.board.lock();
            offsets.iter().all(|(partition, _)| board.find(partition).is_some())
        };
        match error {
            CommitError::Group(GroupError { fault: GroupFault::Refused(error), .. }) => match error
            {
                // A newer epoch is on its way to us, if we have not got it already.
                ErrorCode::RebalanceInProgress | ErrorCode::StaleMemberEpoch => has_all(),
                ErrorCode::IllegalGeneration => is_outdated && has_all(),
                _ => false,
            },
            // A topic that is gone must not hold up the commits of the others.
            CommitError::Partition { error: ErrorCode::UnknownTopicOrPartition, .. } => false,
            CommitError::Partition { error, .. } => error.is_retriable() && has_all(),
            _ => false,
        }
    }

    pub(super) async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>, GroupError> {
        let require_stable = self.settings.require_stable;
        let offsets = self.cluster.group_offsets(&self.group, Some(partitions), require_stable);
        let refused = |error| GroupError::new(&self.group, None, GroupFault::Refused(error));
        let each = offsets.await?.into_iter();
        each.map(|(partition, outcome)| Ok((partition, outcome.map_err(refused)?))).collect()
    }

    /// Commits whenever it is time, or when the bell is rung, until it is aborted.
    pub(super) async fn commit_in_background(self: Arc<Self>) {
        // Without an interval it is the application's progress that rings the bell.
        let interval = self.settings.auto_commit.filter(|interval| !interval.is_zero());
        let mut next = interval.map(|interval| Instant::now() + interval);
        loop {
            tokio::select! {
                () = self.commit_bell.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            if let Err(error) = self.commit(self.uncommitted(|_| true)).await {
                tracing::warn!(group = %self.group, %error, "offsets not committed");
            }
            next = interval.map(|interval| Instant::now() + interval);
        }
    }
}

/// Whether the refusal is about who asks, and so the same for all partitions.
fn is_about_member(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::StaleMemberEpoch
            | ErrorCode::FencedMemberEpoch
            | ErrorCode::FencedInstanceId
            | ErrorCode::RebalanceInProgress
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::InvalidGroupId
            | ErrorCode::GroupIdNotFound
    )
}
