//! A member of a classic group, and what it is waiting for.

use bytes::Bytes;
use thalweg_protocol::KafkaStr;

use crate::group::turn::Waiter;

/// An assignment strategy that a member knows, and what the leader needs to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: KafkaStr,
    pub(crate) metadata: Bytes,
}

/// What a member says about itself whenever it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberInfo {
    pub(crate) instance_id: Option<KafkaStr>,
    pub(crate) client_id: KafkaStr,
    pub(crate) client_host: KafkaStr,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// The preferred first.
    pub(crate) protocols: Vec<Protocol>,
}

/// A member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) info: MemberInfo,
    pub(crate) assignment: Bytes,
    /// It has never been told of a generation, so it cannot send heartbeats.
    pub(super) is_new: bool,
    /// It was told of this generation and has not sent SyncGroup yet.
    pub(super) owes_sync: bool,
    pub(super) awaiting_join: Option<Waiter>,
    pub(super) awaiting_sync: Option<Waiter>,
}

impl MemberInfo {
    /// Its metadata for `protocol`, empty if it does not know it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|known| known.name == protocol);
        known.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// Bytes that the member makes its group hold.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.protocols.iter().map(|known| known.name.len() + known.metadata.len()).sum()
    }
}

impl Member {
    pub(super) fn new(info: MemberInfo) -> Member {
        Member {
            info,
            assignment: Bytes::new(),
            is_new: true,
            owes_sync: false,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// Whether its silence is to be expected: it waits for an answer of ours.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
