//! A key or value as bytes: a number of 16 bits, then the fields.

use bytes::Bytes;

use crate::primitives::{
    Chunks, DecodeError, EncodeError, Layout, Measure, Reader, Records, Sink, Wire,
};

/// Keys have one version each.
const KEY_LAYOUT: Layout = Layout { version: 0, flexible: false };

/// Writes `number`, then `fields` at `layout`, or as those of a key.
pub(super) fn encode_at<T: Wire>(
    fields: &T,
    number: i16,
    layout: Option<Layout>,
) -> Result<Bytes, EncodeError> {
    let layout = layout.unwrap_or(KEY_LAYOUT);
    let mut measure = Measure::default();
    measure.put(&number.to_be_bytes());
    fields.write(&mut measure, layout)?;
    let mut chunks = Chunks::for_measured(&measure);
    chunks.put(&number.to_be_bytes());
    fields.write(&mut chunks, layout)?;
    Ok(Records::from(chunks.into_buffers()).into_bytes())
}

/// Reads fields that take all of `bytes`.
pub(super) fn decode_all<T: Wire>(bytes: Bytes, layout: Option<Layout>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let fields = T::read(&mut reader, layout.unwrap_or(KEY_LAYOUT))?;
    match reader.remaining() {
        0 => Ok(fields),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}

/// Takes the number off the beginning of a key or value.
pub(super) fn split_number(bytes: &mut Bytes) -> Result<i16, DecodeError> {
    let mut reader = Reader::new(std::mem::take(bytes));
    let number = i16::from_be_bytes(reader.array()?);
    *bytes = reader.into_rest();
    Ok(number)
}
