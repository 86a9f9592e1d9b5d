//! One Raft group on this broker: the state machine, and how far its disk has followed it.
//!
//! `step` takes what Raft wants done and hands it on: entries to the log, votes to the shard's
//! votes file. Raft hears that something is persisted only after the log (and, when term or vote
//! changed, the votes file) said so. Nothing here waits.
//!
//! Invariant: `on_persist_ready(n)` is called only after every write of ready 1..=n is stable.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{ConfState, HardState, Message, MessageType};
use raft::{RawNode, StateRole};
use thalweg_storage::entry::Entry;
use thalweg_storage::log::Log;
use thalweg_storage::votes::{self, GroupId, Votes, VotesSaveError};
use thiserror::Error;

use super::RaftId;
use super::config::group_config;
use super::entry::{offset_after, to_stored};
use super::log_storage::LogStorage;
use super::scheduler::Scheduler;
use crate::abort::stop_process;

/// How long to wait before a vote is tried again on a full disk.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Everything a group needs to start.
pub(crate) struct OpenGroup {
    pub(crate) id: GroupId,
    pub(crate) node: RaftId,
    pub(crate) voters: Vec<RaftId>,
    pub(crate) log: Rc<Log>,
    pub(crate) hard_state: votes::HardState,
    pub(crate) votes: Rc<Votes>,
    pub(crate) scheduler: Rc<Scheduler>,
}

/// One group of which this broker is a member.
pub(crate) struct Group {
    id: GroupId,
    raw: RawNode<LogStorage>,
    log: Rc<Log>,
    votes: Rc<Votes>,
    scheduler: Rc<Scheduler>,
    unpersisted: VecDeque<Unpersisted>,
    /// The newest ready whose vote is durable.
    vote_saved: Rc<Cell<u64>>,
    lone_voter: bool,
    /// The term in which the state machine on top knows this broker to lead.
    told_leader: Option<u32>,
    /// Term and vote last given to the votes file.
    vote: (u64, u64),
    /// This broker has voted for itself since the last step.
    campaigned: bool,
}

/// A ready whose writes are under way.
struct Unpersisted {
    number: u64,
    /// The last entry it appends, if any.
    last_index: Option<u64>,
    saves_vote: bool,
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
    /// Everything up to here is committed.
    pub(crate) commit: u64,
}

/// Raft did not take a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this broker does not lead the group")]
pub(crate) struct Dropped;

impl Group {
    /// Starts the group. A lone voter asks for leadership at once: there is nobody to wait for.
    pub(crate) fn open(open: OpenGroup) -> Group {
        let OpenGroup { id, node, voters, log, hard_state, votes, scheduler } = open;
        let lone_voter = voters == [node];
        let mut hard = HardState::default();
        hard.set_term(hard_state.term.max(u64::from(log.last_term())));
        hard.set_vote(if hard.term == hard_state.term { hard_state.vote } else { 0 });
        // What a lone voter has on stable storage is committed: it is the majority.
        let commit = if lone_voter { log.last_index() } else { hard_state.commit };
        let commit = commit.min(log.last_index());
        hard.set_commit(commit);
        let mut members = ConfState::default();
        members.set_voters(voters.iter().map(|voter| voter.0).collect());
        let storage = LogStorage::new(Rc::clone(&log), hard, members);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        // The state machine on top replays what was committed before this start by itself.
        let raw = RawNode::new(&group_config(node, commit), storage, &logger)
            .unwrap_or_else(|error| panic!("raft group {id:?} cannot start: {error}"));
        let vote_saved = Rc::new(Cell::new(0));
        let mut group = Group {
            id,
            raw,
            log,
            votes,
            scheduler,
            unpersisted: VecDeque::new(),
            vote_saved,
            lone_voter,
            told_leader: None,
            vote: (hard_state.term, hard_state.vote),
            campaigned: false,
        };
        if lone_voter {
            group.raw.campaign().expect("a lone voter can always campaign");
        }
        group.scheduler.schedule(id);
        group
    }

