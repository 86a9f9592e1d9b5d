//! What a group's state machine is given for one call: the time, the settings, where its records
//! go, and whom it answers. So the machines read no clock, write no log and wake no task.

use thalweg_protocol::ErrorCode;
use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use super::consumer::ConsumerSettings;
use crate::controller::image::Image;

/// The groups' part of the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// Groups of the consumer protocol.
    pub consumer: ConsumerSettings,
}

/// Takes the records that make a change last.
pub(crate) trait Journal {
    /// Takes `records` as one: all of them, or none and the code that says why. What was taken
    /// will be committed, or nothing that was answered since is ever delivered.
    fn append(&mut self, records: &[Record]) -> Result<(), ErrorCode>;
}

/// A request that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Waiter(pub(crate) u64);

/// What a waiting request is answered with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// One call into a group's state machine.
pub(crate) struct Turn<'a> {
    /// Milliseconds of a monotonic clock: deadlines count by it.
    pub(crate) now_ms: u64,
    /// Milliseconds since 1970, for what is written.
    pub(crate) wall_ms: i64,
    pub(crate) settings: &'a GroupSettings,
    /// The topics there are.
    pub(crate) image: &'a Image,
    pub(crate) journal: &'a mut dyn Journal,
    /// The waiting requests that this call has answered.
    pub(crate) answers: Vec<(Waiter, Answer)>,
}

impl Turn<'_> {
    /// Answers a JoinGroup.
    pub(crate) fn answer_join(&mut self, waiter: Waiter, response: JoinGroupResponse) {
        self.answers.push((waiter, Answer::Join(response)));
    }

    /// Answers a SyncGroup.
    pub(crate) fn answer_sync(&mut self, waiter: Waiter, response: SyncGroupResponse) {
        self.answers.push((waiter, Answer::Sync(response)));
    }

    /// The moment `ms` from now; negative times are over.
    pub(crate) fn after_ms(&self, ms: i32) -> u64 {
        self.now_ms.saturating_add(u64::try_from(ms).unwrap_or(0))
    }
}
