//! The partition consumer against brokers that move leadership, damage batches and cut logs: what
//! is in the log is read once, in order, and whatever stands in the way is named.

mod fake;

use std::time::Duration;

use bytes::Bytes;
use fake::{FakeCluster, Fault};
use futures_util::{FutureExt, StreamExt};
use thalweg_client::consumer::{
    ConsumeError, ConsumeFault, ConsumerBuilder, OffsetReset, PartitionConsumer, StartAt,
};
use thalweg_client::protocol::batch::{
    BatchBuilder, BatchOptions, EndTxnMarker, TransactionResult,
};
use thalweg_client::protocol::messages::fetch::AbortedTransaction;
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, Codec, Isolation, TopicPartition};

async fn consumer(cluster: &FakeCluster) -> ConsumerBuilder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap())
        .retry_backoff(min, max)
        .reconnect_backoff(min, max)
        .request_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(2))
        .unknown_topic_wait(Duration::from_millis(50));
    client.connect().await.unwrap().consumer().max_wait(Duration::from_millis(10))
}

/// A batch of records with these values.
fn batch(values: std::ops::Range<i32>, options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(0);
    for value in values {
        builder.append(0, None, Some(value.to_string().as_bytes()), &[]).unwrap();
    }
    builder.finish(options).unwrap()
}

/// Appends batches of ten records numbered like their offsets.
fn fill(cluster: &FakeCluster, partition: i32, batches: i32) {
    let mut state = cluster.state();
    let partition = state.partition("t", partition).unwrap();
    for number in 0..batches {
        let codec = Codec::ALL[number as usize % Codec::ALL.len()];
        let options = BatchOptions { codec, ..BatchOptions::default() };
        partition.push(&batch(number * 10..(number + 1) * 10, &options), i64::from(number) * 10);
    }
}

async fn one(consumer: &mut PartitionConsumer) -> Result<(i32, i64, String), ConsumeError> {
    let next = tokio::time::timeout(Duration::from_secs(20), consumer.next());
    let record = next.await.expect("in time")?.expect("it does not stop");
    let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
    assert_eq!(record.topic().as_ref(), "t");
    Ok((record.partition(), record.offset, value))
}

/// Reads to the end; gives the offsets of each partition.
async fn all(consumer: ConsumerBuilder, partitions: usize) -> Vec<Vec<i64>> {
    let mut consumer = consumer.stop_at_end(true).build().await.unwrap();
    let mut offsets = vec![Vec::new(); partitions];
    while let Some(record) = consumer.next().await.unwrap() {
        let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
        assert_eq!(value, record.offset.to_string());
        offsets[record.partition() as usize].push(record.offset);
    }
    offsets
}

fn part(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

#[tokio::test]
async fn everything_is_read_in_order_from_all_partitions() {
    let cluster = FakeCluster::start(2).await;
    cluster.topic("t", 3);
    fill(&cluster, 0, 20);
    fill(&cluster, 2, 5);
    let read = all(consumer(&cluster).await.topic("t", StartAt::Earliest), 3).await;
    assert_eq!(read, [(0..200).collect(), vec![], (0..50).collect::<Vec<i64>>()]);
}

#[tokio::test]
async fn reading_begins_where_it_is_told_even_inside_a_batch() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 3);
    cluster.state().partition("t", 0).unwrap().log_start = 10;
    let cases = [
        (StartAt::Earliest, 10..30),
        (StartAt::Offset(13), 13..30),
        (StartAt::Offset(29), 29..30),
        (StartAt::Latest, 30..30),
        (StartAt::Timestamp(i64::MAX), 30..30),
    ];
    for (start, expected) in cases {
        let read = all(consumer(&cluster).await.partition("t", 0, start), 1).await;
        assert_eq!(read, [expected.collect::<Vec<i64>>()], "{start:?}");
    }
}

#[tokio::test]
async fn whatever_is_written_later_arrives_later() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Latest);
    let mut consumer = builder.build().await.unwrap();
    {
        let next = one(&mut consumer);
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        cluster.until(|state| state.requests.iter().any(|(api, ..)| *api == ApiKey::Fetch)).await;
        let more = batch(10..12, &BatchOptions::default());
        cluster.state().partition("t", 0).unwrap().push(&more, 10);
        assert_eq!(next.await.unwrap(), (0, 10, "10".into()));
    }
    assert_eq!(one(&mut consumer).await.unwrap().1, 11);
    assert_eq!(consumer.position(&part(0)), Some(12));
    assert_eq!(consumer.watermarks(&part(0)).unwrap().high_watermark, 12);
}

