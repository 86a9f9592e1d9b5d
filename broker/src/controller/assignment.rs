//! Where the replicas of one partition live, and where they are going.
//!
//! A reassignment begins with a target. The partition's leader makes the target's brokers the
//! voters of the group and reports that; then the target is the assignment, and the brokers that
//! are in it no more are *leaving* until they have removed their copies.
//!
//! Invariant: a broker that may be a voter of the group is among [`Assignment::members`], so that
//! it keeps its copy. That is why a target which is given up leaves its brokers `abandoned` instead
//! of leaving: only the end of the next reassignment proves that they vote no more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The brokers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// Who has the partition, the preferred leader first.
    pub(crate) replicas: Vec<i32>,
    /// Who is to have it, while a reassignment is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Vec<i32>>,
    /// Index of the command that gave this target. The same brokers may be the target of another
    /// reassignment later, of which this one's end must not be the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_since: Option<u64>,
    /// The voters with which the group began, once they differ from `replicas` or are about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Vec<i32>>,
    /// Brokers of earlier targets of the reassignment under way, which may have become voters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) abandoned: Vec<i32>,
    /// Brokers whose copy may be removed, because a finished reassignment took them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leaving: Vec<i32>,
}

impl Assignment {
    /// The assignment of a new partition.
    pub(crate) fn new(replicas: Vec<i32>) -> Assignment {
        Assignment { replicas, ..Assignment::default() }
    }

    /// Who opens the partition: the replicas in their order, then those on their way in or out.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut members = self.replicas.clone();
        for node in self.target.iter().flatten().chain(&self.abandoned) {
            if !members.contains(node) {
                members.push(*node);
            }
        }
        members
    }

    /// Whether the broker opens the partition.
    pub(crate) fn has_member(&self, node: i32) -> bool {
        let on_the_way = self.target.iter().flatten().chain(&self.abandoned);
        self.replicas.iter().chain(on_the_way).any(|member| *member == node)
    }

    /// The voters of the group when its log was empty; conf changes in the log make today's.
    pub(crate) fn initial_voters(&self) -> &[i32] {
        self.origin.as_deref().unwrap_or(&self.replicas)
    }

    /// The members that a reassignment under way adds.
    pub(crate) fn adding(&self) -> Vec<i32> {
        let target = self.target.iter().flatten();
        target.filter(|node| !self.replicas.contains(node)).copied().collect()
    }

    /// The members that a reassignment under way takes out.
    pub(crate) fn removing(&self) -> Vec<i32> {
        let Some(target) = &self.target else { return Vec::new() };
        self.members().into_iter().filter(|node| !target.contains(node)).collect()
    }

    /// Everyone who may have data of the partition.
    pub(super) fn holders(&self) -> BTreeSet<i32> {
        self.members().into_iter().chain(self.leaving.iter().copied()).collect()
    }

    /// Whether the broker is a member, or leaving.
    pub(super) fn names(&self, node: i32) -> bool {
        self.has_member(node) || self.leaving.contains(&node)
    }

    /// Begins a reassignment, or gives the one under way another target, by the command at `index`.
    pub(crate) fn begin(&mut self, target: Vec<i32>, index: u64) {
        if self.target.is_none() && same_set(&self.replicas, &target) {
            self.replicas = target;
            return;
        }
        if self.origin.is_none() {
            self.origin = Some(self.replicas.clone());
        }
        let members = self.members();
        let kept = |node: &i32| self.replicas.contains(node) || target.contains(node);
        self.abandoned = members.into_iter().filter(|node| !kept(node)).collect();
        self.target = Some(target);
        self.target_since = Some(index);
    }

    /// Makes the target the assignment. Whoever else was a member is leaving.
    pub(super) fn finish(&mut self) {
        let leaving = self.removing();
        if let Some(target) = self.target.take() {
            self.replicas = target;
            self.target_since = None;
            self.abandoned.clear();
            self.leaving.extend(leaving);
        }
    }
}

/// Whether both name the same brokers, in whatever order; neither names one twice.
fn same_set(a: &[i32], b: &[i32]) -> bool {
    a.len() == b.len() && a.iter().all(|node| b.contains(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_order_is_applied_at_once() {
        let mut assignment = Assignment::new(vec![1, 2, 3]);
        assignment.begin(vec![3, 1, 2], 1);
        assert_eq!(assignment, Assignment::new(vec![3, 1, 2]));
    }

    #[test]
    fn a_reassignment_takes_brokers_in_and_then_others_out() {
        let mut assignment = Assignment::new(vec![1, 2, 3]);
        assignment.begin(vec![4, 2, 1], 1);
        assert_eq!(assignment.members(), [1, 2, 3, 4]);
        assert_eq!((assignment.adding(), assignment.removing()), (vec![4], vec![3]));
        assert_eq!(assignment.initial_voters(), [1, 2, 3]);
        assignment.finish();
        assert_eq!(
            (assignment.replicas.as_slice(), &assignment.leaving),
            (&[4, 2, 1][..], &vec![3])
        );
        assert_eq!(assignment.initial_voters(), [1, 2, 3]);
        assert!(!assignment.has_member(3) && assignment.names(3));
        assignment.begin(vec![4, 2, 5], 2);
        assert_eq!(assignment.initial_voters(), [1, 2, 3], "a group begins once");
    }

    #[test]
    fn brokers_of_a_target_that_was_given_up_stay_members_until_the_end() {
        let mut assignment = Assignment::new(vec![1]);
        for (index, target) in (1..).zip([vec![2], vec![3, 2], vec![4]]) {
            assignment.begin(target, index);
        }
        assert_eq!(assignment.members(), [1, 4, 3, 2], "any of them may have become a voter");
        assert_eq!(assignment.adding(), [4]);
        assignment.begin(vec![1], 4);
        assert_eq!(assignment.removing(), [4, 3, 2]);
        assignment.finish();
        assert_eq!(assignment.members(), [1]);
        assert_eq!(assignment.leaving, [4, 3, 2]);
    }

    #[test]
    fn what_older_versions_stored_is_read_and_what_is_usual_is_short() {
        let assignment: Assignment = serde_json::from_str(r#"{"replicas":[1]}"#).expect("old form");
        assert_eq!(assignment, Assignment::new(vec![1]));
        let json = serde_json::to_string(&assignment).expect("plain data");
        assert_eq!(json, r#"{"replicas":[1]}"#);
    }
}
