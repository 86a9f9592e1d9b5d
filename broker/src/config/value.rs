//! The kinds of value a Kafka-named setting may have, for topics and brokers alike.
//!
//! Parsing follows Kafka's `ConfigDef`: surrounding blanks are dropped, booleans are read in any
//! case, lists are split at commas. A value has one canonical text, which is what is stored
//! and described.

use thiserror::Error;

use super::units::Unit;

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A switch for a feature that this broker does not have.
    BooleanFalse,
    /// A 32-bit integer between two bounds, both included.
    Int {
        /// The smallest value allowed.
        min: i32,
        /// The largest value allowed.
        max: i32,
    },
    /// A 64-bit integer not below a bound.
    Long {
        /// The smallest value allowed.
        min: i64,
    },
    /// A fraction between 0 and 1, both included.
    Ratio,
    /// A gzip level: 1 to 9, or -1 for zlib's own default.
    GzipLevel,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A list of a few words, each at most once.
    ListOf(&'static [&'static str]),
    /// A list of `partition:broker` pairs, or `*`.
    ThrottledReplicas,
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadValue {
    /// Neither `true` nor `false`.
    #[error("it must be true or false")]
    NotABoolean,
    /// A feature that does not exist here was switched on.
    #[error("this broker has no such feature, so it can only be false")]
    NoSuchFeature,
    /// Not an integer, or one that does not fit.
    #[error("it must be a whole number")]
    NotAnInteger,
    /// An integer below the smallest allowed.
    #[error("it must be at least {0}")]
    BelowMin(i64),
    /// An integer above the largest allowed.
    #[error("it must be at most {0}")]
    AboveMax(i64),
    /// Not a number between 0 and 1.
    #[error("it must be a number between 0 and 1")]
    NotARatio,
    /// Not a gzip level.
    #[error("it must be between 1 and 9, or -1 for the default")]
    NotAGzipLevel,
    /// None of the words allowed.
    #[error("it must be one of: {}", .0.join(", "))]
    NotOneOf(&'static [&'static str]),
    /// A list names something twice.
    #[error("it names '{0}' twice")]
    Twice(String),
    /// Not a list of `partition:broker` pairs.
    #[error("it must be * or a list of partition:broker pairs, such as 0:1,1:2")]
    NotThrottledReplicas,
    /// A size with a suffix nobody knows.
    #[error("it must be a number of bytes, or a size such as 64MiB or 10GB")]
    NotASize,
    /// A duration with a suffix nobody knows.
    #[error("it must be a number, or a duration such as 500ms, 10s, 5m, 2h or 7d")]
    NotADuration,
    /// A size or duration that is not a whole number of the setting's unit.
    #[error("it must be a whole number of {}", unit_name(*.0))]
    NotWhole(Unit),
    /// Not an address to listen on.
    #[error("it must be an IP address and a port, such as 127.0.0.1:9092 or [::]:9092")]
    NotAnAddress,
    /// Not a host and port.
    #[error("it must be a host name or address and a port, such as broker-1.example.com:9092")]
    NotAHostPort,
    /// Not a list of hosts and ports.
    #[error("it must be a list of host:port pairs, such as a.example.com:9192,b.example.com:9192")]
    NotAHostPortList,
    /// A log filter that does not parse.
    #[error("it must be a list of target=level, such as info or info,thalweg::raft=debug")]
    NotAFilter,
    /// An empty value where something is needed.
    #[error("it must not be empty")]
    Empty,
    /// A list or a table where one value is needed.
    #[error("it must be a single value")]
    NotAScalar,
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "units",
        Unit::Bytes => "bytes",
        Unit::Milliseconds => "milliseconds",
        Unit::Minutes => "minutes",
        Unit::Hours => "hours",
    }
}

impl Kind {
    /// Any non-negative 32-bit integer.
    pub const INT: Self = Self::int_from(0);
    /// Any non-negative 64-bit integer.
    pub const LONG: Self = Self::Long { min: 0 };

    /// A 32-bit integer not below `min`.
    pub const fn int_from(min: i32) -> Self {
        Self::Int { min, max: i32::MAX }
    }

    /// The type's number in DescribeConfigs answers (KIP-569).
    pub const fn config_type(self) -> i8 {
        match self {
            Self::Boolean | Self::BooleanFalse => 1,
            Self::OneOf(_) => 2,
            Self::Int { .. } | Self::GzipLevel => 3,
            Self::Long { .. } => 5,
            Self::Ratio => 6,
            Self::ListOf(_) | Self::ThrottledReplicas => 7,
        }
    }

