//! What a partition's leader does about who its replicas are: it carries out reassignments step by
//! step, and hands leadership to whoever should rather have it.
//!
//! Looked at every half second; each look takes at most one step, and the group's log says where
//! it stands, so a new leader simply goes on.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::apply::PartitionCommand;
use super::error::PartitionError;
use super::{Partition, Role};
use crate::controller::assignment::Assignment;
use crate::controller::command::Command;
use crate::replication::group::MemberProgress;
use crate::replication::membership::MemberChange;

/// Entries that a learner may still lack when it gets its vote.
const LAG_ENTRIES_MAX: u64 = 64;
/// Looks in a row that must find the preferred leader fit before it gets the leadership: ten
/// seconds, so that a broker that starts is not given everything at once.
const PREFERRED_FIT_LOOKS: u32 = 20;

/// An entry that shows, when it is applied, that its leader still led.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirming {
    term: i32,
    /// The reassignment whose end it is to confirm.
    target_since: Option<u64>,
    index: u64,
}

impl Partition {
    /// Takes over a changed assignment.
    pub(crate) fn set_assignment(&self, assignment: &Assignment) {
        if *self.assignment.borrow() != *assignment {
            *self.assignment.borrow_mut() = assignment.clone();
        }
    }

    /// Takes the next step, if this broker leads. What the controller has to be told is returned.
    pub(crate) fn pursue_assignment(&self, balance: bool) -> Option<Command> {
        self.group.borrow_mut().decline(self.env.space.refuses_writes());
        if !matches!(self.state.borrow().role, Role::Serving { .. }) {
            return None;
        }
        self.look_who_is_in_sync();
        let assignment = self.assignment.borrow().clone();
        let wanted = assignment.target.as_ref().unwrap_or(&assignment.replicas);
        let wanted_set: BTreeSet<i32> = wanted.iter().copied().collect();
        let members = self.group.borrow().members().clone();
        let settled = !members.is_joint() && members.learners.is_empty();
        if settled && members.voters == wanted_set {
            self.prefer(wanted.first().copied(), balance);
            let replicas = assignment.target?;
            let since = assignment.target_since;
            let finished = Command::FinishReassignment {
                id: self.id.topic,
                partition: self.id.partition,
                replicas,
                since,
            };
            return self.still_leads(since).then_some(finished);
        }
        let caught_up = self.caught_up();
        let fit = |node: i32| caught_up.iter().any(|other| other.node == node);
        if let Some(change) = MemberChange::towards(&members, &wanted_set, self.env.node, fit) {
            info!(topic = %self.name, partition = self.id.partition, ?change, "changing members");
            if self.group.borrow_mut().propose_members(change).is_err() {
                warn!(topic = %self.name, partition = self.id.partition, "not possible just now");
            }
        } else if settled && !wanted_set.contains(&self.env.node) {
            // Only this leader is left to leave.
            self.hand_over_to(|other| wanted_set.contains(&other.node));
        }
        None
    }

    /// Whether this broker was the leader, with the members it knows, after the reassignment had
    /// begun: one that has been replaced without having noticed would take an earlier state of the
    /// members for the end. Asked again until an entry made for that has committed.
    fn still_leads(&self, target_since: Option<u64>) -> bool {
        let Ok(term) = self.serving() else { return false };
        let asked = self.state.borrow().confirming;
        match asked {
            Some(asked) if (asked.term, asked.target_since) == (term, target_since) => {
                self.state.borrow().applied >= asked.index
            }
            _ => {
                if let Ok(index) = self.propose_command(PartitionCommand::Confirm) {
                    let confirming = Confirming { term, target_since, index };
                    self.state.borrow_mut().confirming = Some(confirming);
                }
                false
            }
        }
    }

    fn look_who_is_in_sync(&self) {
        let others = self.group.borrow().others();
        let (now, last_index) = (Instant::now(), self.log.last_index());
        if self.state.borrow_mut().in_sync.look(now, last_index, &others) {
            let lagging = self.state.borrow().in_sync.lagging().to_vec();
            info!(topic = %self.name, partition = self.id.partition, ?lagging, "replicas in sync");
            self.announce();
        }
    }

    /// Every other member that has nearly all of the log.
    fn caught_up(&self) -> Vec<MemberProgress> {
        let last_index = self.log.last_index();
        let mut others = self.group.borrow().others();
        // One that has confirmed nothing has not been heard since it became a member.
        others.retain(|other| {
            other.in_sync && other.matched > 0 && other.matched + LAG_ENTRIES_MAX >= last_index
        });
        others
    }

    /// Gives the leadership to the first replica once that has been fit for a while, or to any when
    /// this broker's disk is full.
    fn prefer(&self, preferred: Option<i32>, balance: bool) {
        if self.env.space.refuses_writes() {
            // Where all disks are full, handing on and on would help nobody.
            self.hand_over_to(|other| other.willing);
            return;
        }
        let Some(preferred) = preferred.filter(|node| *node != self.env.node && balance) else {
            return;
        };
        let caught_up = self.caught_up();
        let fit = caught_up.iter().any(|other| other.node == preferred && other.willing);
        let seen = {
            let mut state = self.state.borrow_mut();
            state.preferred_seen = if fit { state.preferred_seen + 1 } else { 0 };
            state.preferred_seen
        };
        if seen >= PREFERRED_FIT_LOOKS {
            self.state.borrow_mut().preferred_seen = 0;
            self.hand_over_to(|other| other.node == preferred);
        }
    }

    /// Starts handing leadership to the most advanced voter that `may` have it, to one that would
    /// rather not lead only if there is no other. Returns whether there is one.
    fn hand_over_to(&self, may: impl Fn(&MemberProgress) -> bool) -> bool {
        if self.group.borrow().is_transferring() {
            return true;
        }
        let voters = self.group.borrow().members().voters.clone();
        let mut candidates = self.caught_up();
        candidates.retain(|other| voters.contains(&other.node) && may(other));
        let Some(best) = candidates.into_iter().max_by_key(|it| (it.willing, it.matched)) else {
            return false;
        };
        info!(topic = %self.name, partition = self.id.partition, to = best.node,
            "handing over leadership");
        self.group.borrow_mut().transfer_leadership(best.node);
        true
    }

    /// Starts handing leadership to any other replica. Returns whether there is one to wait for.
    pub(crate) fn hand_over(self: &Rc<Self>) -> bool {
        self.is_serving() && self.hand_over_to(|_| true)
    }

    /// Starts handing leadership to broker `to`.
    pub(crate) fn transfer_leadership(&self, to: i32) -> Result<(), PartitionError> {
        self.serving()?;
        if to == self.env.node || self.hand_over_to(|other| other.node == to && other.willing) {
            return Ok(());
        }
        Err(PartitionError::NotCaughtUp(to))
    }
}
