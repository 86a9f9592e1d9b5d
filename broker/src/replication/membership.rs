//! Who belongs to a group, and how that changes.
//!
//! A change goes through the group's log in a form of our own (JSON), never in Raft's: what came
//! from another broker is not given to a protobuf decoder. Changes of more than one member use
//! joint consensus (Ongaro's thesis, section 4.3), and leave it by themselves.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};
use serde::{Deserialize, Serialize};

use super::RaftId;

/// The members of a group as of one index of its log, by node id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// Index of the change that made them so; 0 for those the group began with.
    pub(crate) index: u64,
    pub(crate) voters: BTreeSet<i32>,
    /// Brokers that get the log and have no vote.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) learners: BTreeSet<i32>,
    /// In joint consensus: the voters of the configuration that is being left.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) voters_outgoing: BTreeSet<i32>,
    /// Voters that become learners once joint consensus is left.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) learners_next: BTreeSet<i32>,
    /// Joint consensus ends by itself.
    #[serde(default)]
    pub(crate) auto_leave: bool,
}

/// One step from one membership to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberChange {
    /// Become voters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) voters: Vec<i32>,
    /// Become learners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) learners: Vec<i32>,
    /// Are members no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<i32>,
}

impl Members {
    /// The voters a group begins with.
    pub(crate) fn of_voters(voters: impl IntoIterator<Item = i32>) -> Members {
        Members { voters: voters.into_iter().collect(), ..Members::default() }
    }

    /// Whether the group is between two configurations.
    pub(crate) fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Everyone who gets the log.
    pub(crate) fn all(&self) -> BTreeSet<i32> {
        let sets = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        sets.into_iter().flatten().copied().collect()
    }

    /// Whether `node` is the only member.
    pub(crate) fn is_alone(&self, node: i32) -> bool {
        !self.is_joint() && self.learners.is_empty() && self.voters.iter().eq([&node])
    }

    /// The members after a change at `index`, exactly as raft-rs makes them of it. A change without
    /// content ends joint consensus.
    pub(crate) fn after(&self, index: u64, change: &MemberChange) -> Members {
        let mut next = Members { index, ..self.clone() };
        let singles = change.voters.len() + change.learners.len() + change.removed.len();
        if singles == 0 {
            next.learners.append(&mut next.learners_next);
            next.voters_outgoing.clear();
            next.auto_leave = false;
            return next;
        }
        if singles > 1 {
            next.voters_outgoing.clone_from(&self.voters);
            next.auto_leave = true;
        }
        for node in &change.voters {
            next.take_out(*node);
            next.voters.insert(*node);
        }
        for node in &change.learners {
            if next.learners.contains(node) {
                continue;
            }
            next.take_out(*node);
            let voted = next.voters_outgoing.contains(node);
            if voted {
                next.learners_next.insert(*node)
            } else {
                next.learners.insert(*node)
            };
        }
        for node in &change.removed {
            next.take_out(*node);
        }
        next
    }

    fn take_out(&mut self, node: i32) {
        self.voters.remove(&node);
        self.learners.remove(&node);
        self.learners_next.remove(&node);
    }

    pub(super) fn to_raft(&self) -> ConfState {
        let ids = |nodes: &BTreeSet<i32>| nodes.iter().map(|node| RaftId::of(*node).0).collect();
        let mut state = ConfState::default();
        state.set_voters(ids(&self.voters));
        state.set_learners(ids(&self.learners));
        state.set_voters_outgoing(ids(&self.voters_outgoing));
        state.set_learners_next(ids(&self.learners_next));
        state.set_auto_leave(self.auto_leave);
        state
    }

    pub(super) fn from_raft(index: u64, state: &ConfState) -> Members {
        let nodes = |ids: &[u64]| ids.iter().filter_map(|id| RaftId(*id).node()).collect();
        Members {
            index,
            voters: nodes(state.get_voters()),
            learners: nodes(state.get_learners()),
            voters_outgoing: nodes(state.get_voters_outgoing()),
            learners_next: nodes(state.get_learners_next()),
            auto_leave: state.get_auto_leave(),
        }
    }
}

impl MemberChange {
    /// The next step towards `wanted` voters, if there is one that can be taken now: first everyone
    /// new becomes a learner; when all of them have `caught_up`, they get their votes, and whoever
    /// is not wanted leaves. `keep` (the leader) stays as long as others are to be let in.
    pub(crate) fn towards(
        members: &Members,
        wanted: &BTreeSet<i32>,
        keep: i32,
        caught_up: impl Fn(i32) -> bool,
    ) -> Option<MemberChange> {
        if members.is_joint() {
            return None;
        }
        let absent = |node: &&i32| !members.voters.contains(*node);
        let (new, known): (Vec<i32>, Vec<i32>) = wanted
            .iter()
            .filter(absent)
            .copied()
            .partition(|node| !members.learners.contains(node));
        if !new.is_empty() {
            return Some(MemberChange { learners: new, ..MemberChange::default() });
        }
        if !known.iter().all(|node| caught_up(*node)) {
            return None;
        }
        let unwanted = |node: &&i32| !wanted.contains(*node) && **node != keep;
        let removed: Vec<i32> =
            members.voters.iter().chain(&members.learners).filter(unwanted).copied().collect();
        let change = MemberChange { voters: known, removed, ..MemberChange::default() };
        (change != MemberChange::default()).then_some(change)
    }

