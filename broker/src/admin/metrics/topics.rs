//! Counters by topic, for a bounded number of topics.
//!
//! A label value is a series in the metrics store for ever, and clients choose topic names. So only
//! the first so many topics have series of their own; the rest share one, called `__other`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stripe::{Count, Level};

/// The label of all topics beyond the bound. A topic that is really called so counts among them.
const OTHER: &str = "__other";

/// One shard's counters of one topic.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct TopicStripe {
    pub(super) produced_bytes: Count,
    pub(super) produced_records: Count,
    pub(super) fetched_bytes: Count,
    pub(super) fetched_records: Count,
    pub(super) log_bytes: Level,
}

/// What a topic's counters come to over all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicTotals {
    pub(super) produced_bytes: u64,
    pub(super) produced_records: u64,
    pub(super) fetched_bytes: u64,
    pub(super) fetched_records: u64,
    pub(super) log_bytes: i64,
}

/// One shard's handle on a topic's counters: looked up once, then counted on without a lookup.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    stripe: Arc<TopicStripe>,
}

impl TopicMetrics {
    /// A batch was appended.
    pub fn on_appended(&self, bytes: usize, records: i32) {
        self.stripe.produced_bytes.add(bytes as u64);
        self.stripe.produced_records.add(u64::from(records.unsigned_abs()));
    }

    /// Batches were handed to a consumer.
    pub fn on_fetched(&self, bytes: usize, records: u64) {
        self.stripe.fetched_bytes.add(bytes as u64);
        self.stripe.fetched_records.add(records);
    }

    /// One of the topic's logs has grown or shrunk. A log that goes away gives back all it had.
    pub fn add_log_bytes(&self, delta: i64) {
        self.stripe.log_bytes.add(delta);
    }
}

/// The counters of all topics.
#[derive(Debug)]
pub(super) struct TopicTable {
    shards: usize,
    topics_max: usize,
    topics: Mutex<BTreeMap<String, Box<[Arc<TopicStripe>]>>>,
}

impl TopicTable {
    pub(super) fn new(shards: usize, topics_max: usize) -> Self {
        Self { shards, topics_max, topics: Mutex::default() }
    }

    /// `shard`'s handle on the counters of `name`.
    pub(super) fn handle(&self, name: &str, shard: usize) -> TopicMetrics {
        let mut topics = self.lock();
        let own_series = topics.len() - usize::from(topics.contains_key(OTHER));
        let own = topics.contains_key(name) || own_series < self.topics_max;
        let name = if own { name } else { OTHER };
        let stripes = topics
            .entry(name.to_owned())
            .or_insert_with(|| (0..self.shards).map(|_| Arc::default()).collect());
        TopicMetrics { stripe: Arc::clone(&stripes[shard]) }
    }

    /// Ends the series of a topic that is gone. Handles that are still held count for nobody.
    pub(super) fn forget(&self, name: &str) {
        if name != OTHER {
            self.lock().remove(name);
        }
    }

    /// All topics with their totals.
    pub(super) fn totals(&self) -> Vec<(String, TopicTotals)> {
        self.lock()
            .iter()
            .map(|(name, stripes)| {
                let mut totals = TopicTotals::default();
                for stripe in stripes {
                    totals.produced_bytes += stripe.produced_bytes.get();
                    totals.produced_records += stripe.produced_records.get();
                    totals.fetched_bytes += stripe.fetched_bytes.get();
                    totals.fetched_records += stripe.fetched_records.get();
                    totals.log_bytes += stripe.log_bytes.get();
                }
                (name.clone(), totals)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Box<[Arc<TopicStripe>]>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_beyond_the_bound_share_one_series() {
        let table = TopicTable::new(2, 2);
        for topic in ["a", "b", "c", "d"] {
            for shard in 0..2 {
                table.handle(topic, shard).on_appended(10, 1);
            }
        }
        let totals: Vec<_> =
            table.totals().into_iter().map(|(name, t)| (name, t.produced_bytes)).collect();
        assert_eq!(totals, [("__other".into(), 40), ("a".into(), 20), ("b".into(), 20)]);

        table.forget("a");
        table.handle("e", 0).on_appended(5, 1);
        let names: Vec<_> = table.totals().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["__other", "b", "e"], "a place that is free again is given away");
    }

    #[test]
    fn a_bound_of_zero_leaves_only_the_shared_series() {
        let table = TopicTable::new(1, 0);
        table.handle("a", 0).add_log_bytes(7);
        table.handle("b", 0).add_log_bytes(-2);
        let totals = table.totals();
        assert_eq!(totals.len(), 1);
        assert_eq!(totals.first().map(|(_, t)| t.log_bytes), Some(5));
    }
}
