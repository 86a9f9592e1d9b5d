//! FindCoordinator (key 10), versions 0–6.
//!
//! Which broker coordinates a consumer group (key type 0), a transactional id (1) or a share
//! partition (2). Up to version 3 one key a request; from version 4 many (KIP-699).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Keys whose coordinators are wanted.
    pub struct FindCoordinatorRequest (FindCoordinator, versions 0..=6, flexible since 3) {
        key: KafkaStr, 0..=3;
        key_type: i8, 1..;
        coordinator_keys: Vec<KafkaStr>, 4..;
    }
}

message! {
    /// The coordinators: in the message itself up to version 3, listed from version 4.
    pub struct FindCoordinatorResponse (FindCoordinator, versions 0..=6, flexible since 3) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 0..=3;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()),
            1..=3, nullable 1..=3, absent ignored;
        node_id: i32, 0..=3;
        host: KafkaStr, 0..=3;
        port: i32, 0..=3;
        coordinators: Vec<Coordinator>, 4..;
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        key: KafkaStr, 4..;
        node_id: i32, 4..;
        host: KafkaStr, 4..;
        port: i32, 4..;
        error_code: i16, 4..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()),
            4.., nullable 4.., absent ignored;
    }
}
