//! The producer against brokers that lose answers, move leadership and forget: every acknowledged
//! record is in the log once, in order, at the offset that was told.

mod fake;

use std::time::Duration;

use fake::{FakeCluster, Fault};
use thalweg_client::producer::{Acks, ProduceFault, Producer, ProducerBuilder};
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, Codec, Record};

async fn client(cluster: &FakeCluster) -> Client {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap())
        .retry_backoff(min, max)
        .reconnect_backoff(min, max)
        .request_timeout(Duration::from_secs(2))
        .unknown_topic_wait(Duration::from_millis(100));
    client.connect().await.unwrap()
}

async fn producer(cluster: &FakeCluster) -> ProducerBuilder {
    client(cluster).await.producer()
}

/// Enqueues records numbered from `from`, one batch each, and waits for all: gives their offsets.
async fn write(producer: &Producer, from: usize, count: usize) -> Vec<i64> {
    let mut deliveries = Vec::new();
    for number in from..from + count {
        let value = number.to_string();
        let record = Record::to("t").partition(0).value(&value);
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    let mut offsets = Vec::new();
    for delivery in deliveries {
        offsets.push(delivery.await.unwrap().offset.unwrap());
    }
    offsets
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn values(cluster: &FakeCluster) -> Vec<String> {
    cluster.state().partition("t", 0).unwrap().values()
}

#[tokio::test]
async fn records_come_back_with_their_offsets() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.build();
    let sent = producer.send(Record::to("t").key("k").value("0").timestamp(77)).await.unwrap();
    assert_eq!((sent.partition, sent.offset, sent.timestamp), (0, Some(0), 77));
    assert_eq!(write(&producer, 1, 99).await, (1..100).collect::<Vec<i64>>());
    assert_eq!(values(&cluster), numbers(0..100));
    producer.close().await;
    let closed = producer.send(Record::to("t")).await.unwrap_err();
    assert!(matches!(closed.fault, ProduceFault::Closed), "{closed}");
}

#[tokio::test]
async fn records_enqueued_together_travel_together() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 4);
    let producer = producer(&cluster).await.linger(Duration::from_secs(60)).build();
    for number in 0..100 {
        drop(producer.enqueue(Record::to("t").partition(number % 4)).await.unwrap());
    }
    assert_eq!(cluster.count(ApiKey::Produce), 0, "they linger");
    producer.flush().await;
    assert_eq!(cluster.count(ApiKey::Produce), 1, "one request for four partitions");
    let ends: Vec<i64> = (0..4).map(|at| cluster.state().partition("t", at).unwrap().end).collect();
    assert_eq!(ends, [25; 4]);
}

/// Each way of losing an answer or being refused for a while, in the middle of a pipeline.
#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_and_written_once() {
    let faults = [
        Fault::HangUp,
        Fault::DoAndHangUp,
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
        Fault::DoAndRefuse(ErrorCode::NotEnoughReplicasAfterAppend),
        Fault::DoAndRefuse(ErrorCode::RequestTimedOut),
        Fault::Refuse(ErrorCode::KafkaStorageError),
        Fault::Refuse(ErrorCode::UnknownTopicOrPartition),
        Fault::DoAndRefuse(ErrorCode::DuplicateSequenceNumber),
    ];
    for fault in faults {
        let cluster = FakeCluster::start(1).await;
        cluster.topic("t", 1);
        let producer = producer(&cluster).await.batch_bytes(1).build();
        assert_eq!(write(&producer, 0, 3).await, [0, 1, 2]);
        cluster.fault(ApiKey::Produce, fault.clone());
        cluster.fault(ApiKey::Produce, fault.clone());
        let mut deliveries = Vec::new();
        for number in 3..20 {
            let value = number.to_string();
            let record = Record::to("t").partition(0).value(&value);
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for (delivery, offset) in deliveries.into_iter().zip(3..) {
            let told = delivery.await.unwrap().offset;
            // A repetition that the broker no longer knows the offset of is still a success.
            assert!(told == Some(offset) || told.is_none(), "{fault:?}: {told:?} for {offset}");
        }
        assert_eq!(values(&cluster), numbers(0..20), "{fault:?}");
    }
}

#[tokio::test]
async fn a_new_leader_is_found_and_order_is_kept() {
    let cluster = FakeCluster::start(2).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.batch_bytes(1).build();
    write(&producer, 0, 5).await;
    for (epoch, leader) in [(1, 2), (2, 1), (3, 2)] {
        {
            let mut state = cluster.state();
            let partition = state.partition("t", 0).unwrap();
            partition.leader = leader;
            partition.leader_epoch = epoch;
        }
        write(&producer, 5 * epoch as usize, 5).await;
    }
    assert_eq!(values(&cluster), numbers(0..20));
}

