//! Members that keep their place while metadata or the coordinator is slow, and give up asking
//! where asking does not help.

mod fake;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fake::{FakeCluster, Fault, State};
use thalweg_client::consumer::{Consumer, ConsumerError, GroupConsumerBuilder, OffsetReset};
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, GroupFault};

const LIMIT: Duration = Duration::from_secs(20);

/// A member that subscribes to nothing yet.
async fn bare(cluster: &FakeCluster) -> GroupConsumerBuilder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap()).retry_backoff(min, max);
    let client = client.unknown_topic_wait(Duration::from_millis(50));
    let client = client.metadata_max_age(Duration::from_millis(20)).connect().await.unwrap();
    let records = client.consumer().max_wait(Duration::from_millis(10));
    records
        .group("g")
        .heartbeat_interval(Duration::from_millis(5))
        .auto_offset_reset(OffsetReset::Earliest)
        .manual_commit()
}

async fn builder(cluster: &FakeCluster) -> GroupConsumerBuilder {
    bare(cluster).await.subscribe(["t"])
}

fn topics(consumer: &Consumer) -> Vec<String> {
    let assignment = consumer.assignment();
    let topics: BTreeSet<String> = assignment.iter().map(|it| it.topic.to_string()).collect();
    topics.into_iter().collect()
}

/// Lets a consumer follow its group until something is so.
async fn drive(consumer: &mut Consumer, is_so: impl Fn(&Consumer) -> bool) {
    let driving = async {
        while !is_so(consumer) {
            let turn = tokio::time::timeout(Duration::from_millis(2), consumer.next());
            assert!(turn.await.is_err(), "there is nothing to read");
        }
    };
    tokio::time::timeout(LIMIT, driving).await.expect("it comes to that in time");
}

fn count(state: &State, api: ApiKey) -> usize {
    state.requests.iter().filter(|(asked, ..)| *asked == api).count()
}

#[tokio::test]
async fn a_member_heartbeats_while_metadata_is_slow() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut consumer = builder(&cluster).await.build();
    drive(&mut consumer, |it| !it.assignment().is_empty()).await;
    cluster.fault(ApiKey::Metadata, Fault::Hold);
    consumer.subscribe(["t", "another"]).await;
    cluster.until(|state| state.held == 1).await;
    let (beats, joins) = {
        let state = cluster.state();
        (count(&state, ApiKey::Heartbeat), count(&state, ApiKey::JoinGroup))
    };
    cluster.until(|state| count(state, ApiKey::Heartbeat) > beats + 3).await;
    assert_eq!(count(&cluster.state(), ApiKey::JoinGroup), joins, "metadata is still to come");
    cluster.release();
    cluster.until(|state| count(state, ApiKey::JoinGroup) > joins).await;
}

#[tokio::test]
async fn a_coordinator_that_knows_no_id_for_good_is_an_error() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    for _ in 0..100 {
        cluster.fault(ApiKey::JoinGroup, Fault::Refuse(ErrorCode::MemberIdRequired));
    }
    let mut consumer = builder(&cluster).await.build();
    let outcome = tokio::time::timeout(LIMIT, consumer.next()).await.expect("it gives up");
    let Err(ConsumerError::Group(error)) = outcome else { panic!("{outcome:?}") };
    let refused = GroupFault::Refused(ErrorCode::MemberIdRequired);
    assert_eq!(format!("{:?}", error.fault), format!("{refused:?}"));
    let joins = count(&cluster.state(), ApiKey::JoinGroup);
    assert!((3..=20).contains(&joins), "{joins} attempts");
}

#[tokio::test]
async fn leaving_does_not_wait_for_a_coordinator_that_is_not_found() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut consumer = builder(&cluster).await.build();
    drive(&mut consumer, |it| !it.assignment().is_empty()).await;
    // The coordinator is gone, and whoever is asked for it says nothing.
    cluster.fault(ApiKey::FindCoordinator, Fault::FallSilent);
    cluster.fault(ApiKey::Heartbeat, Fault::Refuse(ErrorCode::NotCoordinator));
    cluster.until(|state| count(state, ApiKey::FindCoordinator) == 2).await;
    let begun = Instant::now();
    tokio::time::timeout(LIMIT, consumer.close()).await.expect("it leaves all the same").unwrap();
    println!("left after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_pattern_is_tried_by_the_member_itself_on_topics_as_they_come_and_go() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("orders.eu", 1);
    cluster.topic("orders", 1);
    cluster.topic("preorders.eu", 1);
    let regex = bare(&cluster).await.subscribe_regex("orders[.].*|refunds");
    let mut consumer = regex.subscribe(["orders"]).build();
    drive(&mut consumer, |it| topics(it) == ["orders", "orders.eu"]).await;
    cluster.topic("orders.us", 2);
    drive(&mut consumer, |it| topics(it) == ["orders", "orders.eu", "orders.us"]).await;
    cluster.state().topics.remove("orders.eu");
    drive(&mut consumer, |it| topics(it) == ["orders", "orders.us"]).await;
    consumer.subscribe(["preorders.eu"]).await;
    drive(&mut consumer, |it| topics(it) == ["orders.us", "preorders.eu"]).await;
}

#[tokio::test]
async fn what_is_no_pattern_is_an_error_for_good() {
    let cluster = FakeCluster::start(1).await;
    let mut consumer = bare(&cluster).await.subscribe_regex("orders(").build();
    for _ in 0..2 {
        let outcome = tokio::time::timeout(LIMIT, consumer.next()).await.expect("in time");
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("no regular expression"), "{error}");
    }
    assert_eq!(count(&cluster.state(), ApiKey::JoinGroup), 0);
}