#[tokio::test]
async fn an_offset_outside_the_log_is_an_error_or_a_new_start_as_told() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 2);
    cluster.state().partition("t", 0).unwrap().log_start = 10;
    for start in [StartAt::Offset(3), StartAt::Offset(99)] {
        let begin = consumer(&cluster).await.partition("t", 0, start);
        let mut failing = begin.clone().build().await.unwrap();
        let error = one(&mut failing).await.unwrap_err();
        assert!(matches!(error.fault, ConsumeFault::OffsetOutOfRange), "{error}");
        assert!(error.to_string().contains("topic t partition 0 offset"), "{error}");
        failing.seek(&part(0), StartAt::Offset(15)).unwrap();
        assert_eq!(one(&mut failing).await.unwrap().1, 15);

        let earliest = begin.clone().on_offset_out_of_range(OffsetReset::Earliest);
        assert_eq!(one(&mut earliest.build().await.unwrap()).await.unwrap().1, 10);
        let latest = begin.on_offset_out_of_range(OffsetReset::Latest);
        assert_eq!(all(latest, 1).await, [Vec::<i64>::new()]);
    }
}

#[tokio::test]
async fn a_new_leader_is_followed_and_lost_answers_are_asked_for_again() {
    let cluster = FakeCluster::start(2).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 40);
    let faults = [
        Fault::HangUp,
        Fault::DoAndHangUp,
        Fault::Refuse(ErrorCode::NotLeaderOrFollower),
        Fault::Refuse(ErrorCode::UnknownLeaderEpoch),
        Fault::Refuse(ErrorCode::OffsetNotAvailable),
        Fault::Refuse(ErrorCode::UnknownTopicId),
    ];
    faults.into_iter().for_each(|fault| cluster.fault(ApiKey::Fetch, fault));
    cluster.fault(ApiKey::ListOffsets, Fault::HangUp);
    cluster.fault(ApiKey::ListOffsets, Fault::Refuse(ErrorCode::LeaderNotAvailable));
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let small = builder.partition_max_bytes(100).prefetch_bytes(200);
    let mut consumer = small.build().await.unwrap();
    for offset in 0..400 {
        if offset % 50 == 25 {
            let mut state = cluster.state();
            let partition = state.partition("t", 0).unwrap();
            partition.leader = 3 - partition.leader;
            partition.leader_epoch += 1;
        }
        assert_eq!(one(&mut consumer).await.unwrap(), (0, offset, offset.to_string()));
    }
}

#[tokio::test]
async fn a_seek_makes_room_for_what_is_read_after_it() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 9);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let small = builder.partition_max_bytes(100).prefetch_bytes(200);
    let mut consumer = small.build().await.unwrap();
    for round in 0..20 {
        let before = cluster.count(ApiKey::Fetch);
        consumer.seek(&part(0), StartAt::Offset(round)).unwrap();
        assert_eq!(one(&mut consumer).await.unwrap().1, round);
        // One batch that is being read, and one ahead of it, for which there is just room.
        let fetches = |state: &fake::State| {
            state.requests.iter().filter(|(api, ..)| *api == ApiKey::Fetch).count()
        };
        cluster.until(|state| fetches(state) >= before + 2).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn no_backlog_starves_another() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 40);
    fill(&cluster, 1, 40);
    let builder = consumer(&cluster).await.topic("t", StartAt::Earliest);
    let small = builder.partition_max_bytes(100).max_bytes(100).prefetch_bytes(200);
    let mut consumer = small.build().await.unwrap();
    let mut read = [0, 0];
    for _ in 0..100 {
        read[one(&mut consumer).await.unwrap().0 as usize] += 1;
    }
    assert!(read.iter().all(|read| *read >= 30), "{read:?}");
}

#[tokio::test]
async fn what_was_read_of_a_paused_partition_leaves_room_for_others() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 9);
    let builder = consumer(&cluster).await.topic("t", StartAt::Earliest);
    let small = builder.partition_max_bytes(100).prefetch_bytes(200);
    let mut consumer = small.build().await.unwrap();
    assert_eq!(one(&mut consumer).await.unwrap(), (0, 0, "0".into()));
    consumer.pause(&part(0)).unwrap();
    fill(&cluster, 1, 1);
    for offset in 0..10 {
        assert_eq!(one(&mut consumer).await.unwrap(), (1, offset, offset.to_string()));
    }
    consumer.resume(&part(0)).unwrap();
    for offset in 1..90 {
        assert_eq!(one(&mut consumer).await.unwrap(), (0, offset, offset.to_string()));
    }
}

