//! A member of a consumer group: what it said about itself, and what it has.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::partitions::Held;
use super::{Refusal, refuse};
use crate::group::assignor::TopicPartition;

/// The epoch that joins the group.
pub(super) const EPOCH_JOIN: i32 = 0;
/// The epoch that leaves the group.
pub(super) const EPOCH_LEAVE: i32 = -1;
/// The epoch of a static member that has left for a while.
pub(super) const EPOCH_STATIC_LEAVE: i32 = -2;

/// A member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Member {
    pub(super) info: Rc<MemberInfo>,
    pub(super) current: Rc<Current>,
}

/// What a member said about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MemberInfo {
    /// A static member's own name.
    pub(super) instance_id: Option<KafkaStr>,
    pub(super) rack_id: Option<KafkaStr>,
    pub(super) client_id: KafkaStr,
    pub(super) client_host: KafkaStr,
    pub(super) topic_names: BTreeSet<KafkaStr>,
    /// A pattern of topic names, beside `topic_names`.
    pub(super) topic_regex: Option<KafkaStr>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) assignor: Option<KafkaStr>,
    /// Set for a member that speaks the classic protocol.
    pub(super) classic: Option<ClassicInfo>,
}

/// What is particular to a member that speaks the classic protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClassicInfo {
    pub(super) session_timeout_ms: i32,
    /// The strategies it knows, with what its leader would have to know.
    pub(super) protocols: Vec<(KafkaStr, Bytes)>,
}

/// What a member has, and how far it is on the way to its target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Current {
    pub(super) epoch: i32,
    /// What the member may still state if the answer with `epoch` was lost.
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    /// What the member may use, each with the epoch at which it got it.
    pub(super) assigned: Held,
    /// What it has been told to give up, and may still be using.
    pub(super) revoking: Held,
}

/// Where a member stands on the way to its target, with Kafka's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// Everything it is to have, and nothing else.
    #[default]
    Stable,
    /// It has to give something up first.
    Unrevoked,
    /// Something that it is to have is still with others.
    Unreleased,
    /// Written by a younger broker.
    Unknown,
}

impl MemberState {
    pub(super) fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        }
    }

    pub(super) fn from_code(code: i8) -> Self {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => MemberState::Unknown,
        }
    }
}

impl Current {
    /// Everything that no other member may use: what it may use, and what it may still be using.
    pub(super) fn occupied(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.keys().chain(self.revoking.keys())
    }

    /// Whether it has all of the target of `assignment_epoch`.
    pub(super) fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }
}

impl Member {
    pub(super) fn is_classic(&self) -> bool {
        self.info.classic.is_some()
    }

    /// Refuses a member whose view of itself is not ours. With the previous epoch it goes on if it
    /// has nothing that is not assigned to it: the answer with the new epoch was lost.
    pub(super) fn check_epoch(
        &self,
        epoch: i32,
        owned: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<(), Refusal> {
        let ours = self.current.epoch;
        if epoch == EPOCH_JOIN || epoch == ours {
            return Ok(());
        }
        let has_no_more = |owned: &BTreeSet<TopicPartition>| {
            owned.iter().all(|at| self.current.assigned.contains_key(at))
        };
        if epoch < ours && epoch == self.current.previous_epoch && owned.is_some_and(has_no_more) {
            return Ok(());
        }
        let order = if epoch > ours { "greater" } else { "smaller" };
        let message = format!(
            "The member states the epoch {epoch}, {order} than {ours}, which the coordinator has. \
             It must give up all its partitions and join again."
        );
        refuse(ErrorCode::FencedMemberEpoch, message)
    }
}