#[tokio::test]
async fn a_broker_that_lost_count_gets_a_new_series() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.batch_bytes(1).build();
    write(&producer, 0, 10).await;
    cluster.state().partition("t", 0).unwrap().confuse();
    write(&producer, 10, 10).await;
    assert_eq!(values(&cluster), numbers(0..20));
    assert_eq!(cluster.count(ApiKey::InitProducerId), 2);
}

#[tokio::test]
async fn a_refused_batch_fails_alone() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.batch_bytes(1).build();
    write(&producer, 0, 1).await;
    cluster.fault(ApiKey::Produce, Fault::Refuse(ErrorCode::MessageTooLarge));
    let record = |value| Record::to("t").partition(0).value(value);
    let too_large = producer.enqueue(record("large")).await.unwrap();
    let next = producer.enqueue(record("1")).await.unwrap();
    let error = too_large.await.unwrap_err();
    assert!(matches!(
        &error.fault,
        ProduceFault::Refused { error: ErrorCode::MessageTooLarge, .. }
    ));
    assert!(!error.is_retriable() && !error.may_be_written());
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
    assert_eq!(next.await.unwrap().offset, Some(1));
    write(&producer, 2, 3).await;
    assert_eq!(values(&cluster), numbers(0..5));
}

#[tokio::test]
async fn a_record_that_cannot_be_delivered_fails_in_time() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let client = Client::builder(&cluster.bootstrap())
        .request_timeout(Duration::from_millis(50))
        .retry_backoff(Duration::from_millis(1), Duration::from_millis(10));
    let client = client.connect().await.unwrap();
    let producer = client.producer().delivery_timeout(Duration::from_millis(300)).build();
    for _ in 0..100 {
        cluster.fault(ApiKey::Produce, Fault::FallSilent);
    }
    let error = producer.send(Record::to("t").value("lost")).await.unwrap_err();
    let ProduceFault::TimedOut { may_be_written, last, .. } = &error.fault else {
        panic!("{error}")
    };
    assert!(*may_be_written && last.is_some() && error.is_retriable(), "{error}");

    cluster.state().partition("t", 0).unwrap().leader = -1;
    client.admin().describe_topics(&["t"]).await.unwrap();
    let error = producer.send(Record::to("t").value("no leader")).await.unwrap_err();
    assert!(matches!(error.fault, ProduceFault::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn time_runs_out_in_a_queue_too() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    let timeout = Duration::from_millis(200);
    let builder = producer(&cluster).await.max_in_flight(1).idempotent(false);
    let producer = builder.delivery_timeout(timeout).build();
    cluster.fault(ApiKey::Produce, Fault::Hold);
    let held = producer.enqueue(Record::to("t").partition(0)).await.unwrap();
    cluster.until(|state| state.held == 1).await;
    // It stands in line for a broker that is busy for longer than it can wait.
    let error = producer.send(Record::to("t").partition(1)).await.unwrap_err();
    let unsent = matches!(error.fault, ProduceFault::TimedOut { may_be_written: false, .. });
    assert!(unsent && !error.may_be_written(), "{error}");
    cluster.release();
    assert!(held.await.is_ok());
}

#[tokio::test]
async fn sending_waits_for_memory_and_goes_on_when_there_is_some() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let builder = producer(&cluster).await.linger(Duration::from_secs(60));
    let producer = builder.buffer_memory(3000).build();
    let value = vec![b'x'; 1000];
    let record = || Record::to("t").partition(0).value(&value);
    cluster.fault(ApiKey::Produce, Fault::Hold);
    let first = producer.enqueue(record()).await.unwrap();
    let second = producer.enqueue(record()).await.unwrap();
    {
        let third = producer.enqueue(record());
        tokio::pin!(third);
        // Nothing but the lingering batch holds the memory, so it is sent early.
        tokio::select! {
            _ = &mut third => panic!("there is no room"),
            () = cluster.until(|state| state.held == 1) => {}
        }
        cluster.release();
        drop(third.await.unwrap());
    }
    assert_eq!(first.await.unwrap().offset, Some(0));
    assert_eq!(second.await.unwrap().offset, Some(1));
    producer.flush().await;
    assert_eq!(cluster.state().partition("t", 0).unwrap().end, 3);
    let huge = vec![0; 4000];
    let error = producer.enqueue(Record::to("t").value(&huge)).await.unwrap_err();
    assert!(matches!(error.fault, ProduceFault::TooLargeForBuffer { .. }), "{error}");
}

