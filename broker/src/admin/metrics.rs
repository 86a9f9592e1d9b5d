//! What the broker counts, and the page that Prometheus reads.
//!
//! [`Metrics`] is a handle: each shard holds its own ([`Metrics::shard`]) and counts with it into
//! memory of its own, at the cost of an uncontended atomic addition. Reading adds the shards up.
//! What every metric means stands in `docs/operations/metrics.md`; a test compares that page with
//! this one.

mod exposition;
mod histogram;
mod page;
mod process;
mod stripe;
#[cfg(test)]
mod tests;
mod text;
mod topics;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stripe::{Level, Stripe};
use topics::TopicTable;

pub use text::plain_text;
pub use topics::TopicMetrics;

/// What to count, fixed at start.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// How many shards count.
    pub shards: usize,
    /// How many topics have series of their own.
    pub topics_max: usize,
    /// When the process started, in seconds since 1970.
    pub started_at: f64,
}

/// A handle to count with, and to read all counts. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    stripe: Arc<Stripe>,
    shared: Arc<Shared>,
}

/// The state of a shard's logs and ring, copied into the metrics now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogFigures {
    /// Writes so far, each of all that had gathered for one log.
    pub windows: u64,
    /// Flushes of log files so far.
    pub flushes: u64,
    /// Reads so far that the tail cache answered.
    pub reads_cached: u64,
    /// Reads so far that went to a file.
    pub reads_cold: u64,
    /// Logs that wait for disk space now.
    pub waiting_for_space: u64,
    /// Bytes in the tail cache now.
    pub tail_cache_bytes: u64,
    /// Files mapped now.
    pub maps: u64,
    /// Disk operations under way now.
    pub ring_in_flight: u64,
}

type BeforeScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

struct Shared {
    stripes: Box<[Arc<Stripe>]>,
    topics: TopicTable,
    started_at: f64,
    request_memory_bytes: Level,
    request_memory_limit_bytes: Level,
    disk_free_bytes: Level,
    disk_total_bytes: Level,
    disk_reserve_bytes: Level,
    disk_full: Level,
    before_scrape: Mutex<Vec<BeforeScrape>>,
}

impl Metrics {
    /// Counters at zero, and the handle of shard 0.
    pub fn new(options: &MetricsOptions) -> Self {
        let shards = options.shards.max(1);
        let stripes: Box<[Arc<Stripe>]> = (0..shards).map(|n| Arc::new(Stripe::new(n))).collect();
        let stripe = Arc::clone(&stripes[0]);
        let shared = Shared {
            stripes,
            topics: TopicTable::new(shards, options.topics_max),
            started_at: options.started_at,
            request_memory_bytes: Level::default(),
            request_memory_limit_bytes: Level::default(),
            disk_free_bytes: Level::default(),
            disk_total_bytes: Level::default(),
            disk_reserve_bytes: Level::default(),
            disk_full: Level::default(),
            before_scrape: Mutex::default(),
        };
        Self { stripe, shared: Arc::new(shared) }
    }

    /// The handle of shard `index`, which must be below the number of shards.
    pub fn shard(&self, index: usize) -> Self {
        let stripe = Arc::clone(&self.shared.stripes[index]);
        Self { stripe, shared: Arc::clone(&self.shared) }
    }

    /// This shard's handle on a topic's counters. It takes a lock: look it up once, not for each
    /// request.
    pub fn topic(&self, name: &str) -> TopicMetrics {
        self.shared.topics.handle(name, self.stripe.index)
    }

    /// A topic was deleted: its series ends.
    pub fn forget_topic(&self, name: &str) {
        self.shared.topics.forget(name);
    }

    /// Runs `refresh` before each scrape, on the admin thread, to set what is cheaper to ask than
    /// to follow.
    pub fn before_scrape(&self, refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
        let mut hooks = self.shared.before_scrape.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.push(Box::new(refresh));
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let hooks = self.shared.before_scrape.lock().unwrap_or_else(PoisonError::into_inner);
        for refresh in hooks.iter() {
            refresh(self);
        }
        drop(hooks);
        page::encode(&self.shared)
    }

