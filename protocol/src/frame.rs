//! A whole message as it goes over a connection: a 32-bit size, the header, the body.

use bytes::Bytes;

use crate::header::{RequestHeader, ResponseHeader};
use crate::message::{Message, Request, layout};
use crate::primitives::{Chunks, EncodeError, KafkaStr, Layout, Measure, Sink, TaggedFields};

/// An encoded message, ready for a vectored write.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    buffers: Vec<Bytes>,
    len: usize,
}

impl Frame {
    /// Bytes in all, the size prefix included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to send. No encoded message is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffers in order. None is empty.
    pub fn buffers(&self) -> &[Bytes] {
        &self.buffers
    }

    /// The buffers in order. None is empty.
    pub fn into_buffers(self) -> Vec<Bytes> {
        self.buffers
    }

    /// All in one buffer, which copies unless it is so already.
    pub fn into_bytes(self) -> Bytes {
        crate::Records::from(self.buffers).into_bytes()
    }
}

/// Encodes a request, with the header that its version calls for.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<KafkaStr>,
    request: &R,
    version: i16,
) -> Result<Frame, EncodeError> {
    let layout = layout::<R>(version).ok_or(EncodeError::UnsupportedVersion(version))?;
    let header = RequestHeader {
        api_key: R::API_KEY,
        api_version: version,
        correlation_id,
        client_id,
        unknown_tagged_fields: TaggedFields::default(),
    };
    let mut measure = Measure::default();
    header.encode(&mut measure, layout)?;
    let mut chunks = begin(measure, request, layout)?;
    header.encode(&mut chunks, layout)?;
    finish(chunks, request, layout)
}

/// Encodes the response to a request of `version`, with the header that the version calls for.
/// Record slices of at least 256 bytes are not copied: they become buffers of the frame.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    response: &M,
    version: i16,
) -> Result<Frame, EncodeError> {
    let layout = layout::<M>(version).ok_or(EncodeError::UnsupportedVersion(version))?;
    let header = ResponseHeader { correlation_id, unknown_tagged_fields: TaggedFields::default() };
    let mut measure = Measure::default();
    header.encode(&mut measure, M::API_KEY, layout)?;
    let mut chunks = begin(measure, response, layout)?;
    header.encode(&mut chunks, M::API_KEY, layout)?;
    finish(chunks, response, layout)
}

/// Opens a frame of the measured header and of `body`, and writes its size.
fn begin<M: Message>(
    mut measure: Measure,
    body: &M,
    layout: Layout,
) -> Result<Chunks, EncodeError> {
    body.write(&mut measure, layout)?;
    let size = i32::try_from(measure.total()).map_err(|_| EncodeError::TooLong(measure.total()))?;
    let size = size.to_be_bytes();
    measure.put(&size);
    let mut chunks = Chunks::for_measured(&measure);
    chunks.put(&size);
    Ok(chunks)
}

fn finish<M: Message>(mut chunks: Chunks, body: &M, layout: Layout) -> Result<Frame, EncodeError> {
    body.write(&mut chunks, layout)?;
    Ok(Frame { len: chunks.len(), buffers: chunks.into_buffers() })
}
