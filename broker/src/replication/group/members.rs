//! Who the members of a group are, how far they have come, and who is to lead.
//!
//! A member that would rather not lead says so in its answers to heartbeats; it is only passed over
//! when somebody gives leadership away, and can still be elected.

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{Message, MessageType, Snapshot};
use thalweg_storage::entry::Entry;

use super::{Dropped, Group, Meeting, MemberProgress, Passive};
use crate::abort::stop_process;
use crate::replication::RaftId;
use crate::replication::config::IN_SYNC_TICKS;
use crate::replication::membership::{MemberChange, Members};
use crate::replication::outgoing::GroupMessage;

impl Group {
    /// Gives a change of members to Raft. Raft drops it when another one is not applied yet.
    pub(crate) fn propose_members(&mut self, change: MemberChange) -> Result<(), Dropped> {
        self.check_leading()?;
        let raft = change.to_raft();
        self.raw.propose_conf_change(Vec::new(), raft).map_err(|_dropped| Dropped)?;
        self.proposed = (self.raw.raft.raft_log.last_index(), change);
        self.scheduler.schedule(self.id);
        Ok(())
    }

    /// The members after the change at `index`; `None` if that is known already.
    pub(crate) fn members_after(&self, index: u64, change: &MemberChange) -> Option<Members> {
        (index > self.members.index).then(|| self.members.after(index, change))
    }

    /// What makes this replica passive, if it is; not any more once `members` are in force.
    pub(crate) fn passive_with(&self, members: &Members) -> Option<Passive> {
        let passive = self.passive?;
        let since = passive.met_at.map_or(u64::MAX, |met| met.committed);
        let voting = members.voters.contains(&self.node) && members.index > since;
        (!voting).then_some(passive)
    }

    /// The state machine on top has come to a change of members at `index` of the log, and has made
    /// durable what they are then.
    pub(crate) fn apply_members(&mut self, index: u64, change: &MemberChange) {
        let Some(members) = self.members_after(index, change) else { return };
        if self.passive.is_some() {
            self.promoted |= self.passive_with(&members).is_none();
            self.members = members;
            self.scheduler.schedule(self.id);
            return;
        }
        match self.raw.apply_conf_change(&change.to_raft()) {
            Ok(state) if Members::from_raft(index, &state) == members => self.members = members,
            other => stop_process(&format!(
                "the change of members at index {index} of group {:?} makes {other:?}, not {members:?}",
                self.id
            )),
        }
        self.alone = self.members.is_alone(self.node);
        if self.raw.raft.state == StateRole::Leader && !self.members.all().contains(&self.node) {
            // Raft would go on leading until an answer moves its commit index, and then panic: it
            // looks for itself among the members. Those elect another.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        self.scheduler.schedule(self.id);
    }

    /// That this passive replica has met a leader is durable now.
    pub(crate) fn met(&mut self, meeting: Meeting) {
        self.passive = Some(Passive { met_at: Some(meeting) });
    }

    /// Whether this replica is passive, and since when.
    pub(crate) fn passive(&self) -> Option<Passive> {
        self.passive
    }

    /// Whether this replica may vote for a broker whose log ends there.
    pub(super) fn may_vote_for(&self, last_term: u64, last_index: u64) -> bool {
        let theirs = Meeting { term: last_term, committed: last_index };
        let knows_members =
            self.passive.is_none_or(|passive| passive.met_at.is_some_and(|met| theirs >= met));
        !self.abstains && knows_members
    }

    /// Gives a follower what it needs to begin behind what this log no longer has: `data` is the
    /// state machine's. The members may be newer than the snapshot's index; changes that come
    /// again are passed over.
    pub(crate) fn offer_snapshot(&mut self, index: u64, data: Bytes) {
        let Some(term) = self.log.term(index) else {
            tracing::error!(group = ?self.id, index, "no term of the entry before the snapshot");
            return;
        };
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().set_index(index);
        snapshot.mut_metadata().set_term(u64::from(term));
        snapshot.mut_metadata().set_conf_state(self.members.to_raft());
        snapshot.set_data(data);
        self.raw.store().offer_snapshot(snapshot);
    }

    /// Sends entries that another replica has asked for, outside of Raft. `low` is the index of the
    /// first.
    pub(crate) fn give(&mut self, node: i32, low: u64, entries: Vec<Entry>) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppend);
        (message.from, message.to) = (self.raw.raft.id, RaftId::of(node).0);
        message.index = low.saturating_sub(1);
        self.outgoing.give(node, GroupMessage { group: self.id, message, entries });
        self.scheduler.schedule(self.id);
    }

    /// Whether this broker keeps out of elections from now on: it misses something.
    pub(crate) fn abstain(&mut self, abstain: bool) {
        self.abstains = abstain;
    }

    /// Whether this broker would rather not lead from now on. It still does if nobody else can.
    pub(crate) fn decline(&mut self, decline: bool) {
        self.declines = decline;
    }

    /// Every other member, as this leader sees it.
    pub(crate) fn others(&self) -> Vec<MemberProgress> {
        let progress = self.raw.raft.prs();
        let others = progress.iter().filter(|(id, _)| **id != self.raw.raft.id);
        let seen = others.filter_map(|(id, progress)| {
            let node = RaftId(*id).node()?;
            let in_sync = self.is_in_sync(node);
            let willing = !self.unwilling.contains(&node);
            Some(MemberProgress { node, matched: progress.matched, in_sync, willing })
        });
        seen.collect()
    }

    /// Whether this leader has heard of a member lately.
    fn is_in_sync(&self, node: i32) -> bool {
        let heard = self.heard.get(&node);
        heard.is_some_and(|heard| self.ticks.saturating_sub(*heard) <= IN_SYNC_TICKS)
    }

    /// Voters that this leader has heard of lately, itself included.
    pub(crate) fn voters_in_sync(&self) -> usize {
        let in_sync = |node: &&i32| **node == self.node || self.is_in_sync(**node);
        self.members.voters.iter().filter(in_sync).count()
    }

    /// Hands leadership to `node`, which should be caught up. Nothing is proposed meanwhile.
    pub(crate) fn transfer_leadership(&mut self, node: i32) {
        self.raw.transfer_leader(RaftId::of(node).0);
        self.scheduler.schedule(self.id);
    }

    /// Whether leadership is on its way to somebody else.
    pub(crate) fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }
}
