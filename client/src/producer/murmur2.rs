//! The hash that Java's producer chooses partitions with: MurmurHash2, 32 bits, seed 0x9747b28c.
//! Whoever writes the same keys from two languages relies on every bit of it.
//!
//! Source: `Utils.murmur2` and `BuiltInPartitioner.partitionForKey` of Apache Kafka.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

pub(super) fn murmur2(key: &[u8]) -> u32 {
    let (words, tail) = key.as_chunks::<4>();
    // Java's lengths are 32-bit; so is what goes into the hash.
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// The partition of `key` among `partition_count`, which is positive.
pub(super) fn partition_for(key: &[u8], partition_count: i32) -> i32 {
    // Java drops the sign bit rather than take the absolute value.
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partition_count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `UtilsTest.testMurmur2` in Apache Kafka.
    #[test]
    fn hashes_as_java_does() {
        let expected: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in expected {
            assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        }
    }

    #[test]
    fn a_hash_with_the_sign_bit_is_masked_not_negated() {
        assert_eq!(partition_for(b"21", 1000), (-973_932_308i32 & 0x7fff_ffff) % 1000);
        assert_eq!(partition_for(b"21", 1), 0);
    }
}
