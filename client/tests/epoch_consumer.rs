//! Consumers of a group whose coordinator divides (KIP-848): they take what they are given, give up
//! what they are not, say so only when it is so, and come back when they were forgotten.

mod fake;

use std::time::Duration;

use bytes::Bytes;
use fake::{FakeCluster, Fault};
use thalweg_client::consumer::{
    Consumer, ConsumerError, GroupConsumerBuilder, GroupHandle, GroupProtocol, OffsetReset,
    RebalanceListener,
};
use thalweg_client::protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{Client, TopicPartition};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(20);

/// Topic `t` has three partitions with ten records each.
async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 3);
    for partition in 0..3 {
        let mut builder = BatchBuilder::with_capacity(0);
        for _ in 0..10 {
            builder.append(0, None, Some(b"v"), &[]).unwrap();
        }
        let batch: Bytes = builder.finish(&BatchOptions::default()).unwrap();
        cluster.state().partition("t", partition).unwrap().push(&batch, 0);
    }
    cluster
}

async fn builder(cluster: &FakeCluster) -> GroupConsumerBuilder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap())
        .retry_backoff(min, max)
        .reconnect_backoff(min, max)
        .operation_timeout(Duration::from_secs(5));
    let client = client.connect().await.unwrap();
    let group = client.consumer().max_wait(Duration::from_millis(10)).group("g");
    group
        .subscribe(["t"])
        .group_protocol(GroupProtocol::Consumer)
        .heartbeat_interval(Duration::from_millis(5))
        .auto_offset_reset(OffsetReset::Earliest)
        .manual_commit()
}

async fn place(consumer: &mut Consumer) -> (i32, i64) {
    let next = tokio::time::timeout(LIMIT, consumer.next());
    let record = next.await.expect("a record comes in time").unwrap();
    (record.partition(), record.offset)
}

struct Tell(mpsc::UnboundedSender<(&'static str, Vec<i32>)>);

impl Tell {
    fn tell(&self, what: &'static str, partitions: &[TopicPartition]) {
        let _ = self.0.send((what, partitions.iter().map(|it| it.partition).collect()));
    }
}

impl RebalanceListener for Tell {
    async fn on_assigned(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        self.tell("assigned", partitions);
    }

    async fn on_revoked(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        group.commit().await.unwrap();
        self.tell("revoked", partitions);
    }

    async fn on_lost(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        self.tell("lost", partitions);
    }
}

#[tokio::test]
async fn what_is_given_is_read_and_what_is_not_any_more_is_given_up_when_done_with() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![0];
    let (sender, mut told) = mpsc::unbounded_channel();
    let mut consumer = builder(&cluster).await.on_rebalance(Tell(sender)).build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.until(|state| state.epoch_group.members.values().any(|it| it.owned == [0])).await;
    cluster.state().epoch_group.give(&[1]);
    let before = cluster.count(ApiKey::ConsumerGroupHeartbeat);
    let beats = |state: &fake::State| {
        let mut requests = state.requests.iter();
        let wanted = before + 5;
        requests.by_ref().filter(|it| it.0 == ApiKey::ConsumerGroupHeartbeat).count() >= wanted
    };
    cluster.until(beats).await;
    // The application still has its record in hand.
    assert_eq!(cluster.state().epoch_group.only().owned, [0]);
    assert_eq!(place(&mut consumer).await, (1, 0));
    cluster.until(|state| state.epoch_group.members.values().any(|it| it.owned == [1])).await;
    assert_eq!(told.try_recv().unwrap(), ("assigned", vec![0]));
    assert_eq!(told.try_recv().unwrap(), ("revoked", vec![0]));
    assert_eq!(told.try_recv().unwrap(), ("assigned", vec![1]));
    assert_eq!(cluster.state().groups["g"].offsets[&("t".into(), 0)].0, 1);
}

#[tokio::test]
async fn a_member_that_was_forgotten_loses_everything_and_joins_under_its_id() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![2];
    let (sender, mut told) = mpsc::unbounded_channel();
    let mut consumer = builder(&cluster).await.on_rebalance(Tell(sender)).build();
    assert_eq!(place(&mut consumer).await, (2, 0));
    let id = consumer.member_id().unwrap();
    let forgotten =
        [ErrorCode::UnknownMemberId, ErrorCode::FencedMemberEpoch, ErrorCode::GroupIdNotFound];
    for error in forgotten {
        cluster.fault(ApiKey::ConsumerGroupHeartbeat, Fault::Refuse(error));
        while told.try_recv() != Ok(("lost", vec![2])) {
            place(&mut consumer).await;
        }
        while told.try_recv() != Ok(("assigned", vec![2])) {
            place(&mut consumer).await;
        }
        assert_eq!(consumer.member_id().as_ref(), Some(&id));
    }
}

