//! What a group does with messages of other brokers before Raft sees them.

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, SnapshotStatus, StateRole};
use thalweg_protocol::batch::BatchHeader;
use thalweg_storage::entry::Entry;

use super::{Group, Meeting, Passive, Received, UNWILLING};
use crate::replication::RaftId;
use crate::replication::entry::{from_stored, offset_after};
use crate::replication::outgoing::GroupMessage;

impl Group {
    /// Takes a message of another broker whose entries have been verified.
    pub(crate) fn receive(&mut self, received: GroupMessage) -> Received {
        let GroupMessage { group, mut message, entries } = received;
        let last_index = self.log.last_index();
        let stale = message.term < self.raw.raft.term;
        if let Some(Passive { met_at: None }) = self.passive
            && message.get_msg_type() == MessageType::MsgAppend
            && !stale
        {
            // Not what the message says is committed, which may be less: everything up to where the
            // leader begins is, too.
            let committed = message.commit.max(message.index);
            return Received::Met(Meeting { term: message.term, committed });
        }
        match message.get_msg_type() {
            MessageType::MsgSnapshot if !stale => {
                let metadata = message.get_snapshot().get_metadata();
                let (index, term) = (metadata.index, metadata.term);
                let known = self.log.term(index).map(u64::from) == Some(term);
                if index > self.raw.raft.raft_log.committed && !(known && index <= last_index) {
                    return Received::Install(Box::new(GroupMessage { group, message, entries }));
                }
            }
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if !self.may_vote_for(message.log_term, message.index) =>
            {
                return Received::Taken;
            }
            MessageType::MsgTimeoutNow if self.abstains => return Received::Taken,
            MessageType::MsgHeartbeat => {
                // A log that was written with write caching may have lost what it had confirmed.
                message.commit = message.commit.min(self.raw.raft.raft_log.last_index());
            }
            MessageType::MsgAppend if !self.fits(message.index, message.log_term, &entries) => {
                tracing::error!(group = ?self.id, index = message.index, from = message.from,
                    "entries of another broker do not continue this log: not taken");
                return Received::Taken;
            }
            MessageType::MsgHeartbeatResponse => self.note_willingness(&message),
            MessageType::MsgAppendResponse if message.reject => self.believe_rejection(&message),
            _ => {}
        }
        if let Some(node) = RaftId(message.from).node() {
            self.heard.insert(node, self.ticks);
        }
        if !entries.is_empty() {
            let entries: Vec<_> = entries.into_iter().map(from_stored).collect();
            message.set_entries(entries.into());
        }
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(group = ?self.id, %error, "message not taken");
        }
        self.scheduler.schedule(self.id);
        Received::Taken
    }

    /// Whether entries that come after the one at `index` have the offsets that follow there. Where
    /// this log has another entry Raft says so itself.
    fn fits(&self, index: u64, term: u64, entries: &[Entry]) -> bool {
        let same = self.log.term(index).map(u64::from) == Some(term);
        let mut next_offset = match self.log.meta(index) {
            _ if !same => None,
            Some(meta) => Some(meta.next_offset()),
            None if index == self.log.last_index() => Some(self.log.next_offset()),
            None => None,
        };
        for (next_index, entry) in (index + 1..).zip(entries) {
            let Ok(header) = BatchHeader::parse(&entry.header) else { return false };
            let follows = next_offset.is_none_or(|next| header.base_offset == next);
            if !follows || entry.index != next_index {
                return false;
            }
            next_offset = Some(offset_after(entry, header.base_offset));
        }
        true
    }

    fn note_willingness(&mut self, message: &Message) {
        let Some(node) = RaftId(message.from).node() else { return };
        if message.priority == UNWILLING {
            self.unwilling.insert(node);
        } else {
            self.unwilling.remove(&node);
        }
    }

    /// A follower that lost what it had confirmed (its log was written with write caching and its
    /// power failed) says so by rejecting what it is known to have. Raft takes that for an old
    /// message; then the follower would wait for ever.
    fn believe_rejection(&mut self, message: &Message) {
        if message.term != self.raw.raft.term || self.raw.raft.state != StateRole::Leader {
            return;
        }
        if let Some(progress) = self.raw.raft.mut_prs().get_mut(message.from)
            && message.reject_hint < progress.matched
        {
            tracing::warn!(group = ?self.id, from = message.from, matched = progress.matched,
                has = message.reject_hint, "a member has lost entries it had confirmed");
            progress.matched = 0;
            progress.become_probe();
            progress.next_idx = message.reject_hint + 1;
        }
    }

    /// The connection to a broker broke: what was sent to it may be lost.
    pub(crate) fn on_unreachable(&mut self, node: i32) {
        if self.raw.raft.state == StateRole::Leader {
            self.raw.report_unreachable(RaftId::of(node).0);
            self.send_snapshot_again(RaftId::of(node).0);
        }
    }

    /// Nobody says that a snapshot was lost, and Raft waits for its answer for ever: members that
    /// wait for one are sent it again now and then. One that is busy with it does not mind.
    pub(super) fn send_lost_snapshots(&mut self) {
        let ids: Vec<u64> = self.raw.raft.prs().iter().map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.send_snapshot_again(id));
    }

    fn send_snapshot_again(&mut self, id: u64) {
        let progress = self.raw.raft.prs().get(id);
        if progress.is_some_and(|progress| progress.state == ProgressState::Snapshot) {
            self.raw.report_snapshot(id, SnapshotStatus::Failure);
            self.scheduler.schedule(self.id);
        }
    }
}
