//! What may be a topic's name (KAFKA: `org.apache.kafka.common.internals.Topic`).

use thiserror::Error;

use crate::group::OFFSETS_TOPIC;

const LENGTH_MAX: usize = 249;

/// The transaction coordinators' topic, which there is no use for yet.
pub(super) const TRANSACTION_STATE: &str = "__transaction_state";

/// Why a name is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidTopicName {
    #[error("a topic's name cannot be empty")]
    Empty,
    #[error("a topic cannot be called '.' or '..'")]
    Dots,
    #[error("a topic's name has at most {LENGTH_MAX} characters, not {0}")]
    TooLong(usize),
    #[error("a topic's name has only letters, digits, '.', '_' and '-'")]
    Characters,
}

/// Checks a name that a client chose.
pub(super) fn check(name: &str) -> Result<(), InvalidTopicName> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err(InvalidTopicName::Empty),
        "." | ".." => Err(InvalidTopicName::Dots),
        _ if name.len() > LENGTH_MAX => Err(InvalidTopicName::TooLong(name.len())),
        _ if !name.bytes().all(legal) => Err(InvalidTopicName::Characters),
        _ => Ok(()),
    }
}

/// Whether the topic is one of the system's own.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTION_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_become_paths_or_confuse_are_refused() {
        for good in ["a", "orders.v1_x-Y", "...", &"x".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(250)] {
            assert!(check(bad).is_err(), "{bad:?} passed");
        }
    }
}
