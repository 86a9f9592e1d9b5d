//! One Raft group on this broker: the state machine, and how far its disk has followed it.
//!
//! `step` takes what Raft wants done and hands it on: entries to the log, votes to the shard's
//! votes file, messages to the other brokers. Raft hears that something is persisted only after
//! the log (and, when term or vote changed, the votes file) said so, and what a follower or a
//! candidate has to say leaves only then. Nothing here waits.
//!
//! Invariant: `on_persist_ready(n)` is called only after every write of ready 1..=n is stable.
//! Invariant: a follower's or candidate's message of ready n leaves after that.

mod members;
mod receive;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use raft::eraftpb::{ConfState, EntryType, HardState, Message, MessageType};
use raft::{RawNode, StateRole};
use serde::{Deserialize, Serialize};
use thalweg_storage::entry::Entry;
use thalweg_storage::log::Log;
use thalweg_storage::votes::{self, GroupId, Votes};
use thiserror::Error;

use super::RaftId;
use super::config::group_config;
use super::entry::{offset_after, to_stored};
use super::log_storage::{LogStorage, Wanted};
use super::membership::{MemberChange, Members};
use super::outgoing::{GroupMessage, Outgoing};
use super::scheduler::Scheduler;
use super::vote;

/// For so long after its start a preferred leader that hears of no other asks again and again: the
/// others may only just be starting. Two seconds.
const EAGER_TICKS: u64 = 40;

/// How long a member may take over a snapshot before it is sent again: five seconds.
const SNAPSHOT_AGAIN_TICKS: u64 = 100;

/// The priority of an answer to a heartbeat by a member that would rather not lead.
const UNWILLING: i64 = -1;

/// Everything a group needs to start.
pub(crate) struct OpenGroup {
    pub(crate) id: GroupId,
    pub(crate) node: i32,
    pub(crate) members: Members,
    /// This broker has had the group before and lost it, or comes late: it has no say until a
    /// change of members gives it one.
    pub(crate) passive: Option<Passive>,
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

/// A replica that began empty in a group that has already changed its members. The voters it once
/// knew may have been left behind long ago, so it does not count itself among them, and votes only
/// for brokers that have everything that was committed when it first heard of a leader: they know
/// who the members are. It becomes an ordinary member when the log gives it a vote after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passive {
    /// When it first heard of a leader.
    pub(crate) met_at: Option<Meeting>,
}

/// The term of the leader that was met, and what that had committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Meeting {
    pub(crate) term: u64,
    pub(crate) committed: u64,
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
    /// This broker would rather not lead: leaders that look for a successor are told.
    declines: bool,
    passive: Option<Passive>,
    /// The log has given a passive replica its vote: it has to be opened anew.
    promoted: bool,
    /// Nobody else is a member: there is nobody to wait for, and nobody to beat for.
    alone: bool,
    unpersisted: VecDeque<Unpersisted>,
    /// How often a state was given to the votes file, and the newest time that is durable.
    saves: u64,
    saved: Rc<Cell<u64>>,
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
    /// Members that would rather not lead, by what they said last.
    unwilling: BTreeSet<i32>,
}

/// A ready whose writes are under way.
struct Unpersisted {
    number: u64,
    /// The last entry it appends, if any.
    last_index: Option<u64>,
    /// It appends a change of members. That is proposed only when the change before is committed;
    /// whoever has the later one must know that of the earlier one, also after a restart.
    saves_commit: bool,
    /// The save of term, vote and commit that it waits for.
    save: Option<u64>,
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
    /// A passive replica has got its vote and has to be opened anew.
    pub(crate) promoted: bool,
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
    /// A leader writes to this passive replica for the first time: that is to be made durable
    /// ([`Group::met`]), and the message comes again.
    Met(Meeting),
}

/// How far a member is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberProgress {
    pub(crate) node: i32,
    pub(crate) matched: u64,
    pub(crate) in_sync: bool,
    /// Whether it would lead: its disk has room, and its log no damage.
    pub(crate) willing: bool,
}

impl Group {
    /// Starts the group. A lone voter asks for leadership at once: there is nobody to wait for.
    pub(crate) fn open(open: OpenGroup) -> Group {
        let OpenGroup { id, node, members, passive, preferred, log, hard_state, .. } = open;
        let applied = open.applied;
        let alone = members.is_alone(node) && passive.is_none();
        let mut hard = HardState::default();
        hard.set_term(hard_state.term.max(u64::from(log.last_term())));
        hard.set_vote(if hard.term == hard_state.term { hard_state.vote } else { 0 });
        // What a lone voter has on stable storage is committed: it is the majority.
        let commit = if alone { log.last_index() } else { hard_state.commit.max(applied) };
        hard.set_commit(commit.min(log.last_index()));
        let known = if passive.is_some() { ConfState::default() } else { members.to_raft() };
        let storage = LogStorage::new(Rc::clone(&log), hard, known);
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
            preferred: preferred && passive.is_none() && members.voters.contains(&node),
            members,
            abstains: false,
            declines: false,
            passive,
            promoted: false,
            alone,
            unpersisted: VecDeque::new(),
            saves: 0,
            saved: Rc::new(Cell::new(0)),
            told_leader: None,
            vote: (hard_state.term, hard_state.vote),
            campaigned: false,
            proposed: (0, MemberChange::default()),
            ticks: 0,
            heard: HashMap::new(),
            unwilling: BTreeSet::new(),
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
        if self.ticks.is_multiple_of(SNAPSHOT_AGAIN_TICKS) && self.leader_term().is_some() {
            self.send_lost_snapshots();
        }
        self.give_up_leading();
        let waiting = self.preferred && self.raw.raft.leader_id == 0;
        if waiting && self.ticks <= EAGER_TICKS && self.ticks.is_multiple_of(2) {
            self.campaign();
        }
    }

