//! How long to wait before the next attempt: exponential, with jitter, so that a thousand clients
//! that lost the same broker do not return in the same millisecond.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The waits between attempts: doubling from `min` to `max`, each up to a fifth shorter or longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The wait after the first failure.
    pub(crate) min: Duration,
    /// What the wait never exceeds, before jitter.
    pub(crate) max: Duration,
}

/// More doublings than any sensible pair of bounds needs.
const DOUBLINGS_MAX: u32 = 20;

impl Backoff {
    pub(crate) fn delay(&self, failures: u32, jitter: &Jitter) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1u32 << doublings.min(DOUBLINGS_MAX);
        let delay = self.min.saturating_mul(factor).min(self.max.max(self.min));
        delay.mul_f64(0.8 + 0.4 * jitter.next_fraction())
    }
}

/// A source of numbers that need not be unpredictable, only different from client to client.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    #[expect(clippy::disallowed_methods, reason = "only to be different from other clients")]
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Jitter(AtomicU64::new(since_epoch.as_nanos() as u64 ^ u64::from(std::process::id()) << 40))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): a counter through a mixing function.
    pub(crate) fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn next_fraction(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_differ() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_millis(1000) };
        let jitter = Jitter::new();
        assert_eq!(backoff.delay(0, &jitter), Duration::ZERO);
        for (failures, expected) in [(1, 100), (2, 200), (4, 800), (5, 1000), (u32::MAX, 1000)] {
            let delay = backoff.delay(failures, &jitter).as_millis();
            assert!((expected * 8 / 10..=expected * 12 / 10).contains(&delay), "{delay}");
        }
        let waits: Vec<Duration> = (0..10).map(|_| backoff.delay(3, &jitter)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
