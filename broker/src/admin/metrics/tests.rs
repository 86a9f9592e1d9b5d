//! The page as a scraper sees it, and its description in the documentation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn metrics(shards: usize) -> Metrics {
    Metrics::new(&MetricsOptions { shards, topics_max: 2, started_at: 1_700_000_000.5 })
}

/// The samples of a page by name and labels.
fn samples(metrics: &Metrics) -> BTreeMap<String, String> {
    metrics
        .encode()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| (series.to_owned(), value.to_owned()))
        .collect()
}

/// The described metrics: name, type and help.
fn described(page: &str) -> Vec<(String, String, String)> {
    let helps = page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    helps
        .zip(types)
        .map(|((name, help), (same, kind))| {
            assert_eq!(name, same);
            (name.to_owned(), kind.to_owned(), help.to_owned())
        })
        .collect()
}

#[test]
fn a_scrape_adds_the_shards_up() {
    let metrics = metrics(2);
    for shard in 0..2 {
        let shard = metrics.shard(shard);
        shard.on_answered(0, Duration::from_millis(3));
        shard.on_error_code(0, 6);
        shard.on_error_code(1, -1);
        shard.on_received(10);
        shard.on_sent(20);
        shard.on_appended(1000, 7);
        shard.on_fetched(2000, 14);
        shard.on_connection_accepted();
        shard.set_partitions(5, 3);
        shard.set_log(LogFigures { maps: 4, reads_cold: 2, ..LogFigures::default() });
        shard.topic("orders").on_appended(1000, 7);
        shard.topic("orders").add_log_bytes(500);
    }
    metrics.on_connection_closed("idle");
    metrics.set_request_memory(100, 1000);
    metrics.set_disk(1, 2, 3, true);

    let samples = samples(&metrics);
    for (series, value) in [
        ("thalweg_requests_total{api=\"Produce\"}", "2"),
        ("thalweg_request_errors_total{api=\"Produce\",error=\"NOT_LEADER_OR_FOLLOWER\"}", "2"),
        ("thalweg_request_errors_total{api=\"Fetch\",error=\"UNKNOWN_SERVER_ERROR\"}", "2"),
        ("thalweg_request_duration_seconds_count{api=\"Produce\"}", "2"),
        ("thalweg_request_duration_seconds_sum{api=\"Produce\"}", "0.006"),
        ("thalweg_request_duration_seconds_bucket{le=\"0.0025\",api=\"Produce\"}", "0"),
        ("thalweg_request_duration_seconds_bucket{le=\"0.005\",api=\"Produce\"}", "2"),
        ("thalweg_request_duration_seconds_bucket{le=\"+Inf\",api=\"Produce\"}", "2"),
        ("thalweg_network_received_bytes_total", "20"),
        ("thalweg_network_sent_bytes_total", "40"),
        ("thalweg_produced_bytes_total", "2000"),
        ("thalweg_produced_records_total", "14"),
        ("thalweg_fetched_records_total", "28"),
        ("thalweg_connections", "1"),
        ("thalweg_connections_closed_total{reason=\"idle\"}", "1"),
        ("thalweg_connections_closed_total{reason=\"io\"}", "0"),
        ("thalweg_partitions", "10"),
        ("thalweg_partition_leaders", "6"),
        ("thalweg_maps", "8"),
        ("thalweg_log_reads_total{from=\"file\"}", "4"),
        ("thalweg_topic_produced_bytes_total{topic=\"orders\"}", "2000"),
        ("thalweg_topic_log_bytes{topic=\"orders\"}", "1000"),
        ("thalweg_request_memory_bytes", "100"),
        ("thalweg_request_memory_limit_bytes", "1000"),
        ("thalweg_disk_full", "1"),
        ("process_start_time_seconds", "1700000000.5"),
    ] {
        assert_eq!(samples.get(series).map(String::as_str), Some(value), "{series}");
    }
}

#[test]
fn no_series_is_there_twice() {
    let metrics = metrics(2);
    for code in -1..=200 {
        metrics.on_error_code(3, code);
    }
    let page = metrics.encode();
    let series: Vec<_> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect();
    let distinct: std::collections::BTreeSet<_> = series.iter().collect();
    assert_eq!(series.len(), distinct.len());
    let errors = series.iter().filter(|series| series.contains("UNKNOWN_SERVER_ERROR"));
    assert_eq!(errors.count(), 1);
}

#[test]
fn the_page_stays_small_until_things_happen() {
    let page = metrics(1).encode();
    assert!(page.ends_with("# EOF\n"));
    assert!(page.len() < 16 << 10, "{} bytes", page.len());
    assert!(!page.contains("api=\""), "an API that nobody used has no series");
}

#[test]
fn hooks_run_before_each_scrape() {
    let metrics = metrics(1);
    let scrapes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&scrapes);
    metrics.before_scrape(move |metrics| {
        let used = counted.fetch_add(1, Ordering::Relaxed) + 1;
        metrics.set_request_memory(used, 9);
    });
    metrics.encode();
    let used = samples(&metrics).remove("thalweg_request_memory_bytes");
    assert_eq!(used.as_deref(), Some("2"));
    assert_eq!(scrapes.load(Ordering::Relaxed), 2);
}

#[test]
fn a_topics_series_ends_with_the_topic() {
    let metrics = metrics(1);
    metrics.topic("orders").on_appended(1, 1);
    metrics.forget_topic("orders");
    assert!(!metrics.encode().contains("orders"));
}

#[test]
fn names_and_helps_keep_to_prometheus_customs() {
    for (name, kind, help) in described(&metrics(1).encode()) {
        assert!(name.starts_with("thalweg_") || name.starts_with("process_"), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(!name.ends_with("_total"), "{name}: the format adds the suffix of counters");
        assert!(!name.contains("_ms") && !name.contains("kilo"), "{name}: base units only");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
    }
}

#[test]
fn the_documentation_lists_every_metric_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/metrics.md");
    let text = std::fs::read_to_string(path).expect("docs/operations/metrics.md is there");
    let mut listed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.split('{').next().unwrap_or_default().to_owned())
        .collect();
    let mut served: Vec<_> = described(&metrics(1).encode())
        .into_iter()
        .map(|(name, kind, _)| if kind == "counter" { format!("{name}_total") } else { name })
        .collect();
    listed.sort();
    served.sort();
    assert_eq!(listed, served);
}