#[tokio::test]
async fn what_no_broker_can_name_yet_is_not_said_to_be_had_and_is_read_later() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![1];
    cluster.state().hides_topics = true;
    let mut consumer = builder(&cluster).await.build();
    let beats = |state: &fake::State| {
        state.requests.iter().filter(|it| it.0 == ApiKey::ConsumerGroupHeartbeat).count()
    };
    cluster.until(|state| beats(state) >= 5).await;
    assert!(cluster.state().epoch_group.only().said.iter().all(Vec::is_empty));
    cluster.state().hides_topics = false;
    assert_eq!(place(&mut consumer).await, (1, 0));
    cluster.until(|state| state.epoch_group.members.values().any(|it| it.owned == [1])).await;
}

#[tokio::test]
async fn one_command_upon_another_does_not_have_it_say_that_it_has_nothing() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![0];
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.until(|state| state.epoch_group.members.values().any(|it| it.owned == [0])).await;
    let before = cluster.state().epoch_group.only().said.len();
    cluster.fault(ApiKey::Metadata, Fault::Hold);
    consumer.subscribe(["t", "u"]).await;
    cluster.until(|state| state.held == 1).await;
    consumer.rebalance().await;
    consumer.subscribe(["t", "v"]).await;
    cluster.release();
    let knows = |state: &fake::State| {
        state.epoch_group.members.values().any(|member| member.topics == ["t", "v"])
    };
    cluster.until(knows).await;
    assert!(cluster.state().epoch_group.only().said[before..].iter().all(|said| *said == [0]));
}

#[tokio::test]
async fn what_was_being_given_up_when_it_was_lost_is_not_committed_as_the_next_member() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![0];
    let never = Duration::from_secs(3600);
    let mut consumer = builder(&cluster).await.auto_commit(never).build();
    for offset in 0..3 {
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    cluster.until(|state| state.epoch_group.members.values().any(|it| it.owned == [0])).await;
    cluster.state().epoch_group.give(&[]);
    let beats = |state: &fake::State| {
        state.requests.iter().filter(|it| it.0 == ApiKey::ConsumerGroupHeartbeat).count()
    };
    // The second beat after that one comes when the consumer has been asked to give it up.
    let before = beats(&cluster.state());
    cluster.until(|state| beats(state) >= before + 4).await;
    cluster.state().epoch_group.members.clear();
    let lost = async {
        while consumer.generation().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, lost).await.expect("it is lost in time");
    // Whoever had it meanwhile has got further.
    let after = (5, String::new());
    cluster.state().groups.entry("g".into()).or_default().offsets.insert(("t".into(), 0), after);
    assert_eq!(place(&mut consumer).await, (0, 5));
    assert!(cluster.state().groups["g"].commits.is_empty());
}

#[tokio::test]
async fn a_commit_in_an_epoch_that_is_over_waits_for_the_next() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![0];
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.state().epoch_group.only().epoch += 1;
    consumer.commit().await.unwrap();
    assert_eq!(cluster.state().groups["g"].offsets[&("t".into(), 0)].0, 1);
}

#[tokio::test]
async fn lost_heartbeats_are_made_good_and_leaving_is_said() {
    let cluster = cluster().await;
    cluster.state().epoch_group.at_first = vec![0];
    let api = ApiKey::ConsumerGroupHeartbeat;
    cluster.fault(api, Fault::DoAndHangUp);
    cluster.fault(api, Fault::Refuse(ErrorCode::CoordinatorLoadInProgress));
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    consumer.subscribe(["t", "u"]).await;
    let knows = |state: &fake::State| {
        state.epoch_group.members.values().any(|member| member.topics == ["t", "u"])
    };
    cluster.until(knows).await;
    consumer.close().await.unwrap();
    assert_eq!(cluster.state().epoch_group.left, [-1]);
    let mut member = builder(&cluster).await.group_instance_id("i").build();
    assert_eq!(place(&mut member).await, (0, 0));
    member.close().await.unwrap();
    assert_eq!(cluster.state().epoch_group.left, [-1, -2]);
}

#[tokio::test]
async fn an_expression_nobody_can_read_is_an_error_for_good() {
    let cluster = cluster().await;
    let api = ApiKey::ConsumerGroupHeartbeat;
    cluster.fault(api, Fault::Refuse(ErrorCode::InvalidRegularExpression));
    let mut consumer = builder(&cluster).await.subscribe_regex("t(").build();
    let failure = tokio::time::timeout(LIMIT, consumer.next()).await.expect("in time").unwrap_err();
    assert!(matches!(failure, ConsumerError::Group(_)), "{failure}");
    assert!(failure.to_string().contains("INVALID_REGULAR_EXPRESSION"), "{failure}");
}
