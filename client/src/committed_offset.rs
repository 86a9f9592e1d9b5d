//! How far a group has read in a partition, as the group's coordinator keeps it.

use std::sync::Arc;

use thalweg_protocol::KafkaStr;

/// The offset at which a group goes on in a partition, with what was noted beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read: one more than that of the last one processed.
    pub offset: i64,
    /// The leader epoch of the last record processed, if known (KIP-320).
    pub leader_epoch: Option<i32>,
    /// A note of the application's own, given back as it is. Brokers take up to 4096 bytes.
    pub metadata: Arc<str>,
}

impl CommittedOffset {
    /// `offset`, without anything beside it.
    pub fn new(offset: i64) -> Self {
        CommittedOffset { offset, leader_epoch: None, metadata: Arc::from("") }
    }

    /// With the application's own note.
    pub fn with_metadata(mut self, metadata: impl Into<Arc<str>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// What an answer says; none if nothing has been committed.
    pub(crate) fn from_wire(
        offset: i64,
        leader_epoch: i32,
        metadata: Option<&KafkaStr>,
    ) -> Option<Self> {
        (offset >= 0).then(|| CommittedOffset {
            offset,
            leader_epoch: (leader_epoch >= 0).then_some(leader_epoch),
            metadata: metadata.map_or("", KafkaStr::as_str).into(),
        })
    }
}

impl From<i64> for CommittedOffset {
    fn from(offset: i64) -> Self {
        CommittedOffset::new(offset)
    }
}
