//! One shard's counters.
//!
//! Every shard counts into memory of its own and a scrape adds the shards up, so that counting
//! never moves a cache line between cores. An API's number is its place in an array: no map, no
//! lock and no allocation on the way of a request.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::histogram::Histogram;

/// Keys above the highest one that exists (92) are counted together in the last place.
const APIS: usize = 96;
/// Codes from -1 to 134; those above are counted together in the last place.
const CODES: usize = 137;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicI64);

impl Level {
    pub(super) fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why connections were closed; what is not listed counts as `other`.
pub(super) const CLOSE_REASONS: [&str; 11] = [
    "client",
    "idle",
    "stalled",
    "frame_size",
    "malformed",
    "unsupported",
    "acks0_failed",
    "io",
    "authentication",
    "shutdown",
    "other",
];

/// Two cache lines: processors fetch them in pairs.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Stripe {
    pub(super) index: usize,
    apis: [Api; APIS],
    pub(super) network_received_bytes: Count,
    pub(super) network_sent_bytes: Count,
    pub(super) produced_bytes: Count,
    pub(super) produced_records: Count,
    pub(super) fetched_bytes: Count,
    pub(super) fetched_records: Count,
    pub(super) connections_accepted: Count,
    pub(super) connections_refused: Count,
    pub(super) connections_closed: [Count; CLOSE_REASONS.len()],
    pub(super) flushes: Histogram,
    pub(super) damaged_ranges: Count,
    pub(super) healed_ranges: Count,
    pub(super) recovery_cut_bytes: Count,
    pub(super) recovery_ledgers_rebuilt: Count,
    pub(super) partitions: Level,
    pub(super) leaders: Level,
    pub(super) elections: Count,
    pub(super) log: LogLevels,
}

#[derive(Debug, Default)]
struct Api {
    answered: Histogram,
    /// Made at the API's first error, which most APIs never have.
    errors: OnceLock<Box<[Count; CODES]>>,
}

/// What the shard's logs say of themselves, copied here now and then.
#[derive(Debug, Default)]
pub(super) struct LogLevels {
    pub(super) windows: Count,
    pub(super) flushes: Count,
    pub(super) reads_cached: Count,
    pub(super) reads_cold: Count,
    pub(super) waiting_for_space: Level,
    pub(super) tail_cache_bytes: Level,
    pub(super) maps: Level,
    pub(super) ring_in_flight: Level,
}

impl Stripe {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            apis: array::from_fn(|_| Api::default()),
            network_received_bytes: Count::default(),
            network_sent_bytes: Count::default(),
            produced_bytes: Count::default(),
            produced_records: Count::default(),
            fetched_bytes: Count::default(),
            fetched_records: Count::default(),
            connections_accepted: Count::default(),
            connections_refused: Count::default(),
            connections_closed: array::from_fn(|_| Count::default()),
            flushes: Histogram::default(),
            damaged_ranges: Count::default(),
            healed_ranges: Count::default(),
            recovery_cut_bytes: Count::default(),
            recovery_ledgers_rebuilt: Count::default(),
            partitions: Level::default(),
            leaders: Level::default(),
            elections: Count::default(),
            log: LogLevels::default(),
        }
    }

    /// How long requests of this API took.
    pub(super) fn answered(&self, api_key: i16) -> &Histogram {
        &self.api(api_key).answered
    }

    /// How often this API answered with `code`, counted from now on.
    pub(super) fn error(&self, api_key: i16, code: i16) -> &Count {
        let counts =
            self.api(api_key).errors.get_or_init(|| Box::new(array::from_fn(|_| Count::default())));
        let index = usize::try_from(i32::from(code) + 1).unwrap_or(CODES - 1).min(CODES - 1);
        &counts[index]
    }

    /// The codes this API has answered with, and how often.
    pub(super) fn errors(&self, api_key: i16) -> impl Iterator<Item = (i16, u64)> {
        let counts = self.api(api_key).errors.get();
        let counts = counts.into_iter().flat_map(|counts| counts.iter());
        (-1..).zip(counts).map(|(code, count)| (code, count.get())).filter(|(_, n)| *n > 0)
    }

    /// The counter of a reason to close a connection.
    pub(super) fn closed(&self, reason: &str) -> &Count {
        let known = CLOSE_REASONS.iter().position(|known| *known == reason);
        &self.connections_closed[known.unwrap_or(CLOSE_REASONS.len() - 1)]
    }

    fn api(&self, api_key: i16) -> &Api {
        let index = usize::try_from(api_key).unwrap_or(APIS - 1).min(APIS - 1);
        &self.apis[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_and_any_code_has_a_place() {
        let stripe = Stripe::new(0);
        for api_key in [i16::MIN, -1, 0, 92, 96, i16::MAX] {
            for code in [i16::MIN, -1, 0, 133, i16::MAX] {
                stripe.error(api_key, code).add(1);
            }
        }
        assert_eq!(stripe.errors(0).collect::<Vec<_>>(), [(-1, 1), (0, 1), (133, 1), (135, 2)]);
    }

    #[test]
    fn a_reason_nobody_listed_counts_as_other() {
        let stripe = Stripe::new(0);
        stripe.closed("idle").add(1);
        stripe.closed("meteorite").add(2);
        let counts: Vec<_> = stripe.connections_closed.iter().map(Count::get).collect();
        assert_eq!(counts, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    }
}
