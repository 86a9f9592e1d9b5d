//! What precedes the body of every request and response. Which of its forms a header has follows
//! from API and version (KIP-482):
//!
//! ```text
//! request   v1  api key i16, api version i16, correlation id i32, client id nullable string
//!           v2  the same, then tagged fields; the client id keeps its 16-bit length
//! response  v0  correlation id i32
//!           v1  the same, then tagged fields
//! ```
//!
//! A flexible version has v2 and v1, but the response to ApiVersions always v0: a client reads it
//! before it knows what the broker speaks.

use thiserror::Error;

use crate::ApiKey;
use crate::primitives::{
    DecodeError, EncodeError, KafkaStr, Layout, Reader, Sink, TaggedFields, Wire,
};
use crate::served::is_flexible;

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// What is asked.
    pub api_key: ApiKey,
    /// The version of the body, and of the response.
    pub api_version: i16,
    /// Returned with the response.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<KafkaStr>,
    /// Tagged fields; none is defined yet.
    pub unknown_tagged_fields: TaggedFields,
}

/// Why a request header cannot be acted upon. The body that follows it is then unreadable too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The bytes are no header.
    #[error("malformed request header: {0}")]
    Malformed(#[from] DecodeError),
    /// An API that we do not speak.
    #[error("API key {api_key} is not served")]
    UnknownApi {
        /// The number of the API.
        api_key: i16,
        /// The version asked for.
        api_version: i16,
        /// What an answer would carry.
        correlation_id: i32,
    },
    /// A version that we do not speak. For ApiVersions it is answered, for all others the
    /// connection is closed.
    #[error("{api_key} version {api_version} is not served")]
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        api_version: i16,
        /// What an answer carries.
        correlation_id: i32,
    },
}

impl RequestHeader {
    /// Reads a header, and leaves `reader` at the body.
    pub fn decode(reader: &mut Reader) -> Result<Self, HeaderError> {
        let key = i16::from_be_bytes(reader.array()?);
        let api_version = i16::from_be_bytes(reader.array()?);
        let correlation_id = i32::from_be_bytes(reader.array()?);
        let unknown = HeaderError::UnknownApi { api_key: key, api_version, correlation_id };
        let api_key = ApiKey::try_from(key).map_err(|_| unknown)?;
        let Some(flexible) = is_flexible(api_key, api_version) else {
            return Err(match crate::served_versions(api_key) {
                Some(_) => HeaderError::UnsupportedVersion { api_key, api_version, correlation_id },
                None => unknown,
            });
        };
        let client_id = Wire::read(reader, NOT_COMPACT)?;
        let unknown_tagged_fields = decode_tagged_fields(reader, flexible)?;
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id, unknown_tagged_fields })
    }

    pub(crate) fn encode<S: Sink>(&self, sink: &mut S, layout: Layout) -> Result<(), EncodeError> {
        sink.put(&i16::from(self.api_key).to_be_bytes());
        sink.put(&self.api_version.to_be_bytes());
        sink.put(&self.correlation_id.to_be_bytes());
        self.client_id.write(sink, NOT_COMPACT)?;
        encode_tagged_fields(&self.unknown_tagged_fields, sink, layout)
    }
}

/// The header of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Which request this answers.
    pub correlation_id: i32,
    /// Tagged fields; none is defined yet.
    pub unknown_tagged_fields: TaggedFields,
}

impl ResponseHeader {
    /// Reads the header of the response to `api_key` at `version`, and leaves `reader` at the body.
    pub fn decode(reader: &mut Reader, api_key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let flexible =
            is_flexible(api_key, version).ok_or(DecodeError::UnsupportedVersion(version))?;
        let correlation_id = i32::from_be_bytes(reader.array()?);
        let unknown_tagged_fields =
            decode_tagged_fields(reader, has_tagged_fields(api_key, flexible))?;
        Ok(ResponseHeader { correlation_id, unknown_tagged_fields })
    }

    pub(crate) fn encode<S: Sink>(
        &self,
        sink: &mut S,
        api_key: ApiKey,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        sink.put(&self.correlation_id.to_be_bytes());
        let flexible = has_tagged_fields(api_key, layout.flexible);
        encode_tagged_fields(&self.unknown_tagged_fields, sink, Layout { flexible, ..layout })
    }
}

/// The client id never became compact, so that a broker can read it at any version.
const NOT_COMPACT: Layout = Layout { version: 0, flexible: false };

fn has_tagged_fields(api_key: ApiKey, flexible: bool) -> bool {
    flexible && api_key != ApiKey::ApiVersions
}

fn decode_tagged_fields(reader: &mut Reader, flexible: bool) -> Result<TaggedFields, DecodeError> {
    if !flexible {
        return Ok(TaggedFields::default());
    }
    TaggedFields::read(reader)
}

fn encode_tagged_fields<S: Sink>(
    fields: &TaggedFields,
    sink: &mut S,
    layout: Layout,
) -> Result<(), EncodeError> {
    if !layout.flexible {
        return fields.write_none(layout);
    }
    fields.write_count(sink, 0)?;
    fields.write(sink)
}
