//! SaslHandshake (key 17), versions 0–1, never flexible.
//!
//! Chooses the mechanism. After version 0 raw length-prefixed tokens follow; after version 1
//! SaslAuthenticate requests (KIP-152).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The mechanism the client wants.
    pub struct SaslHandshakeRequest (SaslHandshake, versions 0..=1) {
        mechanism: KafkaStr, 0..;
    }
}

message! {
    /// Whether it may have it.
    pub struct SaslHandshakeResponse (SaslHandshake, versions 0..=1) {
        error_code: i16, 0..;
        /// Those that the broker has enabled.
        mechanisms: Vec<KafkaStr>, 0..;
    }
}
