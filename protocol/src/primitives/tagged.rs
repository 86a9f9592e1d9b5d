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

    /// Reads the tagged fields of a struct that declares none.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut section = TaggedSection::begin(reader)?;
        while section.next_tag(reader)?.is_some() {
            section.keep_unknown(reader)?;
        }
        Ok(section.into_unknown())
    }

    /// Writes how many tagged fields follow: the `declared_count` that the struct itself has to
    /// write, then these. Declared tags are below unknown ones, so the order is ascending.
    pub(crate) fn write_count<S: Sink>(
        &self,
        sink: &mut S,
        declared_count: u32,
    ) -> Result<(), EncodeError> {
        sink.put_unsigned_varint(narrow(self.0.len())?.saturating_add(declared_count));
        Ok(())
    }

    /// Writes the fields.
    pub(crate) fn write<S: Sink>(&self, sink: &mut S) -> Result<(), EncodeError> {
        self.0.iter().try_for_each(|field| {
            sink.put_unsigned_varint(field.tag);
            put_tagged_field_len(sink, field.value.len())?;
            sink.put_shared(&field.value);
            Ok(())
        })
    }

    /// Refuses to lose the fields at a version that has no place for them.
    pub(crate) fn write_none(&self, layout: Layout) -> Result<(), EncodeError> {
        if self.is_empty() { Ok(()) } else { Err(EncodeError::NoTaggedFields(layout.version)) }
    }
}

impl fmt::Debug for TaggedFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.iter().map(|field| (field.tag, &field.value))).finish()
    }
}

/// The tagged fields of a struct while they are read, one after the other.
pub(crate) struct TaggedSection {
    /// Fields not yet read, the current one included.
    left: usize,
    current: (u32, usize),
    unknown: Vec<TaggedField>,
}

impl TaggedSection {
    /// Begins with the count of fields.
    pub(crate) fn begin(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = widen(reader.unsigned_varint()?);
        reader.check_count(count, TAGGED_FIELD_LEN_MIN)?;
        Ok(TaggedSection { left: count, current: (0, 0), unknown: Vec::new() })
    }

    /// The tag of the next field, whose value must then be read or kept.
    pub(crate) fn next_tag(&mut self, reader: &mut Reader) -> Result<Option<u32>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        let tag = reader.unsigned_varint()?;
        self.current = (tag, widen(reader.unsigned_varint()?));
        Ok(Some(tag))
    }

    /// Reads the value of a declared field.
    pub(crate) fn read_value<T>(
        &mut self,
        reader: &mut Reader,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.left -= 1;
        reader.within(self.current.1, read)
    }

    /// Keeps the value of an undeclared field.
    pub(crate) fn keep_unknown(&mut self, reader: &mut Reader) -> Result<(), DecodeError> {
        if self.unknown.capacity() == 0 {
            self.unknown = reader.allocate(self.left)?;
        }
        self.left -= 1;
        let (tag, len) = self.current;
        self.unknown.push(TaggedField { tag, value: reader.slice(len)? });
        Ok(())
    }

    pub(crate) fn into_unknown(self) -> TaggedFields {
        TaggedFields::new(self.unknown)
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
        TaggedFields::read(&mut Reader::new(Bytes::from_static(bytes)))
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
        assert_eq!(fields.write_none(layout), Err(EncodeError::NoTaggedFields(3)));
        assert_eq!(TaggedFields::default().write_none(layout), Ok(()));
    }
}
