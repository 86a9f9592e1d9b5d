//! The `message!` macro: a message is a table of its fields in the order of the wire, each with the
//! versions it exists in. From the table come the struct and the one `read` and one `write` that
//! serve all versions. The columns are those of Kafka's own message definitions (KIP-482):
//!
//! ```text
//! pub struct Name (Api, versions 0..=9, flexible since 6) {
//!     field: type = default, versions, nullable versions, tag number, absent ignored;
//! }
//! ```
//!
//! All but `field: type, versions` may be left out:
//!
//! - `= default`: where a field starts, if not at its type's `Default`. Kafka starts a nullable field
//!   at empty, not at null, unless the definition says null, so each `Option` says which it is.
//! - `nullable`: the versions in which null is a value; without it, an `Option` is never null.
//! - `tag`: the field is among the tagged ones, and left out while it has its default.
//! - `absent ignored`: at a version without the field its value is dropped, as the peer does not miss
//!   it. Otherwise a value other than the default cannot be written at such a version.

use crate::primitives::{
    DecodeError, EncodeError, Layout, Measure, Reader, Sink, Wire, put_tagged_field_len,
};

/// One row of a table as it stands at one version.
pub(crate) struct Column {
    /// `Struct.field`, for errors.
    pub(crate) name: &'static str,
    pub(crate) tag: Option<u32>,
    pub(crate) exists: bool,
    pub(crate) nullable: bool,
    pub(crate) ignorable: bool,
}

impl Column {
    fn is_inline(&self) -> bool {
        self.exists && self.tag.is_none()
    }

    /// A lower bound on the bytes of the field in the untagged part of the struct.
    pub(crate) fn len_min<T: Wire>(&self, layout: Layout) -> usize {
        if self.is_inline() { T::len_min(layout) } else { 0 }
    }

    /// Reads the field if it is an untagged one of this version.
    pub(crate) fn decode<T: Wire>(
        &self,
        field: &mut T,
        reader: &mut Reader,
        layout: Layout,
    ) -> Result<(), DecodeError> {
        if self.is_inline() {
            *field = self.decode_value(reader, layout)?;
        }
        Ok(())
    }

    /// Reads the field if it is the one that `tag` stands for. Returns whether it was.
    pub(crate) fn decode_tagged<T: Wire>(
        &self,
        field: &mut T,
        (tag, len): (u32, usize),
        reader: &mut Reader,
        layout: Layout,
    ) -> Result<bool, DecodeError> {
        let is_it = self.exists && self.tag == Some(tag);
        if is_it {
            *field = reader.within(len, |value| self.decode_value(value, layout))?;
        }
        Ok(is_it)
    }

    fn decode_value<T: Wire>(&self, reader: &mut Reader, layout: Layout) -> Result<T, DecodeError> {
        let value = T::read(reader, layout)?;
        if value.is_null() && !self.nullable {
            return Err(DecodeError::UnexpectedNull);
        }
        Ok(value)
    }

    /// Writes the field if it is an untagged one of this version, and refuses a value that the
    /// version cannot express.
    pub(crate) fn encode<T: Wire + PartialEq, S: Sink>(
        &self,
        field: &T,
        default: impl FnOnce() -> T,
        sink: &mut S,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        let version = layout.version;
        if !self.exists {
            if self.ignorable || *field == default() {
                return Ok(());
            }
            return Err(EncodeError::NotInVersion { field: self.name, version });
        }
        if field.is_null() && !self.nullable {
            return Err(EncodeError::Null { field: self.name, version });
        }
        if self.tag.is_none() { field.write(sink, layout) } else { Ok(()) }
    }

    /// The tag to write the field under, unless the field is untagged or has its default.
    pub(crate) fn tag_to_write<T: PartialEq>(
        &self,
        field: &T,
        default: impl FnOnce() -> T,
    ) -> Option<u32> {
        self.tag.filter(|_| self.exists && *field != default())
    }

