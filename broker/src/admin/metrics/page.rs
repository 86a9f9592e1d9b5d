//! The metrics page: every metric with its name, its help and its sum over all shards.
//!
//! Made anew for each scrape, on the admin thread. A name or label that changes here breaks
//! somebody's dashboard; docs/operations/metrics.md describes them all, and a test compares the
//! two.

use std::collections::BTreeMap;

use prometheus_client::metrics::MetricType;
use thalweg_protocol::{ApiKey, ErrorCode};

use super::Shared;
use super::exposition::{Labels, Page, Value, sample};
use super::histogram::Snapshot;
use super::process::Process;
use super::stripe::{CLOSE_REASONS, Count, Level, Stripe};
use super::topics::TopicTotals;

/// The page, in the OpenMetrics text format.
pub(super) fn encode(shared: &Shared) -> String {
    let mut page = Page::default();
    page.requests(shared);
    page.traffic(shared);
    page.connections(shared);
    page.topics(shared);
    page.partitions(shared);
    page.logs(shared);
    page.damage(shared);
    page.memory_and_disk(shared);
    page.limits(shared);
    page.process(shared);
    page.into_text()
}

impl Page {
    fn requests(&mut self, shared: &Shared) {
        let mut answered = Vec::new();
        let mut durations = Vec::new();
        let mut errors = Vec::new();
        for api in ApiKey::ALL {
            let key = *api as i16;
            let labels = || vec![("api", api.name().to_owned())];
            let mut snapshot = Snapshot::default();
            // By name, because all codes younger than this software have the same one.
            let mut by_name = BTreeMap::new();
            for stripe in &shared.stripes {
                snapshot.add(stripe.answered(key));
                for (code, count) in stripe.errors(key) {
                    *by_name.entry(ErrorCode::from(code).name()).or_insert(0) += count;
                }
            }
            // An API that nobody has used is left out: sixty empty histograms would be most of the
            // page.
            if snapshot.count() > 0 {
                answered.push(sample(labels(), Value::Counter(snapshot.count())));
                durations.push(sample(labels(), Value::Histogram(Box::new(snapshot))));
            }
            for (name, count) in by_name {
                let mut labels = labels();
                labels.push(("error", name.to_owned()));
                errors.push(sample(labels, Value::Counter(count)));
            }
        }
        self.push("thalweg_requests", "Requests answered.", MetricType::Counter, answered);
        self.push(
            "thalweg_request_errors",
            "Error codes in answers, one for each topic, partition or resource that had one.",
            MetricType::Counter,
            errors,
        );
        self.push(
            "thalweg_request_duration_seconds",
            "Time from a request being read to its answer being ready. Fetch includes the time it \
             waited for records.",
            MetricType::Histogram,
            durations,
        );
    }

    fn traffic(&mut self, shared: &Shared) {
        let mut counter = |name, help, count: fn(&Stripe) -> &Count| {
            self.counter(name, help, sum(shared, count));
        };
        counter("thalweg_network_received_bytes", "Bytes received from clients.", |stripe| {
            &stripe.network_received_bytes
        });
        counter("thalweg_network_sent_bytes", "Bytes sent to clients.", |stripe| {
            &stripe.network_sent_bytes
        });
        counter("thalweg_produced_bytes", "Bytes of batches appended for producers.", |stripe| {
            &stripe.produced_bytes
        });
        counter("thalweg_produced_records", "Records appended for producers.", |stripe| {
            &stripe.produced_records
        });
        counter("thalweg_fetched_bytes", "Bytes of batches handed to consumers.", |stripe| {
            &stripe.fetched_bytes
        });
        counter("thalweg_fetched_records", "Records handed to consumers.", |stripe| {
            &stripe.fetched_records
        });
    }

