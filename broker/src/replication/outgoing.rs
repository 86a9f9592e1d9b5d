//! Messages on their way from a group to the brokers that hold its other replicas.
//!
//! A group hands over Raft's message together with the entries it announces, as the log has them;
//! whoever carries them (connections between brokers, or a test) takes all of one turn at once.

use std::cell::RefCell;

use bytes::Bytes;
use raft::eraftpb::Message;
use thalweg_storage::entry::Entry;
use thalweg_storage::votes::GroupId;

use super::RaftId;
use crate::controller::leaders::Announced;

/// One message of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupMessage {
    pub(crate) group: GroupId,
    /// Without payload: `entries` has it.
    pub(super) message: Message,
    /// What a MsgAppend brings, in the form in which it is stored.
    pub(crate) entries: Vec<Entry>,
}

impl GroupMessage {
    /// Index, term and state of the snapshot that the message brings, if it does.
    pub(crate) fn snapshot(&self) -> Option<(u64, u64, Bytes)> {
        let snapshot = self.message.has_snapshot().then(|| self.message.get_snapshot())?;
        let metadata = snapshot.get_metadata();
        Some((metadata.index, metadata.term, snapshot.data.clone()))
    }

    /// Whether `from` says this to `to`.
    pub(crate) fn is_between(&self, from: i32, to: i32) -> bool {
        (self.message.from, self.message.to) == (RaftId::of(from).0, RaftId::of(to).0)
    }
}

/// The messages of one shard's groups since they were last taken.
#[derive(Default)]
pub(crate) struct Outgoing {
    messages: RefCell<Vec<(i32, GroupMessage)>>,
    leaders: RefCell<Vec<(GroupId, Announced)>>,
    asked: RefCell<Vec<(i32, Ask)>>,
    given: RefCell<Vec<(i32, GroupMessage)>>,
}

/// Entries that a damaged replica wants from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) group: GroupId,
    /// The first index.
    pub(crate) low: u64,
    /// The index after the last.
    pub(crate) high: u64,
}

impl Outgoing {
    /// Adds a message to `node`.
    pub(crate) fn push(&self, node: i32, message: GroupMessage) {
        self.messages.borrow_mut().push((node, message));
    }

    /// Adds word for every broker that this one leads a group now.
    pub(crate) fn announce(&self, group: GroupId, announced: Announced) {
        self.leaders.borrow_mut().push((group, announced));
    }

    /// Takes the announcements.
    pub(crate) fn take_leaders(&self) -> Vec<(GroupId, Announced)> {
        self.leaders.take()
    }

    /// Adds a request for entries to `node`.
    pub(crate) fn ask(&self, node: i32, group: GroupId, low: u64, high: u64) {
        self.asked.borrow_mut().push((node, Ask { group, low, high }));
    }

    /// Takes the requests for entries.
    pub(crate) fn take_asked(&self) -> Vec<(i32, Ask)> {
        self.asked.take()
    }

    /// Adds entries that `node` has asked for.
    pub(super) fn give(&self, node: i32, message: GroupMessage) {
        self.given.borrow_mut().push((node, message));
    }

    /// Takes the entries that others have asked for.
    pub(crate) fn take_given(&self) -> Vec<(i32, GroupMessage)> {
        self.given.take()
    }

    /// Takes all messages, in the order of adding.
    pub(crate) fn take(&self) -> Vec<(i32, GroupMessage)> {
        self.messages.take()
    }
}