#[tokio::test]
async fn a_damaged_batch_stops_its_partition_alone_and_can_be_skipped() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 3);
    fill(&cluster, 1, 1);
    {
        let mut state = cluster.state();
        let batches = &mut state.partition("t", 0).unwrap().batches;
        let mut damaged = batches[1].to_vec();
        *damaged.last_mut().unwrap() ^= 0x40;
        batches[1] = damaged.into();
    }
    let builder = consumer(&cluster).await.topic("t", StartAt::Earliest);
    let mut consumer = builder.build().await.unwrap();
    let mut read = vec![0, 0];
    let error = loop {
        match one(&mut consumer).await {
            Ok((partition, ..)) => read[partition as usize] += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault, ConsumeFault::Batch(_)), "{error}");
    assert_eq!((error.partition.clone(), error.offset), (part(0), Some(10)));
    while read != [10, 10] {
        let (partition, ..) = one(&mut consumer).await.unwrap();
        read[partition as usize] += 1;
    }
    consumer.seek(&part(0), StartAt::Offset(20)).unwrap();
    assert_eq!(one(&mut consumer).await.unwrap(), (0, 20, "20".into()));
}

#[tokio::test]
async fn a_batch_that_grows_beyond_the_limit_is_refused() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut builder = BatchBuilder::with_capacity(0);
    builder.append(0, None, Some(&vec![0; 1 << 20]), &[]).unwrap();
    let bomb = builder.finish(&BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
    cluster.state().partition("t", 0).unwrap().push(&bomb.unwrap(), 0);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let mut consumer = builder.batch_bytes_max(1 << 16).build().await.unwrap();
    let error = one(&mut consumer).await.unwrap_err();
    assert!(matches!(error.fault, ConsumeFault::Records(_)), "{error}");
    assert_eq!(consumer.position(&part(0)), Some(0));
}

#[tokio::test]
async fn aborted_transactions_are_left_out_when_reading_what_is_committed() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    {
        let mut state = cluster.state();
        let partition = state.partition("t", 0).unwrap();
        let of = |producer_id| BatchOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            ..BatchOptions::default()
        };
        let marker = |producer_id, result| {
            let marker = EndTxnMarker { result, coordinator_epoch: 0 };
            let mut builder = BatchBuilder::with_capacity(0);
            builder.append(0, Some(&marker.key()), Some(&marker.value()), &[]).unwrap();
            builder.finish(&BatchOptions { control: true, ..of(producer_id) }).unwrap()
        };
        partition.push(&batch(0..3, &of(1)), 0);
        partition.push(&batch(3..6, &of(2)), 3);
        partition.push(&marker(1, TransactionResult::Abort), 6);
        partition.push(&batch(7..9, &of(1)), 7);
        partition.push(&marker(2, TransactionResult::Commit), 9);
        partition.push(&marker(1, TransactionResult::Commit), 10);
        partition.push(&batch(11..13, &of(3)), 11);
        partition.last_stable_offset = Some(11);
        partition.aborted = vec![AbortedTransaction {
            producer_id: 1,
            first_offset: 0,
            ..AbortedTransaction::default()
        }];
    }
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let everything = all(builder.clone(), 1).await;
    assert_eq!(everything, [[0, 1, 2, 3, 4, 5, 7, 8, 11, 12]]);
    let committed = all(builder.isolation(Isolation::ReadCommitted), 1).await;
    assert_eq!(committed, [[3, 4, 5, 7, 8]]);
}

#[tokio::test]
async fn a_paused_partition_waits_with_what_it_has() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 2);
    fill(&cluster, 1, 2);
    let builder = consumer(&cluster).await.topic("t", StartAt::Earliest);
    let mut consumer = builder.build().await.unwrap();
    let (first, ..) = one(&mut consumer).await.unwrap();
    consumer.pause(&part(first)).unwrap();
    assert_eq!(consumer.position(&part(first)), Some(1));
    for offset in 0..20 {
        assert_eq!(one(&mut consumer).await.unwrap(), (1 - first, offset, offset.to_string()));
    }
    consumer.resume(&part(first)).unwrap();
    for offset in 1..20 {
        assert_eq!(one(&mut consumer).await.unwrap(), (first, offset, offset.to_string()));
    }
    let unknown = consumer.pause(&part(7)).unwrap_err();
    assert!(matches!(unknown.fault, ConsumeFault::NotAssigned), "{unknown}");
}