    /// Raft's form.
    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let single = |node: &i32, kind| {
            let mut change = ConfChangeSingle::default();
            change.set_change_type(kind);
            change.set_node_id(RaftId::of(*node).0);
            change
        };
        let voters = self.voters.iter().map(|node| single(node, ConfChangeType::AddNode));
        let learners = self.learners.iter().map(|n| single(n, ConfChangeType::AddLearnerNode));
        let removed = self.removed.iter().map(|node| single(node, ConfChangeType::RemoveNode));
        let changes: Vec<_> = voters.chain(learners).chain(removed).collect();
        let mut change = ConfChangeV2::default();
        if changes.len() > 1 {
            change.set_transition(ConfChangeTransition::Implicit);
        }
        change.set_changes(changes.into());
        change
    }

    /// The form in the log.
    pub(super) fn encode(&self) -> Bytes {
        match serde_json::to_vec(self) {
            Ok(json) => Bytes::from(json),
            Err(error) => unreachable!("a member change is plain data: {error}"),
        }
    }

    /// What the log's form says.
    pub(crate) fn decode(payload: &[u8]) -> Result<MemberChange, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[i32]) -> BTreeSet<i32> {
        nodes.iter().copied().collect()
    }

    #[test]
    fn members_and_changes_come_back_as_what_they_were() {
        let members = Members {
            index: 9,
            voters: set(&[0, 1, 7]),
            learners: set(&[4]),
            voters_outgoing: set(&[1, 2]),
            learners_next: set(&[2]),
            auto_leave: true,
        };
        assert_eq!(Members::from_raft(9, &members.to_raft()), members);
        let change = MemberChange { voters: vec![3], learners: vec![0], removed: vec![1, 2] };
        assert_eq!(MemberChange::decode(&change.encode()).ok(), Some(change));
    }

    #[test]
    fn members_after_a_change_are_what_raft_makes_of_it() {
        use raft::storage::MemStorage;
        let (mut dice, mut changed) = (12_345_u64, 0);
        let mut roll = |n: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % n
        };
        for _ in 0..300 {
            let mut members = Members::of_voters([1, 2, 3]);
            let storage = MemStorage::new_with_conf_state(members.to_raft());
            let config = raft::Config { id: 99, ..raft::Config::default() };
            let logger = slog::Logger::root(slog::Discard, slog::o!());
            let mut raw = raft::RawNode::new(&config, storage, &logger).expect("valid");
            for index in 1..20 {
                let mut change = MemberChange::default();
                if !members.is_joint() {
                    let mut nodes: Vec<i32> = (1..7).collect();
                    for _ in 0..=roll(3) {
                        let at = usize::try_from(roll(nodes.len() as u64)).expect("few");
                        let node = nodes.remove(at);
                        match roll(3) {
                            0 => change.voters.push(node),
                            1 => change.learners.push(node),
                            _ => change.removed.push(node),
                        }
                    }
                }
                let Ok(state) = raw.apply_conf_change(&change.to_raft()) else { break };
                members = members.after(index, &change);
                assert_eq!(members, Members::from_raft(index, &state), "{change:?}");
                changed += 1;
            }
        }
        assert!(changed > 500, "only {changed} changes were possible");
    }

    #[test]
    fn newcomers_learn_before_they_vote_and_the_leader_leaves_last() {
        let wanted = set(&[3, 4]);
        let mut members = Members::of_voters([1, 2]);
        let step = MemberChange::towards(&members, &wanted, 1, |_| false);
        assert_eq!(step, Some(MemberChange { learners: vec![3, 4], ..Default::default() }));
        members.learners = set(&[3, 4]);
        assert_eq!(MemberChange::towards(&members, &wanted, 1, |node| node == 3), None);
        let step = MemberChange::towards(&members, &wanted, 1, |_| true);
        let votes = MemberChange { voters: vec![3, 4], removed: vec![2], learners: vec![] };
        assert_eq!(step, Some(votes), "the leader stays as long as it leads");
        members = Members::of_voters([1, 3, 4]);
        assert_eq!(MemberChange::towards(&members, &wanted, 1, |_| true), None);
        let step = MemberChange::towards(&members, &wanted, 3, |_| true);
        assert_eq!(step, Some(MemberChange { removed: vec![1], ..Default::default() }));
    }

    #[test]
    fn no_step_is_taken_between_two_configurations() {
        let mut members = Members::of_voters([1]);
        members.voters_outgoing = set(&[2]);
        assert_eq!(MemberChange::towards(&members, &set(&[3]), 1, |_| true), None);
    }
}