    /// Makes up a value that the version can express.
    #[cfg(feature = "arbitrary")]
    pub(crate) fn arbitrary<T: Wire + crate::arbitrary::Arbitrary>(
        &self,
        source: &mut crate::arbitrary::Source,
        default: impl FnOnce() -> T,
        layout: Layout,
    ) -> T {
        if !self.exists || source.leaves_default() {
            return default();
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
pub(crate) fn encode_tagged<T: Wire, S: Sink>(
    tag: u32,
    field: &T,
    sink: &mut S,
    layout: Layout,
) -> Result<(), EncodeError> {
    let mut measure = Measure::default();
    field.write(&mut measure, layout)?;
    sink.put_unsigned_varint(tag);
    put_tagged_field_len(sink, measure.total())?;
    field.write(sink, layout)
}

/// Declares a message and the structs inside it. See the module for the columns.
macro_rules! message {
    (
        $(#[$doc:meta])*
        pub struct $Name:ident
        ($api:ident, versions $versions:expr $(, flexible since $since:literal)?)
        { $($fields:tt)* }
        $($nested:tt)*
    ) => {
        impl $crate::message::Message for $Name {
            const API_KEY: $crate::ApiKey = $crate::ApiKey::$api;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_SINCE: Option<i16> = $crate::table::optional!($($since)?);
        }

        $crate::table::structs! {
            $(#[$doc])*
            pub struct $Name { $($fields)* }
            $($nested)*
        }
    };
}

/// Declares structs with their fields.
macro_rules! structs {
    ($(
        $(#[$doc:meta])*
        pub struct $Name:ident {$(
            $(#[$field_doc:meta])*
            $field:ident: $ty:ty $(= $default:expr)?, $versions:expr
                $(, nullable $nullable:expr)? $(, tag $tag:literal)? $(, absent $absent:ident)?;
        )*}
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $(
                $(#[$field_doc])*
                #[doc = concat!("\n\nIn versions `", stringify!($versions), "`.")]
                pub $field: $ty,
            )*
            /// Tagged fields that are not declared here, kept for whoever knows them.
            pub unknown_tagged_fields: $crate::primitives::TaggedFields,
        }

        impl Default for $Name {
            fn default() -> Self {
                $Name {
                    $($field: $crate::table::default!($($default)?),)*
                    unknown_tagged_fields: Default::default(),
                }
            }
        }

        impl $crate::primitives::Wire for $Name {
            fn len_min(layout: $crate::primitives::Layout) -> usize {
                let tagged_count_len = usize::from(layout.flexible);
                tagged_count_len
                    $(+ $crate::table::column!(
                        $Name.$field at layout, $versions
                        $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                    ).len_min::<$ty>(layout))*
            }

            fn read(
                reader: &mut $crate::primitives::Reader,
                layout: $crate::primitives::Layout,
            ) -> Result<Self, $crate::primitives::DecodeError> {
                let mut value = Self::default();
                $($crate::table::column!(
                    $Name.$field at layout, $versions
                    $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                ).decode(&mut value.$field, reader, layout)?;)*
                if layout.flexible {
                    value.unknown_tagged_fields =
                        $crate::primitives::TaggedFields::decode(reader, |field, reader| {
                            Ok(false $(|| $crate::table::column!(
                                $Name.$field at layout, $versions
                                $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                            ).decode_tagged(&mut value.$field, field, reader, layout)?)*)
                        })?;
                }
                Ok(value)
            }

            fn write<S: $crate::primitives::Sink>(
                &self,
                sink: &mut S,
                layout: $crate::primitives::Layout,
            ) -> Result<(), $crate::primitives::EncodeError> {
                $($crate::table::column!(
                    $Name.$field at layout, $versions
                    $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                ).encode(&self.$field, || $crate::table::default!($($default)?), sink, layout)?;)*
                if !layout.flexible {
                    return self.unknown_tagged_fields.encode_none(layout);
                }
                $(let $field = $crate::table::column!(
                    $Name.$field at layout, $versions
                    $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                ).tag_to_write(&self.$field, || $crate::table::default!($($default)?));)*
                let declared_count = 0 $(+ u32::from($field.is_some()))*;
                self.unknown_tagged_fields.encode_count(sink, declared_count)?;
                $(if let Some(tag) = $field {
                    $crate::table::encode_tagged(tag, &self.$field, sink, layout)?;
                })*
                self.unknown_tagged_fields.encode(sink)
            }
        }

        #[cfg(feature = "arbitrary")]
        impl $crate::arbitrary::Arbitrary for $Name {
            fn arbitrary(
                source: &mut $crate::arbitrary::Source,
                layout: $crate::primitives::Layout,
            ) -> Self {
                $Name {
                    $($field: $crate::table::column!(
                        $Name.$field at layout, $versions
                        $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                    ).arbitrary(source, || $crate::table::default!($($default)?), layout),)*
                    unknown_tagged_fields: $crate::arbitrary::Arbitrary::arbitrary(source, layout),
                }
            }
        }
    )*};
}

/// Gives a struct a null: a byte before it, negative for null (KIP-893).
macro_rules! nullable {
    ($Name:ident) => {
        impl $crate::primitives::Wire for Option<$Name> {
            fn len_min(_: $crate::primitives::Layout) -> usize {
                size_of::<i8>()
            }

            fn read(
                reader: &mut $crate::primitives::Reader,
                layout: $crate::primitives::Layout,
            ) -> Result<Self, $crate::primitives::DecodeError> {
                let marker = <i8 as $crate::primitives::Wire>::read(reader, layout)?;
                if marker < 0 {
                    return Ok(None);
                }
                <$Name as $crate::primitives::Wire>::read(reader, layout).map(Some)
            }

            fn write<S: $crate::primitives::Sink>(
                &self,
                sink: &mut S,
                layout: $crate::primitives::Layout,
            ) -> Result<(), $crate::primitives::EncodeError> {
                let marker: i8 = if self.is_some() { 1 } else { -1 };
                $crate::primitives::Wire::write(&marker, sink, layout)?;
                self.iter()
                    .try_for_each(|value| $crate::primitives::Wire::write(value, sink, layout))
            }

            fn is_null(&self) -> bool {
                self.is_none()
            }
        }
    };
}

/// The [`Column`] of a field at a layout.
macro_rules! column {
    (
        $Name:ident.$field:ident at $layout:ident, $versions:expr
        $(, nullable $nullable:expr)? $(, tag $tag:literal)? $(, absent $absent:ident)?
    ) => {
        $crate::table::Column {
            name: concat!(stringify!($Name), ".", stringify!($field)),
            tag: $crate::table::optional!($($tag)?),
            exists: ($versions).contains(&$layout.version),
            nullable: false $(|| ($nullable).contains(&$layout.version))?,
            ignorable: $crate::table::is_ignored!($($absent)?),
        }
    };
}

macro_rules! is_ignored {
    () => {
        false
    };
    (ignored) => {
        true
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! default {
    () => {
        Default::default()
    };
    ($value:expr) => {
        $value
    };
}

pub(crate) use {column, default, is_ignored, message, nullable, optional, structs};
