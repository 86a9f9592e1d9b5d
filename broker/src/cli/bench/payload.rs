//! The bytes of benchmark records: random, so that neither a codec nor a cache gets them for
//! nothing.

use std::rc::Rc;

/// Record bodies cut from a pool of random bytes, which is drawn once for each thread.
#[derive(Clone)]
pub(super) struct Payload {
    pool: Rc<[u8]>,
    size: usize,
    at: usize,
}

/// Larger than the windows of the fast codecs.
const POOL_BYTES: usize = 4 << 20;
/// Odd, so that cuts wander over the whole pool.
const STEP: usize = 8_191;

impl Payload {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let words = std::iter::repeat_with(|| {
            // Marsaglia's xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        });
        let bytes = (POOL_BYTES + size).next_multiple_of(8);
        let pool = words.take(bytes / 8).flat_map(u64::to_le_bytes).collect();
        Payload { pool, size, at: 0 }
    }

    /// Another one over the same pool, which cuts elsewhere.
    pub(super) fn beginning_at(&self, number: usize) -> Self {
        Payload { at: number.wrapping_mul(STEP * 5) % POOL_BYTES, ..self.clone() }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        self.at = (self.at + STEP) % POOL_BYTES;
        self.pool.get(self.at..self.at + self.size).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_size_and_differ() {
        let mut payload = Payload::new(100, 1);
        let first = payload.next().to_vec();
        assert_eq!(first.len(), 100);
        assert!((0..100_000).all(|_| payload.next().len() == 100));
        assert_ne!(payload.next(), first);
        assert_ne!(payload.beginning_at(1).next(), payload.beginning_at(2).next());
        assert_eq!(Payload::new(0, 1).next(), b"");
    }
}