#[tokio::test]
async fn a_cancelled_enqueue_sends_nothing_and_keeps_no_memory() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.buffer_memory(3000).build();
    let value = vec![b'x'; 2000];
    let record = || Record::to("t").partition(0).value(&value);
    cluster.fault(ApiKey::Produce, Fault::Hold);
    let first = producer.enqueue(record()).await.unwrap();
    cluster.until(|state| state.held == 1).await;
    for _ in 0..10 {
        let waiting = producer.enqueue(record());
        assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
    }
    cluster.release();
    first.await.unwrap();
    assert_eq!(producer.send(record()).await.unwrap().offset, Some(1));
}

#[tokio::test]
async fn acknowledgements_are_as_asked_for() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let none = producer(&cluster).await.acks(Acks::None).build();
    let sent = none.send(Record::to("t").value("0")).await.unwrap();
    assert_eq!(sent.offset, None);
    cluster.until(|state| state.topics["t"].partitions[0].end == 1).await;
    let leader = producer(&cluster).await.acks(Acks::Leader).build();
    assert_eq!(leader.send(Record::to("t").value("1")).await.unwrap().offset, Some(1));
    assert_eq!(cluster.count(ApiKey::InitProducerId), 0, "neither is idempotent");
    assert_eq!(values(&cluster), numbers(0..2));
}

#[tokio::test]
async fn every_codec_writes_what_can_be_read() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    for (codec, from) in Codec::ALL.into_iter().zip((0..).step_by(100)) {
        let producer = producer(&cluster).await.compression(codec).build();
        write(&producer, from, 100).await;
    }
    assert_eq!(values(&cluster), numbers(0..500));
}

#[tokio::test]
async fn topics_and_partitions_that_are_not_there_are_errors() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    let producer = producer(&cluster).await.build();
    let error = producer.send(Record::to("missing")).await.unwrap_err();
    assert!(matches!(error.fault, ProduceFault::Topic(_)), "{error}");
    assert!(error.to_string().contains("missing") && error.to_string().contains("create it first"));
    let error = producer.send(Record::to("t").partition(2)).await.unwrap_err();
    assert!(matches!(error.fault, ProduceFault::NoSuchPartition { partition_count: 2 }), "{error}");
    assert!(producer.send(Record::to("t").partition(1)).await.is_ok());
}

#[tokio::test]
async fn dropping_the_last_handle_still_sends_what_was_enqueued() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let producer = producer(&cluster).await.linger(Duration::from_secs(60)).build();
    let clone = producer.clone();
    let delivery = clone.enqueue(Record::to("t").value("0")).await.unwrap();
    drop((producer, clone));
    assert_eq!(delivery.await.unwrap().offset, Some(0));
}

/// Faults at random, several writers, several partitions, leadership that wanders: still once each,
/// in order.
#[tokio::test]
async fn chaos_loses_nothing_and_repeats_nothing() {
    const PARTITIONS: usize = 3;
    const RECORDS: usize = 300;
    for seed in 1..=8u64 {
        let cluster = FakeCluster::start(2).await;
        cluster.topic("t", PARTITIONS);
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..60 {
            let fault = match draw(9) {
                0 => Fault::HangUp,
                1 => Fault::DoAndHangUp,
                2 => Fault::Refuse(ErrorCode::NotLeaderOrFollower),
                3 => Fault::DoAndRefuse(ErrorCode::RequestTimedOut),
                4 => Fault::Refuse(ErrorCode::NotEnoughReplicas),
                // An ordinary answer, in effect.
                _ => Fault::Refuse(ErrorCode::None),
            };
            if fault != Fault::Refuse(ErrorCode::None) {
                cluster.fault(ApiKey::Produce, fault);
            }
        }
        let producer = producer(&cluster).await.batch_bytes(200).build();
        let mut deliveries = Vec::new();
        for number in 0..RECORDS {
            let value = number.to_string();
            let partition = (number % PARTITIONS) as i32;
            let record = Record::to("t").partition(partition).value(&value);
            deliveries.push((partition, value.clone(), producer.enqueue(record).await.unwrap()));
            if draw(20) == 0 {
                let mut state = cluster.state();
                let partition = state.partition("t", draw(PARTITIONS as u64) as i32).unwrap();
                partition.leader = 3 - partition.leader;
                partition.leader_epoch += 1;
            }
            if draw(10) == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut told = vec![Vec::new(); PARTITIONS];
        for (partition, value, delivery) in deliveries {
            let offset = delivery.await.unwrap().offset.unwrap();
            told[partition as usize].push((offset, value));
        }
        for (partition, told) in (0..).zip(told) {
            let written = cluster.state().partition("t", partition).unwrap().values();
            let written: Vec<(i64, String)> = (0..).zip(written).collect();
            assert_eq!(told, written, "seed {seed}, partition {partition}");
        }
    }
}
