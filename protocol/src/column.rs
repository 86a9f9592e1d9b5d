//! One row of a message's table: what a field is at one version, and what follows from it for
//! reading and writing. The macros of [`crate::table`] make a column of each field in each
//! function, where the optimizer takes it apart again.

use crate::primitives::{
    DecodeError, EncodeError, Layout, Measure, Reader, Sink, Wire, put_tagged_field_len,
};

/// One row of a table as it stands at one version.
pub(crate) struct Column {
    /// `Struct.field`, for errors.
    pub(crate) name: &'static str,
    pub(crate) is_tagged: bool,
    pub(crate) exists: bool,
    pub(crate) nullable: bool,
    pub(crate) ignorable: bool,
}

impl Column {
    /// Whether the field lies in the untagged part of the struct.
    pub(crate) fn is_inline(&self) -> bool {
        self.exists && !self.is_tagged
    }

    /// A lower bound on the bytes of the field in the untagged part of the struct.
    pub(crate) fn len_min<T: Wire>(&self, layout: Layout) -> usize {
        if self.is_inline() { T::len_min(layout) } else { 0 }
    }

    /// Reads a value that the field may have.
    pub(crate) fn read<T: Wire>(
        &self,
        reader: &mut Reader,
        layout: Layout,
    ) -> Result<T, DecodeError> {
        let value = T::read(reader, layout)?;
        if value.is_null() && !self.nullable {
            return Err(DecodeError::UnexpectedNull);
        }
        Ok(value)
    }

    /// Writes the field, unless that is left to [`write_tagged`].
    pub(crate) fn write<T: Wire, S: Sink>(
        &self,
        value: &T,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        if value.is_null() && !self.nullable {
            return Err(EncodeError::Null { field: self.name, version: layout.version });
        }
        if self.is_tagged { Ok(()) } else { value.write(sink, layout) }
    }

    /// Leaves out a value that the version has no place for, if it may be lost.
    pub(crate) fn leave_out(&self, is_default: bool, layout: Layout) -> Result<(), EncodeError> {
        if is_default || self.ignorable {
            return Ok(());
        }
        Err(EncodeError::NotInVersion { field: self.name, version: layout.version })
    }

    /// Makes up a value that the version can express.
    #[cfg(feature = "arbitrary")]
    pub(crate) fn arbitrary<T: Wire + crate::arbitrary::Arbitrary>(
        &self,
        source: &mut crate::arbitrary::Source,
        default: T,
        layout: Layout,
    ) -> T {
        if !self.exists || source.leaves_default() {
            return default;
        }
        loop {
            let value = T::arbitrary(source, layout);
            if self.nullable || !value.is_null() {
                return value;
            }
        }
    }
}

/// Writes a tagged field: tag, size, value.
pub(crate) fn write_tagged<T: Wire, S: Sink>(
    tag: u32,
    value: &T,
    sink: &mut S,
    layout: Layout,
) -> Result<(), EncodeError> {
    let mut measure = Measure::default();
    value.write(&mut measure, layout)?;
    sink.put_unsigned_varint(tag);
    put_tagged_field_len(sink, measure.total())?;
    value.write(sink, layout)
}
