//! DeleteTopics (key 20), versions 1–6.
//!
//! By name, and from version 6 by name or id. Each topic succeeds or fails by itself.

use uuid::Uuid;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Topics to delete.
    pub struct DeleteTopicsRequest (DeleteTopics, versions 1..=6, flexible since 4) {
        topics: Vec<DeleteTopicState>, 6..;
        topic_names: Vec<KafkaStr>, 0..=5, absent ignored;
        /// Milliseconds to wait until the topics are gone.
        timeout_ms: i32, 0..;
    }

    /// A topic by name, or with a null name by id.
    pub struct DeleteTopicState {
        name: Option<KafkaStr> = None, 6.., nullable 6..;
        topic_id: Uuid, 6..;
    }
}

message! {
    /// The outcome of each topic.
    pub struct DeleteTopicsResponse (DeleteTopics, versions 1..=6, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        responses: Vec<DeletableTopicResult>, 0..;
    }

    /// The outcome of one topic.
    pub struct DeletableTopicResult {
        /// Null for an id whose topic the client may not know the name of.
        name: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 6..;
        topic_id: Uuid, 6.., absent ignored;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 5.., nullable 5.., absent ignored;
    }
}
