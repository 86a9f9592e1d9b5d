//! The tagged fields at the end of every struct of a flexible version (KIP-482). Those that a
//! message does not declare are kept as they are and written back, so nothing is lost in passing.

use std::fmt;

use bytes::Bytes;

use super::reader::widen;
use super::{DecodeError, EncodeError, Layout, Reader, Sink};

/// A tagged field that this version of the software does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedField {
    /// Its number, unique within the struct.
    pub tag: u32,
    /// Its encoded value.
    pub value: Bytes,
}

/// The unknown tagged fields of one struct, in ascending order of tag.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TaggedFields(Vec<TaggedField>);

impl TaggedFields {
    /// Whether there are none, as nearly always.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields in ascending order of tag.
    pub fn iter(&self) -> std::slice::Iter<'_, TaggedField> {
        self.0.iter()
    }

    /// Keeps `fields`, and one of those that have the same tag.
    pub fn new(mut fields: Vec<TaggedField>) -> Self {
        // Sorts in place, and in linear time when they are in order, as they are meant to be.
        fields.sort_unstable_by_key(|field| field.tag);
        fields.dedup_by_key(|field| field.tag);
        TaggedFields(fields)
    }

    /// Reads a struct's tagged fields. `declared` is shown the tag and length of each; it decodes
    /// the value if the struct declares that tag, or else answers false and reads nothing.
    pub(crate) fn decode(
        reader: &mut Reader,
        mut declared: impl FnMut((u32, usize), &mut Reader) -> Result<bool, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let count = widen(reader.unsigned_varint()?);
        reader.check_count(count, TAGGED_FIELD_LEN_MIN)?;
        let mut unknown = Vec::new();
        for done in 0..count {
            let tag = reader.unsigned_varint()?;
            let len = widen(reader.unsigned_varint()?);
            if !declared((tag, len), reader)? {
                if unknown.capacity() == 0 {
                    unknown = reader.allocate(count - done)?;
                }
                unknown.push(TaggedField { tag, value: reader.slice(len)? });
            }
        }
        Ok(TaggedFields::new(unknown))
    }

    /// Writes how many tagged fields follow: the `declared_count` that the struct itself has to
    /// write, then these. Declared tags are below unknown ones, so the order is ascending.
    pub(crate) fn encode_count<S: Sink>(
        &self,
        sink: &mut S,
        declared_count: u32,
    ) -> Result<(), EncodeError> {
        sink.put_unsigned_varint(narrow(self.0.len())?.saturating_add(declared_count));
        Ok(())
    }

    /// Writes the fields.
    pub(crate) fn encode<S: Sink>(&self, sink: &mut S) -> Result<(), EncodeError> {
        self.0.iter().try_for_each(|field| {
            sink.put_unsigned_varint(field.tag);
            put_tagged_field_len(sink, field.value.len())?;
            sink.put_shared(&field.value);
            Ok(())
        })
    }

    /// Refuses to lose the fields at a version that has no place for them.
    pub(crate) fn encode_none(&self, layout: Layout) -> Result<(), EncodeError> {
        if self.is_empty() { Ok(()) } else { Err(EncodeError::NoTaggedFields(layout.version)) }
    }
}

impl fmt::Debug for TaggedFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.iter().map(|field| (field.tag, &field.value))).finish()
    }
}

/// One byte of tag and one of length.
const TAGGED_FIELD_LEN_MIN: usize = 2;

pub(crate) fn put_tagged_field_len<S: Sink>(sink: &mut S, len: usize) -> Result<(), EncodeError> {
    sink.put_unsigned_varint(narrow(len)?);
    Ok(())
}

fn narrow(len: usize) -> Result<u32, EncodeError> {
    u32::try_from(len).map_err(|_| EncodeError::TooLong(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &'static [u8]) -> Result<TaggedFields, DecodeError> {
        TaggedFields::decode(&mut Reader::new(Bytes::from_static(bytes)), |_, _| Ok(false))
    }

    fn tags(fields: &TaggedFields) -> Vec<u32> {
        fields.iter().map(|field| field.tag).collect()
    }

    #[test]
    fn fields_come_in_ascending_order_whatever_the_peer_sent() {
        let fields = decode(&[3, 9, 1, b'n', 2, 0, 5, 2, b'f', b'f']).unwrap();
        assert_eq!(tags(&fields), [2, 5, 9]);
        assert_eq!(format!("{fields:?}"), r#"{2: b"", 5: b"ff", 9: b"n"}"#);
        assert_eq!(tags(&decode(&[3, 4, 0, 4, 0, 4, 0]).unwrap()), [4], "one of each tag");
    }

    #[test]
    fn a_count_beyond_the_frame_is_refused_at_once() {
        let error = decode(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0]).unwrap_err();
        assert_eq!(error, DecodeError::CountBeyondFrame { count: 0xffff_ffff, remaining: 2 });
    }

    #[test]
    fn fields_are_not_lost_silently() {
        let fields = TaggedFields::new(vec![TaggedField { tag: 1, value: Bytes::new() }]);
        let layout = Layout { version: 3, flexible: false };
        assert_eq!(fields.encode_none(layout), Err(EncodeError::NoTaggedFields(3)));
        assert_eq!(TaggedFields::default().encode_none(layout), Ok(()));
    }
}
