//! A type that knows its own bytes at every version. Implemented here for the protocol's scalars,
//! strings, byte strings and arrays; the `message!` macro implements it for structs.

use bytes::Bytes;
use uuid::Uuid;

use super::{DecodeError, EncodeError, KafkaStr, Reader, Records, Sink};

/// What the bytes of a value depend on besides the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The message's version.
    pub version: i16,
    /// Whether that version is flexible: compact lengths, and tagged fields after each struct
    /// (KIP-482).
    pub flexible: bool,
}

/// A value with a place in a message.
pub trait Wire: Sized {
    /// A lower bound on the encoded size of any value. Counts of elements are checked with it.
    fn len_min(layout: Layout) -> usize;

    /// Reads a value.
    fn read(reader: &mut Reader, layout: Layout) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write<S: Sink>(&self, sink: &mut S, layout: Layout) -> Result<(), EncodeError>;

    /// Whether this is the null of a nullable type. Which versions allow it is up to the field.
    fn is_null(&self) -> bool {
        false
    }
}

macro_rules! big_endian {
    ($($number:ty),+) => {$(
        impl Wire for $number {
            fn len_min(_: Layout) -> usize {
                size_of::<$number>()
            }

            fn read(reader: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
                reader.array().map(<$number>::from_be_bytes)
            }

            fn write<S: Sink>(&self, sink: &mut S, _: Layout) -> Result<(), EncodeError> {
                sink.put(&self.to_be_bytes());
                Ok(())
            }
        }
    )+};
}

big_endian!(i8, i16, i32, i64, u16, f64);

impl Wire for bool {
    fn len_min(_: Layout) -> usize {
        1
    }

    fn read(reader: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
        let [byte] = reader.array()?;
        Ok(byte != 0)
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Layout) -> Result<(), EncodeError> {
        sink.put(&[u8::from(*self)]);
        Ok(())
    }
}

impl Wire for Uuid {
    fn len_min(_: Layout) -> usize {
        size_of::<Uuid>()
    }

    fn read(reader: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
        reader.array().map(Uuid::from_bytes)
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Layout) -> Result<(), EncodeError> {
        sink.put(self.as_bytes());
        Ok(())
    }
}

/// The bytes of a nullable type. The plain type is the same without the null.
trait Nullable: Sized {
    fn len_min(layout: Layout) -> usize;
    fn read(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError>;
    fn write<S: Sink>(
        value: Option<&Self>,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError>;
}

macro_rules! with_and_without_null {
    ($([$($parameter:ident)?] $ty:ty),+ $(,)?) => {$(
        impl<$($parameter: Wire)?> Wire for $ty {
            fn len_min(layout: Layout) -> usize {
                <$ty as Nullable>::len_min(layout)
            }

            fn read(reader: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
                <$ty as Nullable>::read(reader, layout)?.ok_or(DecodeError::UnexpectedNull)
            }

            fn write<S: Sink>(&self, sink: &mut S, layout: Layout) -> Result<(), EncodeError> {
                <$ty as Nullable>::write(Some(self), sink, layout)
            }
        }

        impl<$($parameter: Wire)?> Wire for Option<$ty> {
            fn len_min(layout: Layout) -> usize {
                <$ty as Nullable>::len_min(layout)
            }

            fn read(reader: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
                <$ty as Nullable>::read(reader, layout)
            }

            fn write<S: Sink>(&self, sink: &mut S, layout: Layout) -> Result<(), EncodeError> {
                <$ty as Nullable>::write(self.as_ref(), sink, layout)
            }

            fn is_null(&self) -> bool {
                self.is_none()
            }
        }
    )+};
}

with_and_without_null!([] KafkaStr, [] Bytes, [] Records, [T] Vec<T>);

impl Nullable for KafkaStr {
    fn len_min(layout: Layout) -> usize {
        if layout.flexible { 1 } else { size_of::<i16>() }
    }

    fn read(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(len) = reader.string_len(layout.flexible)? else { return Ok(None) };
        reader.slice(len).and_then(KafkaStr::from_utf8).map(Some)
    }

    fn write<S: Sink>(
        value: Option<&Self>,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        sink.put_string_len(value.map(|text| text.len()), layout.flexible)?;
        value.into_iter().for_each(|text| sink.put(text.as_bytes()));
        Ok(())
    }
}

/// The least that the length of a byte string or the count of an array takes.
fn long_len_min(layout: Layout) -> usize {
    if layout.flexible { 1 } else { size_of::<i32>() }
}

impl Nullable for Bytes {
    fn len_min(layout: Layout) -> usize {
        long_len_min(layout)
    }

    fn read(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(len) = reader.long_len(layout.flexible)? else { return Ok(None) };
        reader.slice(len).map(Some)
    }

    fn write<S: Sink>(
        value: Option<&Self>,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        sink.put_long_len(value.map(Bytes::len), layout.flexible)?;
        value.into_iter().for_each(|bytes| sink.put_shared(bytes));
        Ok(())
    }
}

impl Nullable for Records {
    fn len_min(layout: Layout) -> usize {
        long_len_min(layout)
    }

    fn read(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(slice) = <Bytes as Nullable>::read(reader, layout)? else { return Ok(None) };
        if slice.is_empty() {
            return Ok(Some(Records::empty()));
        }
        let mut slices = reader.allocate(1)?;
        slices.push(slice);
        Ok(Some(Records::from(slices)))
    }

    fn write<S: Sink>(
        value: Option<&Self>,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        sink.put_long_len(value.map(Records::len), layout.flexible)?;
        value.iter().flat_map(|records| records.slices()).for_each(|slice| sink.put_shared(slice));
        Ok(())
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn len_min(layout: Layout) -> usize {
        long_len_min(layout)
    }

    fn read(reader: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.long_len(layout.flexible)? else { return Ok(None) };
        reader.check_count(count, T::len_min(layout))?;
        let mut elements = reader.allocate(count)?;
        for _ in 0..count {
            elements.push(T::read(reader, layout)?);
        }
        Ok(Some(elements))
    }

    fn write<S: Sink>(
        value: Option<&Self>,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        sink.put_long_len(value.map(Vec::len), layout.flexible)?;
        value.into_iter().flatten().try_for_each(|element| element.write(sink, layout))
    }
}