#[tokio::test]
async fn a_seek_forgets_what_was_read_ahead() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 10);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let mut consumer = builder.build().await.unwrap();
    for (seek, expected) in [(55, 55), (3, 3), (99, 99), (0, 0)] {
        consumer.seek(&part(0), StartAt::Offset(seek)).unwrap();
        assert_eq!(one(&mut consumer).await.unwrap().1, expected);
    }
    consumer.seek(&part(0), StartAt::Earliest).unwrap();
    let stream = consumer.stream().take(100);
    let read: Vec<i64> = stream.map(|record| record.unwrap().offset).collect().await;
    assert_eq!(read, (0..100).collect::<Vec<i64>>());
}

#[tokio::test]
async fn reading_ahead_is_bounded() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 100);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let builder = builder.partition_max_bytes(1000).prefetch_bytes(2000);
    let mut consumer = builder.build().await.unwrap();
    assert_eq!(one(&mut consumer).await.unwrap().1, 0);
    // Whatever the fetcher does while the caller rests, it stops when there is enough.
    let mut asked = cluster.count(ApiKey::Fetch);
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = cluster.count(ApiKey::Fetch);
        if now == asked {
            break;
        }
        asked = now;
    }
    assert!(asked <= 6, "{asked} answers of a thousand bytes are more than two thousand bytes");
    for offset in 1..1000 {
        assert_eq!(one(&mut consumer).await.unwrap().1, offset);
    }
}

#[tokio::test]
async fn batches_lend_their_records() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 5);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Offset(7));
    let mut consumer = builder.stop_at_end(true).build().await.unwrap();
    let mut read = Vec::new();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        assert_eq!(batch.source().partition, 0);
        read.extend(batch.iter().map(|record| record.unwrap().offset));
        assert_eq!(consumer.position(&part(0)), Some(batch.next_offset()));
    }
    assert_eq!(read, (7..50).collect::<Vec<i64>>());
}

#[tokio::test]
async fn what_is_not_there_is_an_error_at_once() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let builder = consumer(&cluster).await;
    let missing = builder.clone().topic("missing", StartAt::Earliest).build().await.unwrap_err();
    assert!(matches!(missing.fault, ConsumeFault::Topic(_)), "{missing}");
    let beyond = builder.partition("t", 1, StartAt::Earliest).build().await.unwrap_err();
    assert!(matches!(beyond.fault, ConsumeFault::NoSuchPartition { partition_count: 1 }));
}

#[tokio::test]
async fn a_topic_that_is_deleted_is_reported_as_gone() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Earliest);
    let mut consumer = builder.build().await.unwrap();
    for offset in 0..10 {
        assert_eq!(one(&mut consumer).await.unwrap().1, offset);
    }
    cluster.state().topics.clear();
    let error = one(&mut consumer).await.unwrap_err();
    assert!(matches!(error.fault, ConsumeFault::Topic(_)), "{error}");
    assert_eq!(error.offset, Some(10));
}

#[tokio::test]
async fn a_refusal_that_will_not_pass_is_reported() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    cluster.fault(ApiKey::Fetch, Fault::Refuse(ErrorCode::TopicAuthorizationFailed));
    let builder = consumer(&cluster).await.partition("t", 0, StartAt::Offset(0));
    let error = one(&mut builder.build().await.unwrap()).await.unwrap_err();
    let refused = ErrorCode::TopicAuthorizationFailed;
    assert!(matches!(error.fault, ConsumeFault::Refused(code) if code == refused), "{error}");
    assert!(!error.is_retriable() && error.to_string().contains("may not read"), "{error}");
}

#[tokio::test]
async fn where_to_begin_is_looked_up_for_as_long_as_it_takes() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 1);
    let patience = Duration::from_millis(20);
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap()).retry_backoff(min, max);
    let client = client.operation_timeout(patience).connect().await.unwrap();
    let builder = client.consumer().partition("t", 0, StartAt::Earliest);
    for _ in 0..40 {
        cluster.fault(ApiKey::ListOffsets, Fault::Refuse(ErrorCode::LeaderNotAvailable));
    }
    let mut consumer = builder.build().await.unwrap();
    assert_eq!(one(&mut consumer).await.unwrap().1, 0);
    assert!(cluster.count(ApiKey::ListOffsets) > 40);
}
