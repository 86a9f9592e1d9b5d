//! A consumer group of the protocol of KIP-848, as Kafka 4.3's group coordinator runs it: the
//! broker itself assigns, and each member moves to its new assignment on its own, by its
//! heartbeats.
//!
//! Three epochs tell how far things are. The *group epoch* grows whenever members, subscriptions or
//! topics change; the *assignment epoch* says for which group epoch the target assignment was made;
//! a *member's epoch* says up to which assignment epoch the member has gone along. A member first
//! gives up what it is not to have, then goes to the assignment epoch, then gets what others have
//! given up.
//!
//! The machine is pure. A call computes records from the state, hands them to the journal, and
//! changes what lasts only by [`ConsumerGroup::replay`] of the same records. What does not last are
//! the deadlines, which a coordinator that takes over begins anew.
//!
//! Invariant: a partition is assigned to, or being given up by, one member at a time.

mod classic_member;
mod conversion;
mod describe;
mod draft;
mod embedded;
mod heartbeat;
mod leave;
mod member;
mod partitions;
mod reconcile;
mod record;
mod regex;
mod settings;
mod subscription;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use thalweg_protocol::group_record::Record;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::assignor::TopicPartition;
use super::deadlines::Deadlines;
use super::turn::Turn;
use member::{Member, MemberState};
use regex::ResolvedRegex;

pub(crate) use heartbeat::Heartbeat;
pub use settings::ConsumerSettings;

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: KafkaStr,
    /// The group epoch.
    epoch: i32,
    /// A hash of the subscribed topics as they were when the epoch last grew.
    metadata_hash: i64,
    /// The epoch for which `targets` were made.
    assignment_epoch: i32,
    members: BTreeMap<KafkaStr, Member>,
    /// Member ids by instance id.
    static_members: HashMap<KafkaStr, KafkaStr>,
    /// What each member is to have. Nothing for those that are not here.
    targets: BTreeMap<KafkaStr, BTreeSet<TopicPartition>>,
    /// Who occupies each partition.
    owners: HashMap<TopicPartition, KafkaStr>,
    regexes: BTreeMap<KafkaStr, ResolvedRegex>,
    /// When members are given up that are not heard of.
    sessions: Deadlines,
    /// When members are given up that do not give up what they are to.
    revocations: Deadlines,
    /// The image that subscriptions were last compared with.
    image_seen: Option<u64>,
    /// The image whose topics the regular expressions were last tried on.
    image_resolved: Option<u64>,
    /// When `targets` were last made, by the monotonic clock.
    assigned_ms: Option<u64>,
    /// When the regular expressions were last resolved, by the monotonic clock.
    regexes_resolved_ms: Option<u64>,
}

/// A request that is refused: the code, and the reason for a person to read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Refusal { code, message: Cow::Borrowed(code.name()) }
    }
}

fn refuse<T>(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

impl ConsumerGroup {
    /// A group of which nothing is known yet.
    pub(crate) fn new(id: KafkaStr) -> Self {
        ConsumerGroup { id, ..ConsumerGroup::default() }
    }

    /// A group that has no members left from when it was a classic one: its epochs go on where
    /// generations were, so that no two times in its life bear the same number.
    pub(crate) fn continuing(id: KafkaStr, generation: i32) -> Self {
        let epoch = generation.max(0);
        ConsumerGroup { id, epoch, assignment_epoch: epoch, ..ConsumerGroup::default() }
    }

    /// The group epoch.
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Whether nobody is a member.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Makes `records` last, behind those of `prior` that are not this group's to replay, then does
    /// what they say.
    fn commit(
        &mut self,
        prior: &[Record],
        records: &[Record],
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        if prior.is_empty() && !records.is_empty() {
            turn.journal.append(records)?;
        } else if !prior.is_empty() {
            turn.journal.append(&[prior, records].concat())?;
        }
        records.iter().for_each(|record| self.replay(record));
        Ok(())
    }

    /// Begins to wait for the members, when the group's records have been read by a coordinator
    /// that takes over.
    pub(crate) fn on_loaded(&mut self, turn: &Turn<'_>) {
        for (id, member) in &self.members {
            let session_ms = match &member.info.classic {
                Some(classic) => classic.session_timeout_ms,
                None => turn.settings.consumer.session_timeout_ms,
            };
            // Who has come meanwhile has a session already.
            if self.sessions.contains(id) {
                continue;
            }
            self.sessions.set(id, turn.after_ms(session_ms));
            if member.current.state == MemberState::Unrevoked {
                self.revocations.set(id, turn.after_ms(member.info.rebalance_timeout_ms));
            }
        }
    }

    /// When [`on_time`](Self::on_time) has something to do; it may be early, and never is late.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.sessions.next().into_iter().chain(self.revocations.next()).min()
    }

    /// The member at `id`.
    fn member(&self, id: &str) -> Result<&Member, Refusal> {
        self.members.get(id).ok_or_else(|| Refusal {
            code: ErrorCode::UnknownMemberId,
            message: format!("{id} is not a member of the group {}.", self.id).into(),
        })
    }

    /// The id of the static member `instance_id`, which must be `member_id`.
    fn static_member(&self, instance_id: &str, member_id: &str) -> Result<&KafkaStr, Refusal> {
        let Some(id) = self.static_members.get(instance_id) else {
            let message = format!("The instance {instance_id} is not a member of the group.");
            return refuse(ErrorCode::UnknownMemberId, message);
        };
        if *id != member_id {
            let message = format!("The instance {instance_id} is now the member {id}.");
            return refuse(ErrorCode::FencedInstanceId, message);
        }
        Ok(id)
    }
}
