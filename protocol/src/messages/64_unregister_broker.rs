//! UnregisterBroker (key 64), version 0.
//!
//! Removes a broker that is gone for good (KIP-500).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The broker to remove.
    pub struct UnregisterBrokerRequest (UnregisterBroker, versions 0..=0, flexible since 0) {
        broker_id: i32, 0..;
    }
}

message! {
    /// The outcome.
    pub struct UnregisterBrokerResponse (UnregisterBroker, versions 0..=0, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}
