//! One record inside a batch body.
//!
//! | type     | field                                                        |
//! |----------|--------------------------------------------------------------|
//! | varint   | length of all that follows                                   |
//! | 1 byte   | attributes, unused                                           |
//! | varlong  | timestamp, counted from the batch's `base_timestamp`         |
//! | varint   | offset, counted from the batch's `base_offset`               |
//! | varint+n | key, length −1 for null                                      |
//! | varint+n | value, length −1 for null (a tombstone)                      |
//! | varint   | number of headers                                            |
//! | varint+n | key of a header, never null                                  |
//! | varint+n | value of a header, length −1 for null                        |

use bytes::Bytes;

use super::{
    RecordFault,
    varint::{take_varint, take_varlong},
};

/// A record whose bytes are borrowed from the batch body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Attribute bits, of which none is used yet.
    pub attributes: u8,
    /// Time in ms: the producer's, or that of the append for a batch stamped by the log.
    pub timestamp: i64,
    /// Offset in the partition.
    pub offset: i64,
    /// The key; null is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; null is not the same as empty.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; a key may occur twice.
    pub headers: Headers<'a>,
    /// The whole record as it stands in the body, length included.
    pub encoded: &'a [u8],
}

/// A record that shares the buffer of its batch body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Attribute bits, of which none is used yet.
    pub attributes: u8,
    /// Time in ms: the producer's, or that of the append for a batch stamped by the log.
    pub timestamp: i64,
    /// Offset in the partition.
    pub offset: i64,
    /// The key; null is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; null is not the same as empty.
    pub value: Option<Bytes>,
    encoded_headers: Bytes,
}

impl Record {
    /// The headers, in order; a key may occur twice.
    pub fn headers(&self) -> Headers<'_> {
        Headers { encoded: &self.encoded_headers }
    }

    /// A record out of one that was read from `body`; no byte is copied.
    pub(super) fn share(body: &Bytes, record: &RecordRef<'_>) -> Self {
        Self {
            attributes: record.attributes,
            timestamp: record.timestamp,
            offset: record.offset,
            key: record.key.map(|key| body.slice_ref(key)),
            value: record.value.map(|value| body.slice_ref(value)),
            encoded_headers: body.slice_ref(record.headers.encoded),
        }
    }
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name: UTF-8 by convention, which not every client enforces.
    pub key: &'a [u8],
    /// The value; null is not the same as empty.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, which are found well-formed when the record is read and decoded when
/// they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    /// The headers' bytes, without their count.
    encoded: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Whether the record has no headers.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The headers, in order.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { rest: self.encoded }
    }

    /// The last header of that name, which is the one that counts if there are several.
    pub fn get(&self, key: &[u8]) -> Option<Header<'a>> {
        self.iter().filter(|header| header.key == key).last()
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Iterator over the headers of a record.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        // Reading the record has walked these bytes once, so this always succeeds.
        take_header(&mut self.rest).ok()
    }
}

impl std::iter::FusedIterator for HeadersIter<'_> {}

/// The fields of a record before the batch gives them their meaning.
pub(super) struct RawRecord<'a> {
    pub(super) attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
    pub(super) encoded: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Takes a record off the front of a body and checks every length in it.
    pub(super) fn take(body: &mut &'a [u8]) -> Result<Self, RecordFault> {
        let start = *body;
        let len = take_varint(body)?;
        let mut rest = take_slice(body, len)?;
        let encoded = start.get(..start.len() - body.len()).unwrap_or_default();
        let rest = &mut rest;
        let (&attributes, after) = rest.split_first().ok_or(RecordFault::Truncated)?;
        *rest = after;
        Ok(Self {
            attributes,
            timestamp_delta: take_varlong(rest)?,
            offset_delta: take_varint(rest)?,
            key: take_nullable(rest)?,
            value: take_nullable(rest)?,
            headers: take_headers(rest)?,
            encoded,
        })
    }
}

/// Takes the headers, which reach to the end of their record.
fn take_headers<'a>(record: &mut &'a [u8]) -> Result<Headers<'a>, RecordFault> {
    let count = take_varint(record)?;
    let encoded = *record;
    // A header takes two bytes at least, so a hostile count ends here and not after many rounds.
    let plausible = usize::try_from(count).is_ok_and(|count| count <= encoded.len() / 2);
    if !plausible {
        return Err(RecordFault::BadHeaderCount(count));
    }
    for _ in 0..count {
        take_header(record)?;
    }
    if record.is_empty() {
        Ok(Headers { encoded })
    } else {
        Err(RecordFault::TrailingBytes(record.len()))
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, RecordFault> {
    let key_len = take_varint(bytes)?;
    let key = take_slice(bytes, key_len)?;
    Ok(Header { key, value: take_nullable(bytes)? })
}

fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    match take_varint(bytes)? {
        -1 => Ok(None),
        len => take_slice(bytes, len).map(Some),
    }
}

fn take_slice<'a>(bytes: &mut &'a [u8], len: i32) -> Result<&'a [u8], RecordFault> {
    let len = usize::try_from(len).map_err(|_| RecordFault::BadLength(len))?;
    let (head, rest) = bytes.split_at_checked(len).ok_or(RecordFault::Truncated)?;
    *bytes = rest;
    Ok(head)
}