    fn connections(&mut self, shared: &Shared) {
        let accepted = sum(shared, |stripe| &stripe.connections_accepted);
        let closed: Vec<u64> = (0..CLOSE_REASONS.len())
            .map(|reason| {
                let counts = shared.stripes.iter().filter_map(|s| s.connections_closed.get(reason));
                counts.map(Count::get).sum()
            })
            .collect();
        let open = accepted.saturating_sub(closed.iter().sum());
        self.gauge("thalweg_connections", "Connections open now.", open);
        self.counter("thalweg_connections_accepted", "Connections accepted.", accepted);
        self.counter(
            "thalweg_connections_refused",
            "Connections closed on arrival because limits.connections_max were open.",
            sum(shared, |stripe| &stripe.connections_refused),
        );
        let samples = CLOSE_REASONS.iter().zip(closed).map(|(reason, count)| {
            sample(vec![("reason", (*reason).to_owned())], Value::Counter(count))
        });
        let samples = samples.collect();
        self.push(
            "thalweg_connections_closed",
            "Accepted connections that were closed, by reason.",
            MetricType::Counter,
            samples,
        );
    }

    fn topics(&mut self, shared: &Shared) {
        let topics = shared.topics.totals();
        let mut series = |name, help, kind, value: fn(&TopicTotals) -> Value| {
            let samples = topics
                .iter()
                .map(|(topic, totals)| sample(vec![("topic", topic.clone())], value(totals)));
            self.push(name, help, kind, samples.collect());
        };
        series(
            "thalweg_topic_produced_bytes",
            "Bytes of batches appended for producers, by topic.",
            MetricType::Counter,
            |totals| Value::Counter(totals.produced_bytes),
        );
        series(
            "thalweg_topic_produced_records",
            "Records appended for producers, by topic.",
            MetricType::Counter,
            |totals| Value::Counter(totals.produced_records),
        );
        series(
            "thalweg_topic_fetched_bytes",
            "Bytes of batches handed to consumers, by topic.",
            MetricType::Counter,
            |totals| Value::Counter(totals.fetched_bytes),
        );
        series(
            "thalweg_topic_fetched_records",
            "Records handed to consumers, by topic.",
            MetricType::Counter,
            |totals| Value::Counter(totals.fetched_records),
        );
        series(
            "thalweg_topic_log_bytes",
            "Bytes of the logs on this broker, by topic.",
            MetricType::Gauge,
            |totals| Value::Gauge(totals.log_bytes),
        );
    }

    fn partitions(&mut self, shared: &Shared) {
        let partitions = level(shared, |stripe| &stripe.partitions);
        self.gauge("thalweg_partitions", "Partition replicas here.", partitions);
        let leaders = level(shared, |stripe| &stripe.leaders);
        self.gauge("thalweg_partition_leaders", "Partitions led by this broker.", leaders);
        let elections = sum(shared, |stripe| &stripe.elections);
        self.counter("thalweg_elections", "Elections begun by partitions here.", elections);
    }

    fn logs(&mut self, shared: &Shared) {
        let mut flushes = Snapshot::default();
        for stripe in &shared.stripes {
            flushes.add(&stripe.flushes);
        }
        self.push(
            "thalweg_log_flush_duration_seconds",
            "How long the disk took to make written records durable (fdatasync).",
            MetricType::Histogram,
            vec![sample(Labels::new(), Value::Histogram(Box::new(flushes)))],
        );
        self.counter(
            "thalweg_log_writes",
            "Writes to logs, each of all that had gathered for one log.",
            sum(shared, |stripe| &stripe.log.windows),
        );
        self.counter(
            "thalweg_log_flushes",
            "Flushes of log files.",
            sum(shared, |stripe| &stripe.log.flushes),
        );
        let cached = sum(shared, |stripe| &stripe.log.reads_cached);
        let cold = sum(shared, |stripe| &stripe.log.reads_cold);
        let from = |from: &str, n| sample(vec![("from", from.to_owned())], Value::Counter(n));
        self.push(
            "thalweg_log_reads",
            "Reads of logs, by where the records came from.",
            MetricType::Counter,
            vec![from("cache", cached), from("file", cold)],
        );
    }

    fn damage(&mut self, shared: &Shared) {
        self.counter(
            "thalweg_log_damaged_ranges",
            "Ranges of logs found damaged: at start, by a read, or by scrubbing.",
            sum(shared, |stripe| &stripe.damaged_ranges),
        );
        self.counter(
            "thalweg_log_healed_ranges",
            "Damaged ranges of logs that were put back from another replica.",
            sum(shared, |stripe| &stripe.healed_ranges),
        );
        self.counter(
            "thalweg_recovery_cut_bytes",
            "Bytes of torn tails cut at start: writes that a crash interrupted.",
            sum(shared, |stripe| &stripe.recovery_cut_bytes),
        );
        self.counter(
            "thalweg_recovery_ledgers_rebuilt",
            "Ledgers that had to be rebuilt from their logs at start.",
            sum(shared, |stripe| &stripe.recovery_ledgers_rebuilt),
        );
    }

