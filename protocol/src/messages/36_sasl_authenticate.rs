//! SaslAuthenticate (key 36), versions 0–2.
//!
//! Carries the tokens of the chosen mechanism, one round each.

use bytes::Bytes;

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// A token from the client.
    pub struct SaslAuthenticateRequest (SaslAuthenticate, versions 0..=2, flexible since 2) {
        /// What the mechanism says it is.
        auth_bytes: Bytes, 0..;
    }
}

message! {
    /// A token from the broker, or why there is none.
    pub struct SaslAuthenticateResponse (SaslAuthenticate, versions 0..=2, flexible since 2) {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        /// What the mechanism says it is.
        auth_bytes: Bytes, 0..;
        /// Milliseconds until the client must authenticate again, 0 for never (KIP-368).
        session_lifetime_ms: i64, 1.., absent ignored;
    }
}
