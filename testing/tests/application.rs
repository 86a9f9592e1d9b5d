//! What an application does, against a broker in the test's own process: write, read as a group,
//! go on where it was, and administer.

use std::time::Duration;

use thalweg_client::admin::{GroupFilter, GroupState};
use thalweg_client::consumer::{Consumer, OffsetReset};
use thalweg_client::{Client, Record, TopicPartition};
use thalweg_testing::TestBroker;

const LIMIT: Duration = Duration::from_secs(60);

fn member(client: &Client) -> Consumer {
    let group = client.consumer().max_wait(Duration::from_millis(20)).group("readers");
    let group = group.subscribe(["numbers"]).auto_offset_reset(OffsetReset::Earliest);
    // So seldom that only what a rebalance takes away is committed without being asked for.
    group.heartbeat_interval(Duration::from_millis(50)).auto_commit(LIMIT * 60).build()
}

async fn value(consumer: &mut Consumer) -> u32 {
    let next = tokio::time::timeout(LIMIT, consumer.next());
    let record = next.await.expect("a record in time").expect("a record");
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).parse().expect("a number")
}

async fn write(client: &Client, numbers: std::ops::Range<u32>) {
    let producer = client.producer().build();
    for number in numbers {
        let value = number.to_string();
        producer.send(Record::to("numbers").key(&value).value(&value)).await.expect("it is taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_has_committed_the_next_does_not_read() {
    let builder = TestBroker::builder().set("group.initial.rebalance.delay.ms", "0");
    let broker = builder.start().expect("it starts");
    broker.create_topic("numbers", 4).await.expect("it is created");
    let client = broker.client().await.expect("it answers");
    write(&client, 0..100).await;
    let mut first = member(&client);
    let mut read = Vec::new();
    for _ in 0..60 {
        read.push(value(&mut first).await);
    }
    first.commit().await.expect("it is committed");
    first.close().await.expect("it leaves");
    let (mut second, mut third) = (member(&client), member(&client));
    while read.len() < 100 {
        tokio::select! {
            number = value(&mut second) => read.push(number),
            number = value(&mut third) => read.push(number),
        }
    }
    read.sort_unstable();
    assert_eq!(read, (0..100).collect::<Vec<u32>>());

    let admin = client.admin();
    let described = admin.describe_groups(&["readers"]).await.remove(0).expect("it is there");
    assert!(!described.members.is_empty());
    second.commit().await.expect("it is committed");
    third.commit().await.expect("it is committed");
    second.close().await.expect("it leaves");
    third.close().await.expect("it leaves");
    let groups = admin.list_groups(&GroupFilter::default()).await.expect("it answers");
    assert_eq!(groups[0].state, Some(GroupState::Empty));
    let offsets = admin.list_group_offsets("readers", None).await.expect("it answers");
    let offset = |outcome: &Result<Option<thalweg_client::CommittedOffset>, _>| {
        outcome.as_ref().ok().and_then(|it| it.as_ref()).map_or(0, |committed| committed.offset)
    };
    assert_eq!(offsets.iter().map(|(_, outcome)| offset(outcome)).sum::<i64>(), 100);
    admin.delete_groups(&["readers"]).await.remove(0).expect("it is deleted");
    let partition = TopicPartition::new("numbers", 0);
    let offsets = admin.list_group_offsets("readers", Some(&[partition])).await.expect("an answer");
    assert_eq!(offset(&offsets[0].1), 0);
    broker.stop();
}

#[tokio::test]
async fn two_brokers_know_nothing_of_each_other() {
    let (one, other) = (TestBroker::start().unwrap(), TestBroker::start().unwrap());
    one.create_topic("t", 1).await.unwrap();
    let topics = |client: Client| async move { client.admin().list_topics().await.unwrap().len() };
    assert_eq!(topics(one.client().await.unwrap()).await, 1);
    assert_eq!(topics(other.client().await.unwrap()).await, 0);
}

#[test]
fn a_setting_that_is_none_is_an_error() {
    assert!(TestBroker::builder().set("no.such.setting", "1").start().is_err());
}
