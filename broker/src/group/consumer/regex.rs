//! Regular expressions over topic names. The broker's and Kafka's (RE2/J) read the same language
//! in linear time, so that no pattern can stall the shard.

use std::collections::BTreeSet;

use ::regex::{Regex, RegexBuilder};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{Refusal, refuse};
use crate::controller::image::Image;

/// The longest pattern. Topic names have 249 letters.
const PATTERN_BYTES_MAX: usize = 1024;

/// The most memory of one compiled pattern.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// The topics that a pattern stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ResolvedRegex {
    pub(super) topics: BTreeSet<KafkaStr>,
    /// The image that was looked at.
    pub(super) version: i64,
    /// When, in milliseconds since 1970.
    pub(super) timestamp_ms: i64,
}

/// A pattern that matches whole names.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let message = format!("A regular expression has at most {PATTERN_BYTES_MAX} bytes.");
        return refuse(ErrorCode::InvalidRegularExpression, message);
    }
    let whole = format!("^(?:{pattern})$");
    // By itself first: `a)|(b` is balanced only by the group around it.
    let compiled = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
    let compiled =
        compiled.and_then(|_| RegexBuilder::new(&whole).size_limit(COMPILED_BYTES_MAX).build());
    compiled.or_else(|error| {
        let message = format!("The regular expression '{pattern}' is not valid: {error}");
        refuse(ErrorCode::InvalidRegularExpression, message)
    })
}

/// The topics there are now that `regex` matches.
pub(super) fn resolve(regex: &Regex, image: &Image, wall_ms: i64) -> ResolvedRegex {
    let names = image.topics.keys().filter(|name| regex.is_match(name));
    ResolvedRegex {
        topics: names.map(|name| KafkaStr::copied_from(name)).collect(),
        version: i64::try_from(image.applied).unwrap_or(i64::MAX),
        timestamp_ms: wall_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let regex = compile("orders|pay.*").unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert!(regex.is_match("orders") && regex.is_match("payments"));
        assert!(!regex.is_match("orders2") && !regex.is_match("repay"));
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one_is_refused() {
        for pattern in ["(", "a)|(b", "(?=x)", r"(\w{100}){100}", &"a".repeat(1025)] {
            let refusal = compile(pattern).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidRegularExpression, "{pattern}");
        }
    }
}
