//! One Raft group on this broker: the state machine, and how far its disk has followed it.
//!
//! `step` takes what Raft wants done and hands it on: entries to the log, votes to the shard's
//! votes file, messages to the other brokers. Raft hears that something is persisted only after
//! the log (and, when term or vote changed, the votes file) said so, and what a follower or a
//! candidate has to say leaves only then. Nothing here waits.
//!
//! Invariant: `on_persist_ready(n)` is called only after every write of ready 1..=n is stable.
//! Invariant: a follower's or candidate's message of ready n leaves after that.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use raft::eraftpb::{HardState, Message, MessageType, Snapshot};
use raft::{RawNode, StateRole};
use thalweg_storage::entry::Entry;
use thalweg_storage::log::Log;
use thalweg_storage::votes::{self, GroupId, Votes};
use thiserror::Error;

use super::RaftId;
use super::config::{IN_SYNC_TICKS, group_config};
use super::entry::{from_stored, offset_after, to_stored};
use super::log_storage::{LogStorage, Wanted};
use super::membership::{MemberChange, Members};
use super::outgoing::{GroupMessage, Outgoing};
use super::scheduler::Scheduler;
use super::vote;
use crate::abort::stop_process;

/// For so long after its start a preferred leader that hears of no other asks again and again: the
/// others may only just be starting. Two seconds.
const EAGER_TICKS: u64 = 40;

/// Everything a group needs to start.
pub(crate) struct OpenGroup {
    pub(crate) id: GroupId,
    pub(crate) node: i32,
    pub(crate) members: Members,
    /// This broker is to lead if nobody does.
    pub(crate) preferred: bool,
    pub(crate) log: Rc<Log>,
    pub(crate) hard_state: votes::HardState,
    /// Everything up to here is committed, and applied by the state machine on top.
    pub(crate) applied: u64,
    pub(crate) votes: Rc<Votes>,
    pub(crate) scheduler: Rc<Scheduler>,
    pub(crate) outgoing: Rc<Outgoing>,
}

/// One group of which this broker is a member.
pub(crate) struct Group {
    id: GroupId,
    node: i32,
    raw: RawNode<LogStorage>,
    log: Rc<Log>,
    votes: Rc<Votes>,
    scheduler: Rc<Scheduler>,
    outgoing: Rc<Outgoing>,
    members: Members,
    /// This broker is to lead if nobody does.
    preferred: bool,
    /// This broker neither votes nor stands for election.
    abstains: bool,
    /// Nobody else is a member: there is nobody to wait for, and nobody to beat for.
    alone: bool,
    unpersisted: VecDeque<Unpersisted>,
    /// The newest ready whose vote is durable.
    vote_saved: Rc<Cell<u64>>,
    /// The term in which the state machine on top knows this broker to lead.
    told_leader: Option<u32>,
    /// Term and vote last given to the votes file.
    vote: (u64, u64),
    /// This broker has voted for itself since the last step.
    campaigned: bool,
    /// The change of members proposed last, and its index.
    proposed: (u64, MemberChange),
    ticks: u64,
    /// When this leader last heard of each member, in ticks.
    heard: HashMap<i32, u64>,
}

/// A ready whose writes are under way.
struct Unpersisted {
    number: u64,
    /// The last entry it appends, if any.
    last_index: Option<u64>,
    saves_vote: bool,
    /// What may be said once all of that is stable.
    messages: Vec<Message>,
}

/// What a step changed for the state machine on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// This broker leads in that term since this step.
    pub(crate) became_leader: Option<u32>,
    /// This broker led before this step and does not any more.
    pub(crate) lost_leadership: bool,
    /// This broker stood for election.
    pub(crate) campaigned: bool,
    /// A member needs what this log no longer has: [`Group::offer_snapshot`].
    pub(crate) snapshot_wanted: bool,
    /// Everything up to here is committed, and durable here.
    pub(crate) commit: u64,
}

/// Raft did not take a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this broker does not lead the group")]
pub(crate) struct Dropped;

/// What became of a message from another broker.
#[derive(Debug)]
pub(crate) enum Received {
    /// Raft has it.
    Taken,
    /// The log has to begin elsewhere before Raft can take this.
    Install(Box<GroupMessage>),
}

/// How far a member is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberProgress {
    pub(crate) node: i32,
    pub(crate) matched: u64,
    pub(crate) in_sync: bool,
}

