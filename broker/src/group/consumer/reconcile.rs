//! One member's way to its target: give up what it is not to have, go to the assignment epoch, get
//! what the others have given up. Kafka's `CurrentAssignmentBuilder`, as a pure function.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::member::{Current, MemberState};
use super::partitions::Held;
use crate::group::assignor::TopicPartition;

/// Where a member is to go, and what stands in its way.
pub(super) struct Step<'a> {
    pub(super) assignment_epoch: i32,
    pub(super) target: &'a BTreeSet<TopicPartition>,
    /// What the member says it has; `None` if it did not say.
    pub(super) owned: Option<&'a BTreeSet<TopicPartition>>,
    pub(super) is_subscribed: &'a dyn Fn(Uuid) -> bool,
    /// Whether nobody else occupies a partition.
    pub(super) is_free: &'a dyn Fn(&TopicPartition) -> bool,
    /// Whether this very request changed what the member subscribes to.
    pub(super) subscription_changed: bool,
}

impl Step<'_> {
    /// What the member has next, or `None` if that is what it has now.
    pub(super) fn from(&self, current: &Current) -> Option<Current> {
        let next = match current.state {
            MemberState::Stable if current.epoch != self.assignment_epoch => self.advance(current),
            MemberState::Unrevoked if !self.still_owns(&current.revoking) => self.advance(current),
            MemberState::Unreleased | MemberState::Unknown => self.advance(current),
            MemberState::Stable | MemberState::Unrevoked if self.subscription_changed => {
                self.drop_unsubscribed(current)?
            }
            MemberState::Stable | MemberState::Unrevoked => return None,
        };
        // Epochs alone are no news: where nothing else changes, nothing is to be written.
        let same = Current { previous_epoch: current.previous_epoch, ..next.clone() };
        (same != *current).then_some(next)
    }

    /// Whether the member may still be using any of `revoking`. If it does not say, it may.
    fn still_owns(&self, revoking: &Held) -> bool {
        self.owned.is_none_or(|owned| owned.iter().any(|at| revoking.contains_key(at)))
    }

    fn advance(&self, current: &Current) -> Current {
        let wanted =
            |at: &TopicPartition| self.target.contains(at) && (self.is_subscribed)(at.topic_id);
        let (mut assigned, revoking): (Held, Held) = current
            .assigned
            .iter()
            .map(|(at, epoch)| (*at, *epoch))
            .partition(|(at, _)| wanted(at));
        if !revoking.is_empty() && self.still_owns(&revoking) {
            let state = MemberState::Unrevoked;
            return moved(current, current.epoch, state, assigned, revoking);
        }
        let missing = self.target.iter().filter(|at| wanted(at) && !assigned.contains_key(at));
        // What the member itself was giving up is given up by now.
        let (free, unreleased): (Vec<TopicPartition>, Vec<TopicPartition>) =
            missing.partition(|at| (self.is_free)(at));
        assigned.extend(free.into_iter().map(|at| (at, self.assignment_epoch)));
        let state =
            if unreleased.is_empty() { MemberState::Stable } else { MemberState::Unreleased };
        moved(current, self.assignment_epoch, state, assigned, Held::new())
    }

    /// Topics that the member no longer subscribes to go at once, whatever the target says.
    fn drop_unsubscribed(&self, current: &Current) -> Option<Current> {
        let (assigned, dropped): (Held, Held) = current
            .assigned
            .iter()
            .map(|(at, epoch)| (*at, *epoch))
            .partition(|(at, _)| (self.is_subscribed)(at.topic_id));
        if dropped.is_empty() {
            return None;
        }
        let revoking: Held =
            current.revoking.iter().map(|(at, epoch)| (*at, *epoch)).chain(dropped).collect();
        Some(if self.still_owns(&revoking) {
            moved(current, current.epoch, MemberState::Unrevoked, assigned, revoking)
        } else {
            moved(current, current.epoch, current.state, assigned, current.revoking.clone())
        })
    }
}

fn moved(
    current: &Current,
    epoch: i32,
    state: MemberState,
    assigned: Held,
    revoking: Held,
) -> Current {
    Current { epoch, previous_epoch: current.epoch, state, assigned, revoking }
}
