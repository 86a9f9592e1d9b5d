//! Applications that say themselves how far they have come, and commits without pause: what is
//! committed is what was said, and never what was read before a seek or a rebalance.

mod fake;

use std::time::Duration;

use bytes::Bytes;
use fake::{FakeCluster, State};
use thalweg_client::consumer::{
    ConsumeFault, Consumer, ConsumerRecord, GroupConsumerBuilder, OffsetReset, StartAt,
};
use thalweg_client::protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_client::{Client, TopicPartition};

const LIMIT: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);

async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut builder = BatchBuilder::with_capacity(0);
    for _ in 0..10 {
        builder.append(0, None, Some(b"v"), &[]).unwrap();
    }
    let batch: Bytes = builder.finish(&BatchOptions::default()).unwrap();
    cluster.state().partition("t", 0).unwrap().push(&batch, 0);
    cluster
}

async fn builder(cluster: &FakeCluster) -> GroupConsumerBuilder {
    let client = Client::connect(&cluster.bootstrap()).await.unwrap();
    let records = client.consumer().max_wait(Duration::from_millis(10));
    let builder = records.group("g").subscribe(["t"]);
    builder.heartbeat_interval(Duration::from_millis(5)).auto_offset_reset(OffsetReset::Earliest)
}

async fn next(consumer: &mut Consumer) -> ConsumerRecord {
    let next = tokio::time::timeout(LIMIT, consumer.next()).await;
    next.expect("a record comes in time").unwrap()
}

fn commits(state: &State) -> Vec<i64> {
    state.groups["g"].commits.iter().map(|(_, _, offset)| *offset).collect()
}

fn at() -> TopicPartition {
    TopicPartition::new("t", 0)
}

#[tokio::test]
async fn what_is_committed_is_what_was_stored() {
    let cluster = cluster().await;
    let mut consumer = builder(&cluster).await.auto_commit(NEVER).manual_store().build();
    let records = [next(&mut consumer).await, next(&mut consumer).await, next(&mut consumer).await];
    consumer.commit().await.unwrap();
    assert_eq!(commits(&cluster.state()), [], "nothing was said to be done");
    consumer.store(&records[1]).unwrap();
    consumer.commit().await.unwrap();
    assert_eq!(commits(&cluster.state()), [2]);
    assert_eq!(next(&mut consumer).await.offset, 3);
    consumer.store_offset(&at(), 3).unwrap();
    // The last commit is made in leaving.
    consumer.close().await.unwrap();
    assert_eq!(commits(&cluster.state()), [2, 3]);
}

#[tokio::test]
async fn by_itself_only_what_was_stored_is_committed() {
    let cluster = cluster().await;
    let often = Duration::from_millis(2);
    let mut consumer = builder(&cluster).await.auto_commit(often).manual_store().build();
    for offset in 0..5 {
        let record = next(&mut consumer).await;
        assert_eq!(record.offset, offset);
        if offset < 2 {
            consumer.store(&record).unwrap();
        }
    }
    cluster.until(|state| commits(state).last() == Some(&2)).await;
    drop(consumer);
    cluster.until(|state| state.groups["g"].members.is_empty()).await;
    assert_eq!(commits(&cluster.state()).last(), Some(&2));
}

#[tokio::test]
async fn what_was_read_before_a_seek_or_a_rebalance_is_not_stored() {
    let cluster = cluster().await;
    let mut consumer = builder(&cluster).await.manual_commit().manual_store().build();
    let first = next(&mut consumer).await;
    consumer.seek(&at(), StartAt::Offset(5)).unwrap();
    let error = consumer.store(&first).unwrap_err();
    assert!(matches!(error.fault, ConsumeFault::Outdated { offset: 1 }), "{error}");
    let sixth = next(&mut consumer).await;
    consumer.store(&sixth).unwrap();
    consumer.commit().await.unwrap();
    assert_eq!(commits(&cluster.state()), [6]);
    // Another has got further by the time that this one is let in again.
    let member = consumer.member_id().unwrap();
    cluster.with_group("g", |group| {
        group.offsets.insert(("t".into(), 0), (9, String::new()));
        group.expel(&member);
    });
    let record = loop {
        let record = next(&mut consumer).await;
        if consumer.member_id().is_some_and(|id| id != member) && record.offset == 9 {
            break record;
        }
    };
    let error = consumer.store(&sixth).unwrap_err();
    assert!(matches!(error.fault, ConsumeFault::Outdated { offset: 6 }), "{error}");
    consumer.store(&record).unwrap();
    let elsewhere = TopicPartition::new("t", 7);
    let error = consumer.store_offset(&elsewhere, 1).unwrap_err();
    assert!(matches!(error.fault, ConsumeFault::NotAssigned), "{error}");
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn commits_without_pause_keep_up_with_the_application() {
    let cluster = cluster().await;
    let mut consumer = builder(&cluster).await.auto_commit(Duration::ZERO).build();
    for offset in 0..5 {
        assert_eq!(next(&mut consumer).await.offset, offset);
        // Not the one in hand, but everything before it, and that without asking for another.
        cluster.until(|state| offset == 0 || commits(state).last() == Some(&offset)).await;
    }
}

#[tokio::test]
async fn properties_say_who_stores_and_how_often_is_committed() {
    let cluster = cluster().await;
    let bootstrap = cluster.bootstrap();
    let properties = Client::from_properties([
        ("bootstrap.servers", bootstrap.as_str()),
        ("group.id", "g"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.offset.store", "false"),
        ("auto.commit.interval.ms", "0"),
    ]);
    let properties = properties.unwrap();
    let [warning] = properties.warnings() else { panic!("{:?}", properties.warnings()) };
    assert!(warning.to_string().contains("without pause"), "{warning}");
    let client = properties.connect().await.unwrap();
    let mut consumer = properties.group_consumer(&client).unwrap().subscribe(["t"]).build();
    let record = next(&mut consumer).await;
    assert_eq!(next(&mut consumer).await.offset, 1);
    consumer.store(&record).unwrap();
    cluster.until(|state| commits(state) == [1]).await;
}
