//! What the active controller sees to: which brokers live, and who votes in group 0.
//!
//! Every broker tells the active controller twice a second that it lives. One that is silent for
//! longer than `broker.session.timeout.ms` is fenced: clients are not sent to it and it gets no new
//! replicas. When it is heard again it is let back. A new active controller gives everyone that
//! time anew.
//!
//! Up to five brokers vote, always an odd number of them; the others follow without a vote.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Controller;
use super::command::Command;
use super::image::Image;
use crate::replication::group::MemberProgress;
use crate::replication::membership::{MemberChange, Members};
use crate::shard::Shard;

/// How often brokers say that they live, and the active controller looks who has not.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// The most brokers that vote in group 0.
const VOTERS_MAX: usize = 5;
/// Entries that a follower may lack when it gets its vote.
const LAG_ENTRIES_MAX: u64 = 16;

/// When the active controller last heard of each broker.
#[derive(Default)]
pub(super) struct Registry {
    /// Since when this broker has been the active controller.
    since: Option<Instant>,
    heard: HashMap<i32, Instant>,
}

impl Registry {
    /// What is to be said about brokers that fell silent, or are back, by the active controller
    /// `active`.
    fn fencing(&self, now: Instant, active: i32, image: &Image, timeout: Duration) -> Vec<Command> {
        let Some(since) = self.since else { return Vec::new() };
        let others = image.brokers.iter().filter(|(node, _)| **node != active);
        let verdicts = others.filter_map(|(node, broker)| {
            let heard = self.heard.get(node).copied();
            let silent = now.duration_since(heard.unwrap_or(since)) > timeout;
            let back = heard.is_some_and(|heard| now.duration_since(heard) < timeout);
            let change = if broker.fenced { back } else { silent };
            change.then_some(Command::SetFenced { node: *node, fenced: !broker.fenced })
        });
        // This broker speaks for itself.
        let own = image.is_fenced(active);
        let own = own.then_some(Command::SetFenced { node: active, fenced: false });
        verdicts.chain(own).collect()
    }
}

impl Controller {
    /// This broker is the active controller now.
    pub(super) fn begin_watching(&self) {
        let mut registry = self.registry.borrow_mut();
        registry.since = Some(Instant::now());
        registry.heard.clear();
    }

    /// A broker says that it lives.
    pub(super) fn on_heartbeat(&self, from: i32) {
        self.registry.borrow_mut().heard.insert(from, Instant::now());
    }

    /// Takes the next step towards the voters that group 0 should have.
    fn pursue_voters(&self, image: &Image) {
        let mut group = self.group.borrow_mut();
        let others = group.others();
        let behind = self.log().last_index().saturating_sub(LAG_ENTRIES_MAX);
        let fit = |node: i32| others.iter().any(|other| is_fit(other, node, behind));
        let Some(change) = voters_step(group.members(), image, self.node.id, fit) else { return };
        info!(?change, "changing controllers");
        if group.propose_members(change).is_err() {
            warn!("not possible just now");
        }
    }
}

fn is_fit(other: &MemberProgress, node: i32, behind: u64) -> bool {
    other.node == node && other.in_sync && other.matched > 0 && other.matched >= behind
}

/// The next change of group 0's members, if one is due: brokers that are gone leave, new ones
/// follow, and the longest-known ones that are fit get the votes that are free.
fn voters_step(
    members: &Members,
    image: &Image,
    active: i32,
    fit: impl Fn(i32) -> bool,
) -> Option<MemberChange> {
    if members.is_joint() {
        return None;
    }
    // A founder that has not come yet is not gone.
    let registered = |node: &&i32| !image.removed.contains(*node);
    // Whoever leads leaves last: another has to take over first.
    let registered = |node: &&i32| **node == active || registered(node);
    let gone: Vec<i32> = members
        .voters
        .iter()
        .chain(&members.learners)
        .filter(|n| !registered(n))
        .copied()
        .collect();
    let new: Vec<i32> = image
        .brokers
        .keys()
        .filter(|node| !members.voters.contains(node) && !members.learners.contains(node))
        .copied()
        .collect();
    if !new.is_empty() {
        return Some(MemberChange { learners: new, ..MemberChange::default() });
    }
    let staying: BTreeSet<i32> =
        members.voters.iter().filter(|node| registered(node)).copied().collect();
    let candidates: Vec<i32> =
        members.learners.iter().filter(|node| registered(node) && fit(**node)).copied().collect();
    let most = (staying.len() + candidates.len()).min(VOTERS_MAX);
    // An even number of voters survives no more failures than one voter less.
    let wanted = if most.is_multiple_of(2) { most - 1 } else { most };
    let free = wanted.saturating_sub(staying.len());
    let voters: Vec<i32> = candidates.into_iter().take(free).collect();
    let change = MemberChange { voters, removed: gone, ..MemberChange::default() };
    (change != MemberChange::default()).then_some(change)
}

