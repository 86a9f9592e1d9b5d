//! The Kafka wire protocol: primitive types, messages at every version we serve, frames, record
//! batches and their compression. No I/O, no clock, no runtime: bytes in, values out, and back.
//!
//! Everything here may be fed by a hostile peer. Nothing panics on any input, nothing allocates
//! more than the input warrants ([`primitives::Reader`] keeps count), and byte strings are never
//! copied where a slice of the frame will do.
//!
//! A server reads [`RequestHeader::decode`], then the body with [`Message::decode`], and answers
//! with [`encode_response`]. A client sends [`encode_request`] and reads [`ResponseHeader::decode`]
//! first.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

mod api_key;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
pub mod batch;
mod column;
pub mod compression;
pub mod consumer_protocol;
mod error_code;
mod frame;
pub mod group_record;
mod header;
mod message;
pub mod messages;
mod newtypes;
pub mod primitives;
mod served;
mod table;

pub use api_key::{ApiKey, UnknownApiKey};
pub use error_code::ErrorCode;
pub use frame::{Frame, encode_request, encode_response};
pub use header::{HeaderError, RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use newtypes::{LeaderEpoch, NodeId, Offset, ProducerId, TopicId};
pub use primitives::{Chunks, DecodeError, EncodeError, KafkaStr, Reader, Records};
pub use served::{SERVED, ServedApi, advertised_versions, served_versions};
