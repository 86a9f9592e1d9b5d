//! InitProducerId (key 22), versions 0–5.
//!
//! Gives an idempotent producer its id. With a transactional id it also fences earlier producers of
//! that id and ends what they left open. Version 6 (two-phase commit, KIP-939) is not stable in
//! Kafka yet.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// A producer that wants an id.
    pub struct InitProducerIdRequest (InitProducerId, versions 0..=5, flexible since 2) {
        /// Null for a producer that is only idempotent.
        transactional_id: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        /// Milliseconds after which the coordinator aborts an idle transaction.
        transaction_timeout_ms: i32, 0..;
        /// The producer's id so far, or −1: with its epoch, asks for the next epoch (KIP-360).
        producer_id: i64 = -1, 3..;
        producer_epoch: i16 = -1, 3..;
    }
}

message! {
    /// The producer's identity.
    pub struct InitProducerIdResponse (InitProducerId, versions 0..=5, flexible since 2) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0.., absent ignored;
        error_code: i16, 0..;
        /// −1 after an error.
        producer_id: i64 = -1, 0..;
        producer_epoch: i16, 0..;
    }
}