impl Group {
    /// Starts the group. A lone voter asks for leadership at once: there is nobody to wait for.
    pub(crate) fn open(open: OpenGroup) -> Group {
        let OpenGroup { id, node, members, preferred, log, hard_state, applied, .. } = open;
        let alone = members.is_alone(node);
        let mut hard = HardState::default();
        hard.set_term(hard_state.term.max(u64::from(log.last_term())));
        hard.set_vote(if hard.term == hard_state.term { hard_state.vote } else { 0 });
        // What a lone voter has on stable storage is committed: it is the majority.
        let commit = if alone { log.last_index() } else { hard_state.commit.max(applied) };
        hard.set_commit(commit.min(log.last_index()));
        let storage = LogStorage::new(Rc::clone(&log), hard, members.to_raft());
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&group_config(RaftId::of(node), applied), storage, &logger)
            .unwrap_or_else(|error| panic!("raft group {id:?} cannot start: {error}"));
        let mut group = Group {
            id,
            node,
            raw,
            log,
            votes: open.votes,
            scheduler: open.scheduler,
            outgoing: open.outgoing,
            preferred: preferred && members.voters.contains(&node),
            members,
            abstains: false,
            alone,
            unpersisted: VecDeque::new(),
            vote_saved: Rc::new(Cell::new(0)),
            told_leader: None,
            vote: (hard_state.term, hard_state.vote),
            campaigned: false,
            proposed: (0, MemberChange::default()),
            ticks: 0,
            heard: HashMap::new(),
        };
        if alone || group.preferred {
            // The others answer a pre-vote with no while they hear of a leader.
            group.campaign();
        }
        group.scheduler.schedule(id);
        group
    }

    fn campaign(&mut self) {
        self.scheduler.schedule(self.id);
        if let Err(error) = self.raw.campaign() {
            tracing::warn!(group = ?self.id, %error, "cannot campaign");
        }
    }

    /// Whether this broker leads, and in which term.
    pub(crate) fn leader_term(&self) -> Option<u32> {
        let raft = &self.raw.raft;
        (raft.state == StateRole::Leader).then(|| u32::try_from(raft.term).unwrap_or(u32::MAX))
    }

    /// Whom this broker believes to lead.
    pub(crate) fn leader(&self) -> Option<i32> {
        RaftId(self.raw.raft.leader_id).node()
    }

    /// The group's members as of what is applied here.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Gives a record batch to Raft and returns its index.
    pub(crate) fn propose_batch(&mut self, header: Bytes, body: Bytes) -> Result<u64, Dropped> {
        assert!(!header.is_empty(), "an entry without context is not a batch");
        self.propose(header, body)
    }

    /// Gives a command for the state machine on top to Raft and returns its index.
    pub(crate) fn propose_command(&mut self, command: Bytes) -> Result<u64, Dropped> {
        assert!(!command.is_empty(), "an entry without data is Raft's own");
        self.propose(Bytes::new(), command)
    }

    /// Gives a change of members to Raft. Raft drops it when another one is not applied yet.
    pub(crate) fn propose_members(&mut self, change: MemberChange) -> Result<(), Dropped> {
        self.check_leading()?;
        let raft = change.to_raft();
        self.raw.propose_conf_change(Vec::new(), raft).map_err(|_dropped| Dropped)?;
        self.proposed = (self.raw.raft.raft_log.last_index(), change);
        self.scheduler.schedule(self.id);
        Ok(())
    }

    fn propose(&mut self, context: Bytes, data: Bytes) -> Result<u64, Dropped> {
        self.check_leading()?;
        let entry = raft::eraftpb::Entry { context, data, ..raft::eraftpb::Entry::default() };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.raw.raft.id;
        message.set_entries(vec![entry].into());
        self.raw.raft.step(message).map_err(|_dropped| Dropped)?;
        self.scheduler.schedule(self.id);
        Ok(self.raw.raft.raft_log.last_index())
    }

    fn check_leading(&self) -> Result<(), Dropped> {
        let raft = &self.raw.raft;
        let leading = raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        if leading { Ok(()) } else { Err(Dropped) }
    }

    /// Moves the group's clock. A lone leader needs none: nobody waits for its heartbeat.
    pub(crate) fn tick(&mut self) {
        if self.alone && self.raw.raft.state == StateRole::Leader {
            return;
        }
        self.ticks += 1;
        if self.abstains && self.raw.raft.state != StateRole::Leader {
            return;
        }
        if self.raw.tick() {
            self.scheduler.schedule(self.id);
        }
        let waiting = self.preferred && self.raw.raft.leader_id == 0;
        if waiting && self.ticks <= EAGER_TICKS && self.ticks.is_multiple_of(2) {
            self.campaign();
        }
    }

    /// Takes a message of another broker whose entries have been verified.
    pub(crate) fn receive(&mut self, received: GroupMessage) -> Received {
        let GroupMessage { group, mut message, entries } = received;
        let last_index = self.log.last_index();
        let stale = message.term < self.raw.raft.term;
        match message.get_msg_type() {
            MessageType::MsgSnapshot if !stale => {
                let metadata = message.get_snapshot().get_metadata();
                let (index, term) = (metadata.index, metadata.term);
                let known = self.log.term(index).map(u64::from) == Some(term);
                if index > self.raw.raft.raft_log.committed && !(known && index <= last_index) {
                    return Received::Install(Box::new(GroupMessage { group, message, entries }));
                }
            }
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote if self.abstains => {
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
            let base = thalweg_protocol::batch::BatchHeader::parse(&entry.header);
            let Ok(header) = base else { return false };
            let follows = next_offset.is_none_or(|next| header.base_offset == next);
            if !follows || entry.index != next_index {
                return false;
            }
            next_offset = Some(offset_after(entry, header.base_offset));
        }
        true
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
        }
    }

    /// Does everything Raft has to do now.
    pub(crate) fn step(&mut self) -> Progress {
        self.acknowledge_persisted();
        while self.raw.has_ready() {
            self.handle_ready();
            self.acknowledge_persisted();
        }
        self.progress()
    }

    /// What is to be read from the log for members that are behind: [`Group::on_fetched`].
    pub(crate) fn take_wanted(&self) -> Vec<Wanted> {
        self.raw.store().take_wanted()
    }

    fn progress(&mut self) -> Progress {
        let is_leader = self.leader_term();
        // Not compared with the start of this step: a lone voter is elected before its first.
        let was_leader = std::mem::replace(&mut self.told_leader, is_leader);
        let became_leader = is_leader.filter(|_| is_leader != was_leader);
        if became_leader.is_some() {
            // Whoever voted has been heard; the others get the time that silence takes.
            self.heard = self.members.all().into_iter().map(|node| (node, self.ticks)).collect();
        }
        let log = &self.raw.raft.raft_log;
        Progress {
            became_leader,
            lost_leadership: was_leader.is_some() && is_leader != was_leader,
            campaigned: std::mem::take(&mut self.campaigned),
            snapshot_wanted: self.raw.store().take_snapshot_wanted(),
            commit: log.committed.min(log.persisted),
        }
    }

    fn handle_ready(&mut self) {
        let mut ready = self.raw.ready();
        let entries = ready.take_entries();
        if let Some(first) = entries.first()
            && first.index <= self.log.last_index()
        {
            self.truncate_suffix(first.index);
        }
        let entries = self.stored_form(entries);
        let last_index = entries.last().map(|entry| entry.index);
        if !entries.is_empty() && self.log.append(entries).is_err() {
            // The log has told the shard already, and the process is about to end.
            tracing::error!(group = ?self.id, "the log takes no more writes");
        }
        let voted = ready.hs().filter(|hard| (hard.term, hard.vote) != self.vote).cloned();
        let saves_vote = voted.is_some();
        if let Some(hard) = voted {
            self.save_vote(ready.number(), &hard);
        }
        for message in ready.take_messages() {
            self.send(message);
        }
        let (number, messages) = (ready.number(), ready.take_persisted_messages());
        self.unpersisted.push_back(Unpersisted { number, last_index, saves_vote, messages });
        self.raw.advance_append_async(ready);
    }

    /// Another leader's entries replace this log's from `from_index` on.
    fn truncate_suffix(&mut self, from_index: u64) {
        tracing::info!(group = ?self.id, from_index, last_index = self.log.last_index(),
            "entries that never committed give way to another leader's");
        // The log tells of the cut by its progress; nobody waits for it alone.
        drop(self.log.truncate_suffix(from_index));
        for waiting in &mut self.unpersisted {
            waiting.last_index = waiting.last_index.map(|last| last.min(from_index - 1));
        }
    }

    fn stored_form(&self, entries: Vec<raft::eraftpb::Entry>) -> Vec<Entry> {
        let mut next_offset = self.log.next_offset();
        let none = MemberChange::default();
        entries
            .into_iter()
            .map(|entry| {
                let proposed = entry.index == self.proposed.0;
                let change = if proposed { &self.proposed.1 } else { &none };
                let stored = to_stored(entry, next_offset, change);
                next_offset = offset_after(&stored, next_offset);
                stored
            })
            .collect()
    }

    fn send(&self, mut message: Message) {
        let Some(node) = RaftId(message.to).node() else { return };
        let announced = message.take_entries();
        let mut entries = Vec::with_capacity(announced.len());
        // Raft adds entries to a message of the same turn that had none, also when they begin
        // elsewhere, because it has just learned that the follower is not so far. It sends them
        // again when this message is answered.
        let follows = announced.first().is_none_or(|first| first.index == message.index + 1);
        for entry in announced.into_iter().filter(|_| follows) {
            // A follower that misses the rest asks for it.
            let Some(stored) = self.raw.store().entry(entry.index) else { break };
            if u64::from(stored.term) != entry.term {
                // Another leader's have replaced them since this was said.
                break;
            }
            entries.push(stored);
        }
        self.outgoing.push(node, GroupMessage { group: self.id, message, entries });
    }

    fn save_vote(&mut self, number: u64, hard: &HardState) {
        self.vote = (hard.term, hard.vote);
        self.campaigned |= hard.vote == self.raw.raft.id;
        let state = votes::HardState { term: hard.term, vote: hard.vote, commit: hard.commit };
        let (id, saved) = (self.id, vote::save(&self.votes, self.id, state));
        let (scheduler, vote_saved) = (Rc::clone(&self.scheduler), Rc::clone(&self.vote_saved));
        tokio::task::spawn_local(async move {
            saved.await;
            vote_saved.set(vote_saved.get().max(number));
            scheduler.schedule(id);
        });
    }

    /// Tells Raft how far its writes have come, and the others what waited for that.
    fn acknowledge_persisted(&mut self) {
        let stable = self.log.stable_index();
        let mut persisted = None;
        while let Some(front) = self.unpersisted.front() {
            let entries_stable = front.last_index.is_none_or(|index| index <= stable);
            if !entries_stable || (front.saves_vote && front.number > self.vote_saved.get()) {
                break;
            }
            persisted = Some(front.number);
            for message in self.unpersisted.pop_front().into_iter().flat_map(|done| done.messages) {
                self.send(message);
            }
        }
        if let Some(number) = persisted {
            self.raw.on_persist_ready(number);
        }
    }

    /// The state machine on top has applied everything up to `index`.
    pub(crate) fn applied_to(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
        self.log.applied_to(index);
        if self.raw.has_ready() {
            // Joint consensus is left by an entry that Raft appends when it was entered.
            self.scheduler.schedule(self.id);
        }
    }

    /// The state machine on top has come to a change of members at `index` of the log.
    pub(crate) fn apply_members(&mut self, index: u64, change: &MemberChange) {
        if index <= self.members.index {
            return;
        }
        match self.raw.apply_conf_change(&change.to_raft()) {
            Ok(state) => self.members = Members::from_raft(index, &state),
            Err(error) => stop_process(&format!(
                "the change of members at index {index} of group {:?} cannot be applied: {error}",
                self.id
            )),
        }
        self.alone = self.members.is_alone(self.node);
        self.scheduler.schedule(self.id);
    }

    /// Gives a follower what it needs to begin behind what this log no longer has: `data` is the
    /// state machine's. The members may be newer than the snapshot's index; changes that come
    /// again are passed over.
    pub(crate) fn offer_snapshot(&mut self, data: Bytes) {
        let index = self.log.first_index() - 1;
        let Some(term) = self.log.term(index) else {
            tracing::error!(group = ?self.id, index, "no term before the first entry");
            return;
        };
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().set_index(index);
        snapshot.mut_metadata().set_term(u64::from(term));
        snapshot.mut_metadata().set_conf_state(self.members.to_raft());
        snapshot.set_data(data);
        self.raw.store().offer_snapshot(snapshot);
    }

    /// Entries that Raft wanted to send have come from disk.
    pub(crate) fn on_fetched(&mut self, entries: Vec<Entry>, wanted: Wanted) {
        self.raw.store().keep_fetched(&wanted, entries);
        self.raw.on_entries_fetched(wanted.context);
        // The entries go out, or are asked for again; they are not kept.
        while self.raw.has_ready() {
            self.handle_ready();
        }
        self.raw.store().forget_fetched();
        self.scheduler.schedule(self.id);
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

    /// Every other member, as this leader sees it.
    pub(crate) fn others(&self) -> Vec<MemberProgress> {
        let progress = self.raw.raft.prs();
        let others = progress.iter().filter(|(id, _)| **id != self.raw.raft.id);
        let seen = others.filter_map(|(id, progress)| {
            let node = RaftId(*id).node()?;
            let in_sync = self.is_in_sync(node);
            Some(MemberProgress { node, matched: progress.matched, in_sync })
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

    /// What to persist so that the next start knows how far the log was committed.
    pub(crate) fn hard_state(&self) -> votes::HardState {
        let hard = self.raw.raft.hard_state();
        let commit = hard.commit.min(self.raw.raft.raft_log.persisted);
        votes::HardState { term: hard.term, vote: hard.vote, commit }
    }
}