impl Shard {
    /// Beats, and watches while this broker is the active controller. Runs on shard 0.
    pub(crate) async fn watch_brokers(self: Rc<Self>) {
        let mut beats = tokio::time::interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let controller = self.controller();
            self.beat(&controller);
            if !controller.is_active() {
                continue;
            }
            let image = self.node.images.load();
            controller.pursue_voters(&image);
            let timeout = self.node.config().kafka.broker_session_timeout_ms;
            let verdicts = controller.registry.borrow().fencing(
                Instant::now(),
                self.node.id,
                &image,
                Duration::from_millis(timeout),
            );
            for command in verdicts {
                warn!(?command, "a broker fell silent, or is back");
                if let Err(error) = self.propose_anywhere(&command).await {
                    warn!(%error, "the registry stays as it was");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(voters: &[i32], learners: &[i32], brokers: &[i32]) -> Option<MemberChange> {
        let mut members = Members::of_voters(voters.iter().copied());
        members.learners = learners.iter().copied().collect();
        let mut image = Image::of_brokers(brokers.iter().copied());
        image.removed = (1..10).filter(|node| !brokers.contains(node)).collect();
        voters_step(&members, &image, 1, |_| true)
    }

    #[test]
    fn a_founder_that_has_not_come_yet_is_waited_for() {
        let members = Members::of_voters([1, 2, 3]);
        assert_eq!(voters_step(&members, &Image::of_brokers([2]), 2, |_| true), None);
    }

    #[test]
    fn a_broker_that_joins_follows_and_votes_only_when_the_number_stays_odd() {
        let learners = |nodes: &[i32]| {
            Some(MemberChange { learners: nodes.to_vec(), ..MemberChange::default() })
        };
        let voters = |nodes: &[i32]| {
            Some(MemberChange { voters: nodes.to_vec(), ..MemberChange::default() })
        };
        assert_eq!(step(&[1], &[], &[1]), None);
        assert_eq!(step(&[1], &[], &[1, 2]), learners(&[2]));
        assert_eq!(step(&[1], &[2], &[1, 2]), None);
        assert_eq!(step(&[1], &[2, 3], &[1, 2, 3]), voters(&[2, 3]));
        assert_eq!(step(&[1, 2, 3], &[4], &[1, 2, 3, 4]), None);
        assert_eq!(step(&[1, 2, 3], &[4, 5, 6], &[1, 2, 3, 4, 5, 6]), voters(&[4, 5]));
        assert_eq!(step(&[1, 2, 3, 4, 5], &[6, 7], &[1, 2, 3, 4, 5, 6, 7]), None);
    }

    #[test]
    fn a_broker_that_was_removed_leaves_and_a_follower_takes_its_vote() {
        let change = step(&[1, 2, 3], &[4], &[1, 2, 4]);
        let wanted = MemberChange { voters: vec![4], removed: vec![3], learners: vec![] };
        assert_eq!(change, Some(wanted));
        let change = step(&[1, 2, 3], &[], &[1, 2]);
        assert_eq!(change.map(|change| change.removed), Some(vec![3]));
    }

    #[test]
    fn who_is_silent_for_too_long_is_fenced_until_it_is_heard_again() {
        const TIMEOUT: Duration = Duration::from_secs(3);
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let fence = |node| Command::SetFenced { node, fenced: true };
        let unfence = |node| Command::SetFenced { node, fenced: false };
        let mut image = Image::of_brokers([1, 2, 3]);
        let mut registry = Registry::default();
        let says = |registry: &Registry, image: &Image, seconds| {
            registry.fencing(after(seconds), 1, image, TIMEOUT)
        };
        assert_eq!(says(&registry, &image, 100), [], "it is not the active controller");

        // Whoever was never heard has the time anew that a new active controller gives everyone.
        registry.since = Some(began);
        registry.heard.insert(2, after(1));
        assert_eq!(says(&registry, &image, 3), []);
        assert_eq!(says(&registry, &image, 4), [fence(3)]);
        assert_eq!(says(&registry, &image, 5), [fence(2), fence(3)], "1 does not judge itself");

        for node in [2, 3] {
            image.brokers.get_mut(&node).expect("one of the three").fenced = true;
        }
        assert_eq!(says(&registry, &image, 6), [], "it is said once");
        registry.heard.insert(3, after(6));
        assert_eq!(says(&registry, &image, 7), [unfence(3)], "what was heard long ago is no sign");

        // Its predecessor fenced it: whoever is active lives.
        let mut image = Image::of_brokers([1]);
        image.brokers.get_mut(&1).expect("it").fenced = true;
        assert_eq!(says(&registry, &image, 7), [unfence(1)]);
    }
}
