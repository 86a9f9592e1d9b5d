//! Interceptors see and change what they are shown, and whatever they do wrong loses no record.

mod fake;

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{FakeCluster, Fault};
use thalweg_client::consumer::{self, Consumed, OffsetReset, StartAt};
use thalweg_client::producer::{self, OutgoingRecord, ProduceError, RecordMetadata};
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, CommittedOffset, HookError, Record, TopicPartition};

/// What an interceptor was told, in order.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Counts the interceptors that a record has passed, and sends it to partition 1.
#[derive(Debug)]
struct Rewriting(Log);

impl producer::Interceptor for Rewriting {
    fn on_send(&self, record: &mut OutgoingRecord<'_>) -> Result<(), HookError> {
        record.partition = Some(1);
        record.value.get_or_insert_default().to_mut().push(b'!');
        record.add_header("passed", record.headers.len().to_string());
        Ok(())
    }

    fn on_acknowledgement(&self, topic: &str, outcome: Result<&RecordMetadata, &ProduceError>) {
        self.0.note(match outcome {
            Ok(metadata) => format!("{topic} {} {:?}", metadata.partition, metadata.offset),
            Err(error) => format!("{topic} {:?} failed", error.partition),
        });
    }
}

/// Spoils whatever it is shown, and then fails.
#[derive(Debug)]
struct Failing;

impl producer::Interceptor for Failing {
    fn on_send(&self, record: &mut OutgoingRecord<'_>) -> Result<(), HookError> {
        record.value = Some(Cow::Borrowed(b"spoilt"));
        Err("no more ideas".into())
    }

    fn on_acknowledgement(&self, _: &str, _: Result<&RecordMetadata, &ProduceError>) {
        panic!("at the end");
    }
}

#[derive(Debug)]
struct Panicking;

impl producer::Interceptor for Panicking {
    fn on_send(&self, record: &mut OutgoingRecord<'_>) -> Result<(), HookError> {
        record.topic = Cow::Borrowed("elsewhere");
        panic!("at the beginning");
    }
}

async fn client(cluster: &FakeCluster) -> Client {
    let client = Client::builder(&cluster.bootstrap());
    let client = client.retry_backoff(Duration::from_millis(1), Duration::from_millis(10));
    client.unknown_topic_wait(Duration::from_millis(10)).connect().await.unwrap()
}

#[tokio::test]
async fn producers_send_what_the_interceptors_have_made_of_a_record() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    let log = Log::default();
    let producer = client(&cluster).await.producer();
    let producer = producer.interceptor(Rewriting(log.clone())).interceptor(Failing);
    let producer = producer.interceptor(Panicking).interceptor(Rewriting(Log::default())).build();
    let mut deliveries = Vec::new();
    for number in 0..10 {
        let value = number.to_string();
        let record = Record::to("t").partition(0).value(&value).header("own", "h");
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        let metadata = delivery.await.unwrap();
        assert_eq!((metadata.partition, metadata.offset), (1, Some(offset)));
    }
    let values = cluster.state().partition("t", 1).unwrap().values();
    assert_eq!(values, (0..10).map(|number| format!("{number}!!")).collect::<Vec<_>>());
    let told: Vec<String> = (0..10).map(|offset| format!("t 1 Some({offset})")).collect();
    assert_eq!(log.take(), told);

    let consumer = client(&cluster).await.consumer().partition("t", 1, StartAt::Earliest);
    let record = consumer.build().await.unwrap().next().await.unwrap().unwrap();
    let headers: Vec<_> = record.headers().iter().map(|it| (it.key, it.value.unwrap())).collect();
    let expected: [(&[u8], &[u8]); 3] = [(b"own", b"h"), (b"passed", b"1"), (b"passed", b"2")];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn producers_tell_of_failures_whenever_they_happen() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    let log = Log::default();
    let producer = client(&cluster).await.producer();
    let producer = producer.interceptor(Failing).interceptor(Rewriting(log.clone())).build();
    cluster.fault(ApiKey::Produce, Fault::Refuse(ErrorCode::TopicAuthorizationFailed));
    producer.send(Record::to("t").value("v")).await.unwrap_err();
    producer.send(Record::to("missing").value("v")).await.unwrap_err();
    assert_eq!(log.take(), ["t Some(1) failed", "missing None failed"]);
    producer.send(Record::to("t").value("v")).await.unwrap();
    assert_eq!(log.take(), ["t 1 Some(0)"]);
}

/// Notes what it sees, and then panics if that is a record, or fails.
#[derive(Debug)]
struct Watching(Log);

impl consumer::Interceptor for Watching {
    fn on_consume(&self, consumed: Consumed<'_>) -> Result<(), HookError> {
        match consumed {
            Consumed::Record(record) => {
                self.0.note(format!("record {}", record.offset));
                panic!("at a record");
            }
            Consumed::Batch(batch) => {
                let offsets = batch.iter().map(|record| record.unwrap().offset);
                self.0.note(format!("batch {:?}", offsets.collect::<Vec<_>>()));
                Err("at a batch".into())
            }
        }
    }

    fn on_commit(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<(), HookError> {
        let offsets: Vec<i64> = offsets.iter().map(|(_, committed)| committed.offset).collect();
        self.0.note(format!("{group} {offsets:?}"));
        panic!("at a commit");
    }
}

#[tokio::test]
async fn consumers_show_what_they_give_and_commit() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let client = client(&cluster).await;
    let producer = client.producer().batch_bytes(1).build();
    for number in 0..3 {
        producer.send(Record::to("t").value(&number.to_string())).await.unwrap();
    }
    let log = Log::default();
    let records = client.consumer().interceptor(Watching(log.clone()));
    let group = records.group("g").subscribe(["t"]).manual_commit();
    let mut consumer = group.auto_offset_reset(OffsetReset::Earliest).build();
    assert_eq!(consumer.next().await.unwrap().offset, 0);
    assert_eq!(consumer.next_batch().await.unwrap().next_offset(), 2);
    consumer.commit().await.unwrap();
    assert_eq!(log.take(), ["record 0", "batch [1]", "g [2]"]);
    cluster.fault(ApiKey::OffsetCommit, Fault::Refuse(ErrorCode::GroupAuthorizationFailed));
    assert_eq!(consumer.next().await.unwrap().offset, 2);
    consumer.commit().await.unwrap_err();
    assert_eq!(log.take(), ["record 2"]);
}
