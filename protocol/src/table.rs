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
//! - `= default`: where a field starts, if not at its type's `Default`. Kafka starts a nullable
//!   field at empty, not at null, unless the definition says null, so each `Option` says which it
//!   is.
//! - `nullable`: the versions in which null is a value; without it, an `Option` is never null.
//! - `tag`: the field is among the tagged ones, and left out while it has its default.
//! - `absent ignored`: at a version without the field its value is dropped, as the peer does not
//!   miss it. Otherwise a value other than the default cannot be written at such a version.

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
                    $($field: $crate::table::default!($ty $(, $default)?),)*
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
                $(let $field = $crate::table::column!(
                    $Name.$field at layout, $versions
                    $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                );)*
                let mut value = Self::default();
                $(if $field.is_inline() {
                    value.$field = $field.read(reader, layout)?;
                })*
                if layout.flexible {
                    let mut section = $crate::primitives::TaggedSection::begin(reader)?;
                    while let Some(tag) = section.next_tag(reader)? {
                        match tag {
                            $($($tag if $field.exists => {
                                value.$field = section.read_value(reader, |reader| {
                                    $field.read(reader, layout)
                                })?;
                            })?)*
                            _ => section.keep_unknown(reader)?,
                        }
                    }
                    value.unknown_tagged_fields = section.into_unknown();
                }
                Ok(value)
            }

            fn write<S: $crate::primitives::Sink>(
                &self,
                sink: &mut S,
                layout: $crate::primitives::Layout,
            ) -> Result<(), $crate::primitives::EncodeError> {
                $(
                    let $field = $crate::table::column!(
                        $Name.$field at layout, $versions
                        $(, nullable $nullable)? $(, tag $tag)? $(, absent $absent)?
                    );
                    if $field.exists {
                        $field.write(&self.$field, sink, layout)?;
                    } else {
                        let is_default = self.$field == $crate::table::default!($ty $(, $default)?);
                        $field.leave_out(is_default, layout)?;
                    }
                )*
                if !layout.flexible {
                    return self.unknown_tagged_fields.write_none(layout);
                }
                // From here on the names tell which tagged fields are to be written.
                $(let $field = $field.exists && $field.is_tagged
                    && self.$field != $crate::table::default!($ty $(, $default)?);)*
                let declared_count = 0 $(+ u32::from($field))*;
                self.unknown_tagged_fields.write_count(sink, declared_count)?;
                $($(if $field {
                    $crate::column::write_tagged($tag, &self.$field, sink, layout)?;
                })?)*
                self.unknown_tagged_fields.write(sink)
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
                    ).arbitrary(source, $crate::table::default!($ty $(, $default)?), layout),)*
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

/// The [`Column`](crate::column::Column) of a field at a layout.
macro_rules! column {
    (
        $Name:ident.$field:ident at $layout:ident, $versions:expr
        $(, nullable $nullable:expr)? $(, tag $tag:literal)? $(, absent $absent:ident)?
    ) => {
        $crate::column::Column {
            name: concat!(stringify!($Name), ".", stringify!($field)),
            is_tagged: $crate::table::is_given!($($tag)?),
            exists: ($versions).contains(&$layout.version),
            nullable: false $(|| ($nullable).contains(&$layout.version))?,
            ignorable: $crate::table::is_ignored!($($absent)?),
        }
    };
}

macro_rules! is_given {
    () => {
        false
    };
    ($value:literal) => {
        true
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
    ($ty:ty) => {
        <$ty as Default>::default()
    };
    ($ty:ty, $value:expr) => {
        $value
    };
}

pub(crate) use {column, default, is_given, is_ignored, message, nullable, optional, structs};
