//! What all messages have in common. The messages themselves are tables under [`crate::messages`].

use std::ops::RangeInclusive;

use crate::ApiKey;
use crate::primitives::{Chunks, DecodeError, EncodeError, Layout, Measure, Reader, Wire};

/// A whole request or response.
pub trait Message: Wire + Default {
    /// The API it belongs to.
    const API_KEY: ApiKey;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version, if there is one.
    const FLEXIBLE_SINCE: Option<i16>;

    /// Reads the message at `version`. What the frame holds beyond the message is left unread.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let layout = layout::<Self>(version).ok_or(DecodeError::UnsupportedVersion(version))?;
        <Self as Wire>::read(reader, layout)
    }

    /// Writes the message at `version`. After an error, what was written is of no use.
    fn encode(&self, chunks: &mut Chunks, version: i16) -> Result<(), EncodeError> {
        let layout = layout::<Self>(version).ok_or(EncodeError::UnsupportedVersion(version))?;
        self.write(chunks, layout)
    }

    /// The exact number of bytes that `encode` writes.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut measure = Measure::default();
        self.measure(&mut measure, version)?;
        Ok(measure.total())
    }

    /// Adds what `encode` writes to `measure`.
    fn measure(&self, measure: &mut Measure, version: i16) -> Result<(), EncodeError> {
        let layout = layout::<Self>(version).ok_or(EncodeError::UnsupportedVersion(version))?;
        self.write(measure, layout)
    }
}

/// A message that a client sends.
pub trait Request: Message {
    /// The message that answers it, at the same version.
    type Response: Message;
    /// The name that Kafka gives the API.
    const NAME: &'static str;
}

/// How `version` of a message is laid out, if there is such a version.
pub(crate) fn layout<M: Message>(version: i16) -> Option<Layout> {
    let flexible = M::FLEXIBLE_SINCE.is_some_and(|since| version >= since);
    M::VERSIONS.contains(&version).then_some(Layout { version, flexible })
}