    /// A request was answered, `elapsed` after it was read.
    pub fn on_answered(&self, api_key: i16, elapsed: Duration) {
        self.stripe.answered(api_key).observe(elapsed);
    }

    /// An answer holds an error code; called once for each code in it.
    pub fn on_error_code(&self, api_key: i16, code: i16) {
        self.stripe.error(api_key, code).add(1);
    }

    /// Bytes came from a client.
    pub fn on_received(&self, bytes: usize) {
        self.stripe.network_received_bytes.add(bytes as u64);
    }

    /// Bytes went to a client.
    pub fn on_sent(&self, bytes: usize) {
        self.stripe.network_sent_bytes.add(bytes as u64);
    }

    /// A batch was appended to a partition.
    pub fn on_appended(&self, bytes: usize, records: i32) {
        self.stripe.produced_bytes.add(bytes as u64);
        self.stripe.produced_records.add(u64::from(records.unsigned_abs()));
    }

    /// Batches were handed to a consumer.
    pub fn on_fetched(&self, bytes: usize, records: u64) {
        self.stripe.fetched_bytes.add(bytes as u64);
        self.stripe.fetched_records.add(records);
    }

    /// A connection was accepted.
    pub fn on_connection_accepted(&self) {
        self.stripe.connections_accepted.add(1);
    }

    /// A connection was turned away because too many are open.
    pub fn on_connection_refused(&self) {
        self.stripe.connections_refused.add(1);
    }

    /// An accepted connection was closed. A reason that is not in the list counts as `other`.
    pub fn on_connection_closed(&self, reason: &str) {
        self.stripe.closed(reason).add(1);
    }

    /// A log file was flushed.
    pub fn on_flush(&self, elapsed: Duration) {
        self.stripe.flushes.observe(elapsed);
    }

    /// A damaged range was found, at start or by a read.
    pub fn on_damage_found(&self) {
        self.stripe.damaged_ranges.add(1);
    }

    /// A damaged range was put back from another replica.
    pub fn on_damage_healed(&self) {
        self.stripe.healed_ranges.add(1);
    }

    /// A partition was recovered: so much of a torn tail was cut, and so many ledgers were rebuilt.
    pub fn on_recovered(&self, cut_bytes: u64, ledgers_rebuilt: u64) {
        self.stripe.recovery_cut_bytes.add(cut_bytes);
        self.stripe.recovery_ledgers_rebuilt.add(ledgers_rebuilt);
    }

    /// A partition of this shard began an election.
    pub fn on_election(&self) {
        self.stripe.elections.add(1);
    }

    /// How many partitions this shard has, and how many of them it leads.
    pub fn set_partitions(&self, partitions: usize, leaders: usize) {
        self.stripe.partitions.set(partitions as u64);
        self.stripe.leaders.set(leaders as u64);
    }

    /// The state of this shard's logs and ring.
    pub fn set_log(&self, figures: LogFigures) {
        let log = &self.stripe.log;
        log.windows.set(figures.windows);
        log.flushes.set(figures.flushes);
        log.reads_cached.set(figures.reads_cached);
        log.reads_cold.set(figures.reads_cold);
        log.waiting_for_space.set(figures.waiting_for_space);
        log.tail_cache_bytes.set(figures.tail_cache_bytes);
        log.maps.set(figures.maps);
        log.ring_in_flight.set(figures.ring_in_flight);
    }

    /// How much of the memory for requests is taken.
    pub fn set_request_memory(&self, used_bytes: usize, limit_bytes: usize) {
        self.shared.request_memory_bytes.set(used_bytes as u64);
        self.shared.request_memory_limit_bytes.set(limit_bytes as u64);
    }

    /// Space on the data directory's filesystem, and whether writes are refused for want of it.
    pub fn set_disk(&self, free_bytes: u64, total_bytes: u64, reserve_bytes: u64, full: bool) {
        self.shared.disk_free_bytes.set(free_bytes);
        self.shared.disk_total_bytes.set(total_bytes);
        self.shared.disk_reserve_bytes.set(reserve_bytes);
        self.shared.disk_full.set(full.into());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("shard", &self.stripe.index).finish_non_exhaustive()
    }
}
