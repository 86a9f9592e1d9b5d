//! Applying what is committed: sequences are remembered, the high watermark moves, acknowledgements
//! and long polls are answered.
//!
//! The leader has the headers of its own proposals in memory. Everything else (the first entries
//! after a start, all of a follower's) comes from the log, from its cache at once or from disk in a
//! task of its own, after which applying goes on.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use thalweg_protocol::batch::BatchHeader;
use thalweg_storage::entry::Entry;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::append::InFlight;
use super::error::PartitionError;
use super::snapshot::Change;
use super::{Partition, Role, State, snapshot};
use crate::abort::AbortOnPanic;
use crate::replication::entry::Internal;
use crate::replication::membership::MemberChange;

/// A decision that all replicas must share, written through the partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartitionCommand {
    /// Records below `offset` are gone: by retention or DeleteRecords.
    AdvanceLogStart { offset: i64 },
    /// Changes nothing. A leader that has it committed still leads.
    Confirm,
}

/// The change of members that an entry is, if it is one.
fn change_of(entry: &Entry) -> Option<MemberChange> {
    let Some(Internal::ConfChange(payload)) = Internal::of(entry) else { return None };
    match MemberChange::decode(&payload) {
        Ok(change) => Some(change),
        Err(error) => panic!("entry {} changes no members: {error}", entry.index),
    }
}

/// How long to wait before an entry of the group's own that cannot be read is tried again.
const UNREADABLE_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// Bytes asked of the log at a time when applying from disk.
const LOAD_BYTES: usize = 4 << 20;

impl Partition {
    /// Everything up to `commit` is committed.
    pub(super) fn on_commit(self: &Rc<Self>, commit: u64) {
        {
            let mut state = self.state.borrow_mut();
            if commit <= state.commit {
                return;
            }
            state.commit = commit;
            if state.applying {
                return;
            }
        }
        self.apply_committed();
    }

    fn apply_committed(self: &Rc<Self>) {
        let before = self.state.borrow().high_watermark;
        let mut readable = 0_i64;
        loop {
            let mut state = self.state.borrow_mut();
            let index = state.applied + 1;
            if index > state.commit || state.closed {
                break;
            }
            let own = state.in_flight.pop_front_if(|in_flight| in_flight.index == index);
            if let Some(InFlight { header: Some(header), .. }) = &own {
                readable += self.apply_batch(&mut state, header);
            } else {
                let Some(entry) = self.log.entry(index) else {
                    state.applying = true;
                    if let Some(own) = own {
                        state.in_flight.push_front(own);
                    }
                    drop(state);
                    self.load_and_apply(index);
                    break;
                };
                if let Some(change) = change_of(&entry) {
                    state.applying = true;
                    drop(state);
                    self.change_members(index, change);
                    break;
                }
                drop(state);
                readable += self.apply_entry(&entry);
                state = self.state.borrow_mut();
            }
            state.applied = index;
            if let Some(own) = own {
                own.finish(&Ok(()));
            }
        }
        let applied = self.state.borrow().applied;
        self.group.borrow_mut().applied_to(applied);
        self.maybe_serve(applied);
        self.raise_log_start();
        if self.state.borrow().high_watermark > before {
            self.wake_readers(readable);
        }
        snapshot::maybe_save(self);
    }