    /// Hands leadership on if this leader has no vote any more: whoever began to remove it led
    /// before. Raft lets it lead on for ever, and takes no proposal from it. Asked again with every
    /// tick, as long as nobody has taken over.
    fn give_up_leading(&mut self) {
        let stays = self.members.is_joint() || self.members.voters.contains(&self.node);
        if self.raw.raft.state != StateRole::Leader || stays || self.is_transferring() {
            return;
        }
        let mut others = self.others();
        others.retain(|other| other.in_sync && self.members.voters.contains(&other.node));
        if let Some(best) = others.iter().max_by_key(|other| other.matched) {
            tracing::info!(group = ?self.id, to = best.node, "a leader without a vote makes way");
            self.transfer_leadership(best.node);
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
            promoted: std::mem::take(&mut self.promoted),
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
        let saves_commit = entries.iter().any(|it| it.get_entry_type() != EntryType::EntryNormal);
        let entries = self.stored_form(entries);
        let last_index = entries.last().map(|entry| entry.index);
        if !entries.is_empty() && self.log.append(entries).is_err() {
            // The log has told the shard already, and the process is about to end.
            tracing::error!(group = ?self.id, "the log takes no more writes");
        }
        let voted = ready.hs().filter(|hard| (hard.term, hard.vote) != self.vote).cloned();
        let save = voted.map(|hard| self.save_vote(&hard));
        for message in ready.take_messages() {
            self.send(message);
        }
        let (number, messages) = (ready.number(), ready.take_persisted_messages());
        self.unpersisted.push_back(Unpersisted {
            number,
            last_index,
            saves_commit,
            save,
            messages,
        });
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

    fn stored_form(&mut self, entries: Vec<raft::eraftpb::Entry>) -> Vec<Entry> {
        let mut next_offset = self.log.next_offset();
        let none = MemberChange::default();
        let entries = entries
            .into_iter()
            .map(|entry| {
                let proposed = entry.index == self.proposed.0;
                let change = if proposed { &self.proposed.1 } else { &none };
                let stored = to_stored(entry, next_offset, change);
                next_offset = offset_after(&stored, next_offset);
                stored
            })
            .collect();
        let stored: &Vec<Entry> = &entries;
        let last = stored.last().map_or(0, |entry| entry.index);
        if self.proposed.0 <= last || self.raw.raft.state != StateRole::Leader {
            // Stored, or never going to be under this index.
            self.proposed = (0, MemberChange::default());
        }
        entries
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
        if message.get_msg_type() == MessageType::MsgHeartbeatResponse {
            // Raft has no use for the priority of such a message.
            message.priority = if self.declines || self.abstains { UNWILLING } else { 0 };
        }
        self.outgoing.push(node, GroupMessage { group: self.id, message, entries });
    }

    fn save_vote(&mut self, hard: &HardState) -> u64 {
        self.vote = (hard.term, hard.vote);
        self.campaigned |= hard.vote == self.raw.raft.id;
        // What is not persisted here yet may still give way, and would be taken for committed.
        let commit = hard.commit.min(self.raw.raft.raft_log.persisted);
        self.save_state(votes::HardState { term: hard.term, vote: hard.vote, commit })
    }

    /// Begins to save a state; returns the number of the save.
    fn save_state(&mut self, state: votes::HardState) -> u64 {
        self.saves += 1;
        let number = self.saves;
        let (id, saved) = (self.id, vote::save(&self.votes, self.id, state));
        let (scheduler, all_saved) = (Rc::clone(&self.scheduler), Rc::clone(&self.saved));
        tokio::task::spawn_local(async move {
            saved.await;
            all_saved.set(all_saved.get().max(number));
            scheduler.schedule(id);
        });
        number
    }

    /// Tells Raft how far its writes have come, and the others what waited for that.
    fn acknowledge_persisted(&mut self) {
        let stable = self.log.stable_index();
        let mut persisted = None;
        while let Some(front) = self.unpersisted.front_mut() {
            let entries_stable = front.last_index.is_none_or(|index| index <= stable);
            if !entries_stable || front.save.is_some_and(|save| save > self.saved.get()) {
                break;
            }
            if std::mem::take(&mut front.saves_commit) {
                let hard = self.raw.raft.hard_state();
                let commit = hard.commit.min(stable);
                let state = votes::HardState { term: hard.term, vote: hard.vote, commit };
                let save = self.save_state(state);
                if let Some(front) = self.unpersisted.front_mut() {
                    front.save = Some(save);
                }
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
        if self.alone && self.raw.raft.leader_id == 0 && index >= self.raw.raft.raft_log.committed {
            // What was not applied may have been a change of members; now it is known.
            self.campaign();
        }
        if self.raw.has_ready() {
            // Joint consensus is left by an entry that Raft appends when it was entered.
            self.scheduler.schedule(self.id);
        }
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

    /// What to persist so that the next start knows how far the log was committed.
    pub(crate) fn hard_state(&self) -> votes::HardState {
        let hard = self.raw.raft.hard_state();
        let commit = hard.commit.min(self.raw.raft.raft_log.persisted);
        votes::HardState { term: hard.term, vote: hard.vote, commit }
    }
}