    fn memory_and_disk(&mut self, shared: &Shared) {
        let mut gauge = |name, help, of: fn(&Stripe) -> &Level| {
            self.gauge(name, help, level(shared, of));
        };
        gauge(
            "thalweg_tail_cache_bytes",
            "Memory that holds the newest records for consumers that keep up.",
            |stripe| &stripe.log.tail_cache_bytes,
        );
        gauge("thalweg_maps", "Segment files mapped into memory.", |stripe| &stripe.log.maps);
        gauge("thalweg_ring_in_flight", "Disk operations under way.", |stripe| {
            &stripe.log.ring_in_flight
        });
        gauge(
            "thalweg_logs_waiting_for_space",
            "Logs that cannot write because the disk is full.",
            |stripe| &stripe.log.waiting_for_space,
        );
    }

    fn limits(&mut self, shared: &Shared) {
        let mut gauge = |name, help, level: &Level| {
            self.gauge(name, help, level.get().try_into().unwrap_or_default());
        };
        gauge(
            "thalweg_request_memory_bytes",
            "Memory taken by requests being received or handled.",
            &shared.request_memory_bytes,
        );
        gauge(
            "thalweg_request_memory_limit_bytes",
            "Memory that requests may take (limits.request_memory_bytes).",
            &shared.request_memory_limit_bytes,
        );
        gauge(
            "thalweg_disk_free_bytes",
            "Free space on the data directory's filesystem.",
            &shared.disk_free_bytes,
        );
        gauge(
            "thalweg_disk_total_bytes",
            "Size of the data directory's filesystem.",
            &shared.disk_total_bytes,
        );
        gauge(
            "thalweg_disk_reserve_bytes",
            "Free space below which writes are refused (limits.disk_reserve_bytes).",
            &shared.disk_reserve_bytes,
        );
        gauge(
            "thalweg_disk_full",
            "1 while writes are refused for want of space, otherwise 0.",
            &shared.disk_full,
        );
    }

    fn process(&mut self, shared: &Shared) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.push(
            "thalweg_build_info",
            "Always 1; the label says which version runs.",
            MetricType::Gauge,
            vec![sample(version, Value::Gauge(1))],
        );
        let process = Process::read();
        let cpu = process.cpu_seconds.map(Value::CounterSeconds);
        let level =
            |number: Option<u64>| number.map(|n| Value::Gauge(n.try_into().unwrap_or(i64::MAX)));
        for (name, help, kind, value) in [
            ("process_cpu_seconds", "CPU time taken, user and system.", MetricType::Counter, cpu),
            (
                "process_resident_memory_bytes",
                "Memory resident.",
                MetricType::Gauge,
                level(process.resident_bytes),
            ),
            ("process_threads", "Threads running.", MetricType::Gauge, level(process.threads)),
            (
                "process_open_fds",
                "File descriptors open.",
                MetricType::Gauge,
                level(process.open_fds),
            ),
            (
                "process_max_fds",
                "File descriptors allowed.",
                MetricType::Gauge,
                level(process.max_fds),
            ),
            (
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
                MetricType::Gauge,
                Some(Value::GaugeSeconds(shared.started_at)),
            ),
        ] {
            let samples = value.map(|value| sample(Labels::new(), value)).into_iter().collect();
            self.push(name, help, kind, samples);
        }
    }
}

fn sum(shared: &Shared, count: fn(&Stripe) -> &Count) -> u64 {
    shared.stripes.iter().map(|stripe| count(stripe).get()).sum()
}

fn level(shared: &Shared, level: fn(&Stripe) -> &Level) -> u64 {
    let levels = shared.stripes.iter().map(|stripe| level(stripe).get());
    levels.sum::<i64>().try_into().unwrap_or_default()
}