    /// Whether APPEND and SUBTRACT make sense.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::ListOf(_) | Self::ThrottledReplicas)
    }

    /// The one way to write `text`, if it is a value of this kind.
    pub fn canonical(self, text: &str) -> Result<String, BadValue> {
        let text = text.trim();
        match self {
            Self::Boolean => Ok(boolean(text)?.to_string()),
            Self::BooleanFalse if boolean(text)? => Err(BadValue::NoSuchFeature),
            Self::BooleanFalse => Ok(false.to_string()),
            Self::Int { min, max } => integer(text, min.into(), max.into()),
            Self::Long { min } => integer(text, min, i64::MAX),
            Self::GzipLevel => integer(text, -1, 9)
                .ok()
                .filter(|level| level != "0")
                .ok_or(BadValue::NotAGzipLevel),
            Self::Ratio => text
                .parse::<f64>()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .map(|ratio| ratio.to_string())
                .ok_or(BadValue::NotARatio),
            Self::OneOf(words) if words.contains(&text) => Ok(text.to_owned()),
            Self::OneOf(words) => Err(BadValue::NotOneOf(words)),
            Self::ListOf(words) => list_of(text, words),
            Self::ThrottledReplicas => throttled_replicas(text),
        }
    }
}

/// Splits a list at its commas; an empty text is an empty list.
pub fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn boolean(text: &str) -> Result<bool, BadValue> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(BadValue::NotABoolean)
    }
}

fn integer(text: &str, min: i64, max: i64) -> Result<String, BadValue> {
    let number: i64 = text.parse().map_err(|_| BadValue::NotAnInteger)?;
    if number < min {
        return Err(BadValue::BelowMin(min));
    }
    if number > max {
        return Err(BadValue::AboveMax(max));
    }
    Ok(number.to_string())
}

fn list_of(text: &str, words: &'static [&'static str]) -> Result<String, BadValue> {
    let items: Vec<&str> = split_list(text).collect();
    for (index, item) in items.iter().enumerate() {
        if !words.contains(item) {
            return Err(BadValue::NotOneOf(words));
        }
        if items.iter().take(index).any(|earlier| earlier == item) {
            return Err(BadValue::Twice((*item).to_owned()));
        }
    }
    Ok(items.join(","))
}

fn throttled_replicas(text: &str) -> Result<String, BadValue> {
    let is_pair = |item: &str| {
        item.split_once(':').is_some_and(|(partition, broker)| is_id(partition) && is_id(broker))
    };
    let items: Vec<&str> = split_list(text).collect();
    if items == ["*"] || items.iter().all(|item| is_pair(item)) {
        Ok(items.join(","))
    } else {
        Err(BadValue::NotThrottledReplicas)
    }
}

fn is_id(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|id| id >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: Kind = Kind::ListOf(&["compact", "delete"]);

    #[test]
    fn values_have_one_canonical_text() {
        for (kind, text, canonical) in [
            (Kind::Boolean, " TRUE ", "true"),
            (Kind::INT, "+7", "7"),
            (Kind::Long { min: -1 }, "-1", "-1"),
            (Kind::Ratio, "0.50", "0.5"),
            (Kind::GzipLevel, "-1", "-1"),
            (POLICIES, "compact , delete,", "compact,delete"),
            (POLICIES, "", ""),
            (Kind::ThrottledReplicas, "0:1, 1:2", "0:1,1:2"),
            (Kind::ThrottledReplicas, "*", "*"),
        ] {
            assert_eq!(kind.canonical(text).as_deref(), Ok(canonical), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn other_values_are_refused_with_the_reason() {
        for (kind, text, why) in [
            (Kind::Boolean, "yes", BadValue::NotABoolean),
            (Kind::BooleanFalse, "true", BadValue::NoSuchFeature),
            (Kind::int_from(1), "0", BadValue::BelowMin(1)),
            (Kind::INT, "2147483648", BadValue::AboveMax(2_147_483_647)),
            (Kind::LONG, "7d", BadValue::NotAnInteger),
            (Kind::LONG, "9223372036854775808", BadValue::NotAnInteger),
            (Kind::Ratio, "1.01", BadValue::NotARatio),
            (Kind::Ratio, "NaN", BadValue::NotARatio),
            (Kind::GzipLevel, "0", BadValue::NotAGzipLevel),
            (POLICIES, "compact,shred", BadValue::NotOneOf(&["compact", "delete"])),
            (POLICIES, "delete,delete", BadValue::Twice("delete".into())),
            (Kind::ThrottledReplicas, "0:1,*", BadValue::NotThrottledReplicas),
            (Kind::ThrottledReplicas, "0:-1", BadValue::NotThrottledReplicas),
        ] {
            assert_eq!(kind.canonical(text), Err(why), "{kind:?} {text:?}");
        }
    }
}
