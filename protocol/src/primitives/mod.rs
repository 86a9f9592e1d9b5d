//! The Kafka protocol's primitive types: what every message is made of.
//!
//! [`Reader`] takes a received frame apart without copying it and without ever allocating more than
//! the frame warrants. [`Chunks`] puts a frame together as a list of buffers, so that record bytes
//! go out as the very slices they came in. [`Wire`] is the bridge: a type that knows its own bytes
//! at every [`Layout`].
//!
//! The source of all formats is the Kafka protocol guide and KIP-482 (compact forms, tagged
//! fields).

mod chunks;
mod error;
mod reader;
mod records;
mod sink;
mod string;
mod tagged;
mod wire;

pub use chunks::Chunks;
pub use error::{DecodeError, EncodeError};
pub use reader::Reader;
pub use records::Records;
pub use sink::{Measure, Sink};
pub use string::KafkaStr;
pub use tagged::{TaggedField, TaggedFields};
pub(crate) use tagged::{TaggedSection, put_tagged_field_len};
pub use wire::{Layout, Wire};
