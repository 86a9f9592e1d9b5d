//! Which partition of `__consumer_offsets` a group belongs to: Kafka's
//! `Utils.abs(groupId.hashCode()) % partitions`, so that tools which compute it themselves are
//! right here too.

/// The partition of `group_id` among `partitions`.
pub(crate) fn partition_of(group_id: &str, partitions: i32) -> i32 {
    // Utils.abs maps MIN_VALUE to 0, because Java's own abs would leave it negative.
    let hash = java_hash(group_id).checked_abs().unwrap_or(0);
    hash.checked_rem(partitions).unwrap_or(0)
}

/// Java's `String.hashCode`, which counts UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("hello", 99_162_322),
            ("The quick brown fox jumps over the lazy dog", -609_428_141),
            ("polygenelubricants", i32::MIN),
            ("ä", 228),
            ("𝄞", 55348 * 31 + 56606),
        ] {
            assert_eq!(java_hash(text), hash, "{text:?}");
        }
    }

    #[test]
    fn every_group_has_a_partition() {
        assert_eq!(partition_of("hello", 50), 22);
        assert_eq!(partition_of("The quick brown fox jumps over the lazy dog", 16), 13);
        assert_eq!(partition_of("polygenelubricants", 16), 0);
        assert_eq!(partition_of("anything", 0), 0);
    }
}
