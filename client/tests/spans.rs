//! The spans of a producer and a consumer: one a request, an answer with records, a rebalance and a
//! commit; none a record.

mod fake;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{FakeCluster, Fault};
use thalweg_client::consumer::OffsetReset;
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, Record};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Metadata, Subscriber};

/// Notes each span with its numbers.
#[derive(Clone, Default)]
struct Spans {
    seen: Arc<Mutex<Vec<String>>>,
    ids: Arc<AtomicU64>,
}

struct Numbers(String);

impl Visit for Numbers {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() != "bytes" {
            self.0.push_str(&format!(" {}={value}", field.name()));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut numbers = Numbers(span.metadata().name().to_owned());
        span.record(&mut numbers);
        if span.metadata().target().starts_with("thalweg_client") {
            self.seen.lock().unwrap().push(numbers.0);
        }
        Id::from_u64(self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn requests_answers_rebalances_and_commits_have_spans() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    let client = Client::builder(&cluster.bootstrap());
    let client = client.retry_backoff(Duration::from_millis(1), Duration::from_millis(1));
    let client = client.connect().await.unwrap();
    let producer = client.producer().linger(Duration::from_secs(60)).build();
    cluster.fault(ApiKey::Produce, Fault::Refuse(ErrorCode::NotEnoughReplicas));
    for number in 0..10 {
        drop(producer.enqueue(Record::to("t").partition(number % 2).value("v")).await.unwrap());
    }
    producer.flush().await;
    let seen = std::mem::take(&mut *spans.seen.lock().unwrap());
    assert_eq!(seen.first().map(String::as_str), Some("produce partitions=2 attempt=1"));
    assert!(seen[1..].iter().all(|span| span.ends_with("attempt=2")), "{seen:?}");
    assert!((2..=3).contains(&seen.len()), "once or twice again: {seen:?}");

    let group = client.consumer().group("g").subscribe(["t"]).manual_commit();
    let mut consumer = group.auto_offset_reset(OffsetReset::Earliest).build();
    for _ in 0..10 {
        consumer.next().await.unwrap();
    }
    consumer.commit().await.unwrap();
    let seen = std::mem::take(&mut *spans.seen.lock().unwrap());
    assert_eq!(seen, ["rebalance", "fetch partitions=2", "commit partitions=2"]);
}