    /// Reads committed entries back from disk, then goes on applying.
    fn load_and_apply(self: &Rc<Self>, from: u64) {
        let partition = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let since = Instant::now();
            let loaded = loop {
                let to = partition.state.borrow().commit + 1;
                match partition.log.entries(from, to, LOAD_BYTES).await {
                    Err(_) if partition.wait_for_healing(since).await => {}
                    loaded => break loaded,
                }
            };
            let _abort = AbortOnPanic("partition apply");
            let mut readable = 0;
            match loaded {
                Ok(entries) => {
                    for entry in &entries {
                        if let Some(change) = change_of(entry) {
                            partition.wake_readers(readable);
                            partition.change_members(entry.index, change);
                            return;
                        }
                        readable += partition.apply_entry(entry);
                        partition.on_applied(entry.index);
                    }
                }
                Err(error) if partition.is_internal(from) && !partition.is_closed() => {
                    // It may say who the members are: without it nothing may go on.
                    error!(topic = %partition.name, partition = partition.id.partition,
                        index = from, %error,
                        "an entry of the group's own cannot be read: the replica waits");
                    tokio::time::sleep(UNREADABLE_RETRY_AFTER).await;
                    partition.load_and_apply(from);
                    return;
                }
                Err(error) => {
                    // The damage is known and reported; what can be read behind it still counts.
                    warn!(topic = %partition.name, partition = partition.id.partition, index = from,
                        %error, "an unreadable entry is passed over");
                    partition.pass_over(from);
                    partition.on_applied(from);
                }
            }
            partition.wake_readers(readable);
            partition.state.borrow_mut().applying = false;
            partition.apply_committed();
        });
    }

    /// Makes durable who the members are after a change, then lets it take effect, then goes on
    /// applying.
    fn change_members(self: &Rc<Self>, index: u64, change: MemberChange) {
        let partition = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let next = partition.group.borrow().members_after(index, &change);
            if let Some(members) = &next
                && !partition.insist_on_saving(Change::Members(members)).await
            {
                return;
            }
            let _abort = AbortOnPanic("partition members");
            partition.group.borrow_mut().apply_members(index, &change);
            if let Some(members) = next {
                info!(topic = %partition.name, partition = partition.id.partition, ?members,
                    "members changed");
            }
            partition.on_applied(index);
            partition.state.borrow_mut().applying = false;
            partition.apply_committed();
        });
    }

    fn is_internal(&self, index: u64) -> bool {
        self.log.meta(index).is_none_or(|meta| meta.is_internal())
    }

    /// Entry `index` came from the log, and is applied.
    fn on_applied(&self, index: u64) {
        let mut state = self.state.borrow_mut();
        state.applied = index;
        let own = state.in_flight.pop_front_if(|own| own.index == index);
        drop(state);
        if let Some(own) = own {
            own.finish(&Ok(()));
        }
    }

    /// An entry cannot be read: its offsets are committed all the same.
    fn pass_over(&self, index: u64) {
        if let Some(meta) = self.log.meta(index) {
            self.state.borrow_mut().high_watermark = meta.next_offset();
        }
    }

    fn apply_entry(self: &Rc<Self>, entry: &Entry) -> i64 {
        match Internal::of(entry) {
            None => match BatchHeader::parse(&entry.header) {
                Ok(header) => self.apply_batch(&mut self.state.borrow_mut(), &header),
                Err(error) => unreachable!("the log verified entry {}: {error}", entry.index),
            },
            Some(Internal::Blank) => 0,
            Some(Internal::ConfChange(_)) => unreachable!("{}: see change_members", entry.index),
            Some(Internal::Command(command)) => {
                match serde_json::from_slice(&command) {
                    Ok(command) => self.apply_command(command),
                    Err(error) => panic!("entry {} is no command of ours: {error}", entry.index),
                }
                0
            }
        }
    }

    /// Returns the bytes that became readable.
    fn apply_batch(&self, state: &mut State, header: &BatchHeader) -> i64 {
        state.producers.on_commit(header, self.env.clock.now_ms());
        state.high_watermark = header.next_offset();
        let bytes = i64::try_from(header.size()).unwrap_or(i64::MAX);
        state.unsaved.on_applied(header.size());
        bytes
    }

    fn apply_command(self: &Rc<Self>, command: PartitionCommand) {
        let PartitionCommand::AdvanceLogStart { offset } = command else { return };
        let partition = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = partition.advance_log_start(offset).await {
                error!(topic = %partition.name, partition = partition.id.partition, %error, "deleting old segments failed");
            }
        });
    }

    /// What was deleted before this replica got its log is deleted here as soon as the log has come
    /// so far.
    fn raise_log_start(self: &Rc<Self>) {
        let floor = {
            let mut state = self.state.borrow_mut();
            if state.log_start_floor == 0 || state.high_watermark < state.log_start_floor {
                return;
            }
            std::mem::take(&mut state.log_start_floor)
        };
        if floor > self.log.log_start_offset() {
            self.apply_command(PartitionCommand::AdvanceLogStart { offset: floor });
        }
    }

    /// An entry of the leader's own term is applied: only now does it know all that is committed.
    fn maybe_serve(&self, applied: u64) {
        let role = self.state.borrow().role;
        if let Role::Elected { term } = role
            && self.log.term(applied) == Some(term)
        {
            self.on_serving(term);
        }
    }

    fn wake_readers(&self, bytes: i64) {
        self.state.borrow_mut().waiters.on_readable(bytes);
    }

    /// Writes a decision through the log and waits until it is committed and applied here.
    pub(super) async fn decide(&self, command: PartitionCommand) -> Result<(), PartitionError> {
        self.serving()?;
        let done = {
            let mut state = self.state.borrow_mut();
            let index = self.propose_command(command)?;
            let mut in_flight = InFlight::new(index, None, super::Acks::All);
            let done = in_flight.wait();
            state.in_flight.push_back(in_flight);
            done
        };
        done.await.unwrap_or(Err(PartitionError::OutcomeUnknown))
    }

    /// Gives a command to Raft and returns its index.
    pub(super) fn propose_command(&self, command: PartitionCommand) -> Result<u64, PartitionError> {
        let json = match serde_json::to_vec(&command) {
            Ok(json) => bytes::Bytes::from(json),
            Err(error) => unreachable!("a command is plain data: {error}"),
        };
        let proposed = self.group.borrow_mut().propose_command(json);
        proposed.map_err(|_dropped| PartitionError::NotLeader)
    }
}