    /// Whether this broker leads, and in which term.
    pub(crate) fn leader_term(&self) -> Option<u32> {
        let raft = &self.raw.raft;
        (raft.state == StateRole::Leader).then(|| u32::try_from(raft.term).unwrap_or(u32::MAX))
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
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.lead_transferee.is_some() {
            return Err(Dropped);
        }
        let entry = raft::eraftpb::Entry { context, data, ..raft::eraftpb::Entry::default() };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.raw.raft.id;
        message.set_entries(vec![entry].into());
        self.raw.raft.step(message).map_err(|_dropped| Dropped)?;
        self.scheduler.schedule(self.id);
        Ok(self.raw.raft.raft_log.last_index())
    }

    /// Moves the group's clock. A lone leader needs none: nobody waits for its heartbeat.
    pub(crate) fn tick(&mut self) {
        if self.lone_voter && self.raw.raft.state == StateRole::Leader {
            return;
        }
        if self.raw.tick() {
            self.scheduler.schedule(self.id);
        }
    }

    /// Does everything Raft has to do now.
    pub(crate) fn step(&mut self) -> Progress {
        self.acknowledge_persisted();
        while self.raw.has_ready() {
            self.handle_ready();
            self.acknowledge_persisted();
        }
        let is_leader = self.leader_term();
        // Not compared with the start of this step: a lone voter is elected before its first.
        let was_leader = std::mem::replace(&mut self.told_leader, is_leader);
        Progress {
            became_leader: is_leader.filter(|_| is_leader != was_leader),
            lost_leadership: was_leader.is_some() && is_leader != was_leader,
            campaigned: std::mem::take(&mut self.campaigned),
            commit: self.raw.raft.raft_log.committed.min(self.log.last_index()),
        }
    }

    fn handle_ready(&mut self) {
        let mut ready = self.raw.ready();
        assert!(
            ready.messages().is_empty() && ready.persisted_messages().is_empty(),
            "a lone voter has nobody to write to"
        );
        let entries = self.stored_form(ready.take_entries());
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
        self.unpersisted.push_back(Unpersisted { number: ready.number(), last_index, saves_vote });
        self.raw.advance_append_async(ready);
    }

    fn stored_form(&self, entries: Vec<raft::eraftpb::Entry>) -> Vec<Entry> {
        let mut next_offset = self.log.next_offset();
        entries
            .into_iter()
            .map(|entry| {
                let stored = to_stored(entry, next_offset);
                next_offset = offset_after(&stored, next_offset);
                stored
            })
            .collect()
    }

    fn save_vote(&mut self, number: u64, hard: &HardState) {
        self.vote = (hard.term, hard.vote);
        self.campaigned |= hard.vote == self.raw.raft.id;
        let state = votes::HardState { term: hard.term, vote: hard.vote, commit: hard.commit };
        let (id, votes) = (self.id, Rc::clone(&self.votes));
        let saved = votes.save(vec![(id, state)]);
        let (scheduler, vote_saved) = (Rc::clone(&self.scheduler), Rc::clone(&self.vote_saved));
        tokio::task::spawn_local(async move {
            let mut outcome = saved.await;
            // A full disk is a state that passes; until then this group has no leader.
            while let Err(VotesSaveError::NoSpace) = outcome {
                tokio::time::sleep(FULL_RETRY_AFTER).await;
                outcome = votes.save(vec![(id, state)]).await;
            }
            if let Err(error) = outcome {
                stop_process(&format!("a vote could not be made durable: {error}"));
            }
            vote_saved.set(vote_saved.get().max(number));
            scheduler.schedule(id);
        });
    }

    /// Tells Raft how far its writes have come.
    fn acknowledge_persisted(&mut self) {
        let stable = self.log.stable_index();
        let mut persisted = None;
        while let Some(front) = self.unpersisted.front() {
            let entries_stable = front.last_index.is_none_or(|index| index <= stable);
            if !entries_stable || (front.saves_vote && front.number > self.vote_saved.get()) {
                break;
            }
            persisted = Some(front.number);
            self.unpersisted.pop_front();
        }
        if let Some(number) = persisted {
            self.raw.on_persist_ready(number);
        }
    }

    /// The state machine on top has applied everything up to `index`.
    pub(crate) fn applied_to(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
        self.log.applied_to(index);
    }

    /// What to persist so that the next start knows how far the log was committed.
    pub(crate) fn hard_state(&self) -> votes::HardState {
        let hard = self.raw.raft.hard_state();
        votes::HardState { term: hard.term, vote: hard.vote, commit: hard.commit }
    }
}
