//! Consumers of a group against a coordinator that rebalances, fences, moves and forgets: every
//! record is processed at least once, no partition is anybody's twice, and the application is told.

mod fake;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fake::group::{Group, Phase};
use fake::{FakeCluster, Fault};
use futures_util::FutureExt;
use thalweg_client::consumer::{
    CommitError, ConsumeFault, Consumer, ConsumerError, ConsumerRecord, GroupConsumerBuilder,
    GroupHandle, OffsetReset, RebalanceListener, StartAt,
};
use thalweg_client::protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_client::protocol::{ApiKey, ErrorCode};
use thalweg_client::{
    Client, CommittedOffset, GroupFault, ObservedBatch, ObservedChange, ObservedFetch,
    ObservedRequest, Observer, Record, TopicPartition,
};

const LIMIT: Duration = Duration::from_secs(20);

async fn builder(cluster: &FakeCluster) -> GroupConsumerBuilder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    let client = Client::builder(&cluster.bootstrap())
        .retry_backoff(min, max)
        .reconnect_backoff(min, max)
        .request_timeout(Duration::from_secs(5))
        .operation_timeout(Duration::from_secs(5))
        .unknown_topic_wait(Duration::from_millis(50));
    let client = client.connect().await.unwrap();
    let records = client.consumer().max_wait(Duration::from_millis(10));
    records
        .group("g")
        .subscribe(["t"])
        .heartbeat_interval(Duration::from_millis(5))
        .auto_offset_reset(OffsetReset::Earliest)
        .manual_commit()
}

/// Appends records to a partition, in batches of ten.
fn fill(cluster: &FakeCluster, partition: i32, batches: i32) {
    let mut state = cluster.state();
    let partition = state.partition("t", partition).unwrap();
    for _ in 0..batches {
        let mut builder = BatchBuilder::with_capacity(0);
        for _ in 0..10 {
            builder.append(0, None, Some(b"v"), &[]).unwrap();
        }
        let batch: Bytes = builder.finish(&BatchOptions::default()).unwrap();
        let end = partition.end;
        partition.push(&batch, end);
    }
}

fn part(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

async fn next(consumer: &mut Consumer) -> Result<ConsumerRecord, ConsumerError> {
    tokio::time::timeout(LIMIT, consumer.next()).await.expect("a record comes in time")
}

async fn place(consumer: &mut Consumer) -> (i32, i64) {
    let record = next(consumer).await.unwrap();
    (record.partition(), record.offset)
}

/// Lets consumers follow the group, without giving records, until something is so.
async fn drive(consumers: &mut [&mut Consumer], is_so: impl Fn(&[&mut Consumer]) -> bool) {
    let driving = async {
        while !is_so(consumers) {
            for consumer in consumers.iter_mut() {
                let turn = tokio::time::timeout(Duration::from_millis(2), consumer.next());
                assert!(turn.await.is_err(), "there is nothing to read");
            }
        }
    };
    tokio::time::timeout(LIMIT, driving).await.expect("it comes to that in time");
}

fn indexes(consumer: &Consumer) -> Vec<i32> {
    let mut indexes: Vec<i32> = consumer.assignment().iter().map(|it| it.partition).collect();
    indexes.sort_unstable();
    indexes
}

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &str, partitions: &[TopicPartition]) {
        let partitions: Vec<i32> = partitions.iter().map(|it| it.partition).collect();
        self.0.lock().unwrap().push(format!("{what} {partitions:?}"));
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl RebalanceListener for Diary {
    async fn on_assigned(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        // A callback may be cut into pieces by cancelled calls; it goes on all the same.
        tokio::task::yield_now().await;
        self.note("assigned", partitions);
    }

    async fn on_revoked(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        let outcome = group.commit().await.map_or_else(|error| error.to_string(), |()| "ok".into());
        self.note(&format!("committed {outcome}, revoked"), partitions);
    }

    async fn on_lost(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        assert!(matches!(group.commit().await, Ok(()) | Err(CommitError::NotAMember(_))));
        self.note("lost", partitions);
    }
}

#[tokio::test]
async fn a_group_of_one_reads_everything_and_goes_on_where_it_was() {
    let cluster = FakeCluster::start(2).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 2);
    fill(&cluster, 1, 1);
    let mut consumer = builder(&cluster).await.build();
    let mut read = Vec::new();
    for _ in 0..25 {
        read.push(place(&mut consumer).await);
    }
    // The last record given counts.
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    let mut consumer = builder(&cluster).await.build();
    for _ in 0..5 {
        read.push(place(&mut consumer).await);
    }
    read.sort_unstable();
    let expected = (0..20).map(|offset| (0, offset)).chain((0..10).map(|offset| (1, offset)));
    assert_eq!(read, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_moves_in_a_rebalance_is_committed_before_another_gets_it() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 4);
    (0..4).for_each(|partition| fill(&cluster, partition, 1));
    let diary = Diary::default();
    let auto = Duration::from_secs(3600);
    let mut first = builder(&cluster).await.auto_commit(auto).on_rebalance(diary.clone()).build();
    let mut read = Vec::new();
    for _ in 0..40 {
        read.push(place(&mut first).await);
    }
    let mut second = builder(&cluster).await.auto_commit(auto).build();
    // Neither gets anything again.
    drive(&mut [&mut first, &mut second], |all| {
        indexes(all[0]).len() == 2 && indexes(all[1]).len() == 2
    })
    .await;
    let (ours, theirs) = (indexes(&first), indexes(&second));
    assert!(ours.iter().all(|it| !theirs.contains(it)));
    let revoked = format!("committed ok, revoked {theirs:?}");
    assert_eq!(diary.entries(), ["assigned [0, 1, 2, 3]", &revoked]);
    second.close().await.unwrap();
    drive(&mut [&mut first], |all| indexes(all[0]).len() == 4).await;
    assert_eq!(diary.entries()[2], format!("assigned {theirs:?}"));
}

#[tokio::test]
async fn records_are_read_through_a_rebalance_that_takes_nothing_away() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 2);
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    for offset in 1..20 {
        cluster.with_group("g", Group::prepare);
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    cluster.until(|state| state.groups["g"].phase == Phase::Stable).await;
    consumer.commit().await.unwrap();
    assert_eq!(cluster.state().groups["g"].offsets[&("t".into(), 0)].0, 20);
}

#[tokio::test]
async fn a_coordinator_that_moves_is_found_again() {
    let cluster = FakeCluster::start(2).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.with_group("g", |group| group.coordinator = 2);
    consumer.commit().await.unwrap();
    assert_eq!(place(&mut consumer).await, (0, 1));
    let of_second = |state: &fake::State| {
        let mut requests = state.requests.iter();
        requests.any(|(api, _, id)| (*api, *id) == (ApiKey::Heartbeat, 2))
    };
    cluster.until(of_second).await;
    assert_eq!(cluster.state().groups["g"].commits, [("member-1".into(), 0, 1)]);
    assert_eq!(indexes(&consumer), [0]);
}

#[tokio::test]
async fn trouble_with_the_coordinator_is_waited_out() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let passing = [
        (ApiKey::FindCoordinator, ErrorCode::CoordinatorNotAvailable),
        (ApiKey::JoinGroup, ErrorCode::CoordinatorLoadInProgress),
        (ApiKey::SyncGroup, ErrorCode::NotCoordinator),
        (ApiKey::OffsetFetch, ErrorCode::CoordinatorLoadInProgress),
        (ApiKey::Heartbeat, ErrorCode::CoordinatorNotAvailable),
        (ApiKey::OffsetCommit, ErrorCode::CoordinatorLoadInProgress),
    ];
    for (api, error) in passing {
        cluster.fault(api, Fault::Refuse(error));
        cluster.fault(api, Fault::HangUp);
    }
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    consumer.commit().await.unwrap();
    assert_eq!(place(&mut consumer).await, (0, 1));
}

#[tokio::test]
async fn a_member_that_was_thrown_out_is_told_and_joins_again() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let diary = Diary::default();
    let mut consumer = builder(&cluster).await.on_rebalance(diary.clone()).build();
    for offset in 0..3 {
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    let record = next(&mut consumer).await.unwrap();
    consumer.commit_record(&record).await.unwrap();
    assert_eq!(place(&mut consumer).await, (0, 4));
    cluster.with_group("g", |group| group.expel("member-1"));
    cluster.until(|state| state.groups["g"].members.is_empty()).await;
    // From what was committed, not from where it was.
    loop {
        let (_, offset) = place(&mut consumer).await;
        if diary.entries().len() == 3 {
            assert_eq!(offset, 4);
            break;
        }
    }
    assert_eq!(diary.entries(), ["assigned [0]", "lost [0]", "assigned [0]"]);
    assert_ne!(consumer.member_id().unwrap(), "member-1");
}

#[tokio::test]
async fn a_commit_for_a_generation_that_is_over_is_refused() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let slow = Duration::from_secs(3600);
    let mut consumer = builder(&cluster).await.heartbeat_interval(slow).build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.with_group("g", |group| group.generation += 1);
    let error = consumer.commit().await.unwrap_err();
    let CommitError::Group(error) = error else { panic!("{error}") };
    assert!(matches!(error.fault, GroupFault::Refused(ErrorCode::IllegalGeneration)), "{error}");
    assert!(cluster.state().groups["g"].offsets.is_empty());
}

#[tokio::test]
async fn a_commit_while_the_group_is_being_divided_is_tried_again() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let slow = Duration::from_secs(3600);
    let mut consumer = builder(&cluster).await.heartbeat_interval(slow).build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.with_group("g", |group| group.phase = Phase::Completing);
    let commit = consumer.commit();
    tokio::pin!(commit);
    assert!(commit.as_mut().now_or_never().is_none());
    let commits = |state: &fake::State| {
        state.requests.iter().filter(|(api, ..)| *api == ApiKey::OffsetCommit).count()
    };
    let asked = cluster.until(|state| commits(state) >= 2);
    tokio::select! {
        outcome = &mut commit => panic!("it is not over: {outcome:?}"),
        () = asked => {}
    }
    cluster.with_group("g", |group| group.phase = Phase::Stable);
    commit.await.unwrap();
}

#[tokio::test]
async fn a_static_member_comes_back_as_itself_and_fences_the_one_before() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let mut first = builder(&cluster).await.group_instance_id("i").build();
    assert_eq!(place(&mut first).await, (0, 0));
    let mut second = builder(&cluster).await.group_instance_id("i").build();
    assert_eq!(place(&mut second).await, (0, 0));
    let failure = loop {
        if let Err(error) = next(&mut first).await {
            break error;
        }
    };
    let ConsumerError::Group(error) = failure else { panic!("{failure}") };
    assert!(matches!(error.fault, GroupFault::Refused(ErrorCode::FencedInstanceId)), "{error}");
    assert!(next(&mut first).await.is_err(), "it is final");
    second.close().await.unwrap();
    assert_eq!(cluster.count(ApiKey::LeaveGroup), 0, "it may come back");
    assert_eq!(cluster.state().groups["g"].members.len(), 1);
}

#[tokio::test]
async fn an_application_that_stands_still_leaves_its_partitions_to_others() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let diary = Diary::default();
    let patience = Duration::from_millis(100);
    let stuck = builder(&cluster).await.max_poll_interval(patience).on_rebalance(diary.clone());
    let mut stuck = stuck.build();
    assert_eq!(place(&mut stuck).await, (0, 0));
    let mut other = builder(&cluster).await.build();
    assert_eq!(place(&mut other).await, (0, 0));
    assert!(matches!(stuck.commit().await, Err(CommitError::NotAMember(_))));
    assert!(stuck.next().now_or_never().is_none(), "what it had is not its any more");
    assert_eq!(diary.entries()[..2], ["assigned [0]", "lost [0]"]);
}

#[tokio::test]
async fn an_application_that_stands_still_with_nothing_to_read_comes_back_when_it_moves() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut first = builder(&cluster).await.build();
    drive(&mut [&mut first], |all| indexes(all[0]) == [0]).await;
    let patience = Duration::from_millis(50);
    let mut stuck = builder(&cluster).await.max_poll_interval(patience).build();
    cluster.until(|state| state.groups["g"].members.len() == 2).await;
    let count = |state: &fake::State, api: ApiKey| {
        state.requests.iter().filter(|(asked, ..)| *asked == api).count()
    };
    cluster.until(|state| count(state, ApiKey::LeaveGroup) == 1).await;
    // The other one goes on in peace.
    let before = cluster.count(ApiKey::Heartbeat);
    cluster.until(|state| count(state, ApiKey::Heartbeat) >= before + 20).await;
    assert_eq!(cluster.state().groups["g"].members.len(), 1);
    drive(&mut [&mut stuck], |_| cluster.state().groups["g"].members.len() == 2).await;
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_taken_up_without_being_asked_about() {
    let cluster = FakeCluster::start(1).await;
    let mut consumer = builder(&cluster).await.build();
    cluster.until(|state| state.groups.get("g").is_some_and(|it| it.phase == Phase::Stable)).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    assert_eq!(place(&mut consumer).await, (0, 0));
}

#[tokio::test]
async fn a_topic_that_somebody_else_looks_for_in_vain_is_still_waited_for() {
    let cluster = FakeCluster::start(1).await;
    let client = Client::builder(&cluster.bootstrap())
        .retry_backoff(Duration::from_millis(1), Duration::from_millis(10))
        .unknown_topic_wait(Duration::from_millis(20));
    let client = client.connect().await.unwrap();
    let consumer = client.consumer().group("g").subscribe(["t"]).manual_commit();
    let mut consumer = consumer.auto_offset_reset(OffsetReset::Earliest).build();
    cluster.until(|state| state.groups.get("g").is_some_and(|it| it.phase == Phase::Stable)).await;
    let other = client.consumer().partition("t", 0, StartAt::Earliest).build();
    assert!(other.await.is_err(), "there is no such topic");
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    assert_eq!(place(&mut consumer).await, (0, 0));
}

#[tokio::test]
async fn a_paused_partition_is_committed_as_far_as_it_was_processed() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    (0..2).for_each(|partition| fill(&cluster, partition, 1));
    let mut consumer = builder(&cluster).await.build();
    let (first, offset) = place(&mut consumer).await;
    consumer.pause(&part(first)).unwrap();
    assert_eq!((place(&mut consumer).await, offset), ((1 - first, 0), 0));
    consumer.commit().await.unwrap();
    assert_eq!(cluster.state().groups["g"].offsets[&("t".into(), first)].0, 1);
}

#[tokio::test]
async fn a_topic_that_is_gone_does_not_hold_up_commits() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    cluster.fault(ApiKey::OffsetCommit, Fault::Refuse(ErrorCode::UnknownTopicOrPartition));
    let error = consumer.commit().await.unwrap_err();
    assert!(matches!(error, CommitError::Partition { .. }), "{error}");
    assert_eq!(cluster.count(ApiKey::OffsetCommit), 1);
}

#[tokio::test]
async fn whoever_says_that_it_works_keeps_its_partitions() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let patience = Duration::from_millis(200);
    let mut consumer = builder(&cluster).await.max_poll_interval(patience).build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    let beats = || cluster.count(ApiKey::Heartbeat);
    let before = beats();
    while beats() < before + 100 {
        consumer.signal_progress();
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.count(ApiKey::LeaveGroup), 0);
    consumer.commit().await.unwrap();
}

#[tokio::test]
async fn commits_by_itself_only_what_the_application_is_done_with() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let often = Duration::from_millis(2);
    let mut consumer = builder(&cluster).await.auto_commit(often).build();
    for offset in 0..5 {
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    let committed = |state: &fake::State| {
        state.groups["g"].offsets.get(&("t".into(), 0)).map(|(offset, _)| *offset)
    };
    cluster.until(|state| committed(state) == Some(4)).await;
    // Dropped with the last record in hand, which so is not done with.
    drop(consumer);
    cluster.until(|state| state.groups["g"].members.is_empty()).await;
    assert_eq!(committed(&cluster.state()), Some(4));
}

#[tokio::test]
async fn dropping_leaves_the_group_with_what_was_done() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let never = Duration::from_secs(3600);
    let mut consumer = builder(&cluster).await.auto_commit(never).build();
    for offset in 0..3 {
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    drop(consumer);
    cluster.until(|state| state.groups["g"].members.is_empty()).await;
    assert_eq!(cluster.state().groups["g"].commits, [("member-1".into(), 0, 2)]);
}

#[tokio::test]
async fn whoever_leaves_while_it_joins_is_not_waited_for() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let joins = |state: &fake::State, members: usize| state.groups["g"].members.len() == members;
    let mut first = builder(&cluster).await.heartbeat_interval(LIMIT).build();
    drive(&mut [&mut first], |all| indexes(all[0]) == [0]).await;
    // The first does not hear of the second for a while, so that one waits to be let in.
    let second = builder(&cluster).await.build();
    cluster.until(|state| joins(state, 2)).await;
    second.close().await.unwrap();
    assert!(joins(&cluster.state(), 1));
}

#[tokio::test]
async fn closing_commits_tells_the_listener_and_leaves() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let diary = Diary::default();
    let never = Duration::from_secs(3600);
    let consumer = builder(&cluster).await.auto_commit(never).on_rebalance(diary.clone());
    let mut consumer = consumer.build();
    for offset in 0..3 {
        assert_eq!(place(&mut consumer).await, (0, offset));
    }
    consumer.close().await.unwrap();
    let state = cluster.state();
    assert!(state.groups["g"].members.is_empty());
    assert_eq!(state.groups["g"].commits, [("member-1".into(), 0, 3)]);
    assert_eq!(diary.entries(), ["assigned [0]", "committed ok, revoked [0]"]);
}

#[tokio::test]
async fn offsets_are_committed_and_read_with_their_notes() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 2);
    fill(&cluster, 0, 1);
    let mut consumer = builder(&cluster).await.build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    let noted = CommittedOffset::new(7).with_metadata("halfway");
    consumer.commit_offsets(&[(part(0), noted.clone())]).await.unwrap();
    let committed = consumer.committed(&[part(0), part(1)]).await.unwrap();
    assert_eq!(committed, [(part(0), Some(noted)), (part(1), None)]);
    consumer.seek(&part(0), StartAt::Offset(7)).unwrap();
    assert_eq!(place(&mut consumer).await, (0, 7));
    consumer.commit().await.unwrap();
    assert_eq!(consumer.committed(&[part(0)]).await.unwrap()[0].1, Some(8.into()));
}

#[tokio::test]
async fn nothing_committed_is_an_error_if_so_wanted() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let mut consumer = builder(&cluster).await.auto_offset_reset(OffsetReset::Fail).build();
    let failure = next(&mut consumer).await.unwrap_err();
    let ConsumerError::Partition(error) = failure else { panic!("{failure}") };
    assert!(matches!(error.fault, ConsumeFault::NothingCommitted), "{error}");
    consumer.seek(&part(0), StartAt::Offset(3)).unwrap();
    assert_eq!(place(&mut consumer).await, (0, 3));
}

struct SeeksTo(i64);

impl RebalanceListener for SeeksTo {
    async fn on_assigned(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        for partition in partitions {
            group.seek(partition, StartAt::Offset(self.0)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_listener_may_choose_where_to_begin() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    fill(&cluster, 0, 1);
    let mut consumer = builder(&cluster).await.on_rebalance(SeeksTo(6)).build();
    assert_eq!(place(&mut consumer).await, (0, 6));
}

#[tokio::test]
async fn new_topics_and_new_partitions_are_taken_up() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut consumer = builder(&cluster).await.build();
    drive(&mut [&mut consumer], |all| indexes(all[0]) == [0]).await;
    cluster.topic("u", 1);
    consumer.subscribe(["t", "u"]).await;
    drive(&mut [&mut consumer], |all| all[0].assignment().len() == 2).await;
    consumer.subscribe(["u"]).await;
    drive(&mut [&mut consumer], |all| all[0].assignment().len() == 1).await;
    assert_eq!(consumer.assignment()[0].topic.as_ref(), "u");
}

#[tokio::test]
async fn a_refusal_that_will_not_pass_is_an_error_for_good() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    cluster.fault(ApiKey::JoinGroup, Fault::Refuse(ErrorCode::InconsistentGroupProtocol));
    let mut consumer = builder(&cluster).await.build();
    for _ in 0..2 {
        let error = next(&mut consumer).await.unwrap_err().to_string();
        assert!(error.contains("INCONSISTENT_GROUP_PROTOCOL"), "{error}");
    }
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn a_hostile_answer_costs_no_more_than_another_round() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let mut consumer = builder(&cluster).await.build();
    drive(&mut [&mut consumer], |all| indexes(all[0]) == [0]).await;
    // The answer to a request that was never made.
    let answer = [0, 0, 0, 8, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff].to_vec();
    cluster.fault(ApiKey::SyncGroup, Fault::Say(answer));
    consumer.rebalance().await;
    cluster
        .until(|state| {
            state.requests.iter().filter(|(api, ..)| *api == ApiKey::SyncGroup).count() >= 3
        })
        .await;
    drive(&mut [&mut consumer], |all| indexes(all[0]) == [0]).await;
}

#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<String, u64>>);

impl Counts {
    fn add(&self, what: impl Into<String>, amount: usize) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += amount as u64;
    }

    fn get(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }
}

impl Observer for Counts {
    fn on_request(&self, request: &ObservedRequest<'_>) {
        let outcome = if request.fault.is_none() { "answered" } else { "unanswered" };
        self.add(format!("{} {outcome}", request.api), 1);
    }

    fn on_batch(&self, batch: &ObservedBatch<'_>) {
        self.add("written", batch.records);
    }

    fn on_retry(&self, _: &str, _: i32) {
        self.add("retried", 1);
    }

    fn on_fetch(&self, fetch: &ObservedFetch<'_>) {
        self.add("fetched", fetch.bytes);
    }

    fn on_commit(&self, _: &str, partitions: usize, succeeded: bool) {
        self.add(format!("committed {succeeded}"), partitions);
    }

    fn on_rebalance(&self, _: &str, change: ObservedChange, partitions: &[TopicPartition]) {
        self.add(format!("{change:?}"), partitions.len());
    }
}

#[tokio::test]
async fn whoever_watches_is_told() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    let counts = Arc::new(Counts::default());
    let client = Client::builder(&cluster.bootstrap()).observer(counts.clone());
    let client = client.retry_backoff(Duration::from_millis(1), Duration::from_millis(1));
    let client = client.connect().await.unwrap();
    cluster.fault(ApiKey::Produce, Fault::Refuse(ErrorCode::NotLeaderOrFollower));
    cluster.fault(ApiKey::Produce, Fault::HangUp);
    let producer = client.producer().build();
    for _ in 0..3 {
        producer.send(Record::to("t").value("v")).await.unwrap();
    }
    let group = client.consumer().group("g").subscribe(["t"]).manual_commit();
    let mut consumer = group.auto_offset_reset(OffsetReset::Earliest).build();
    assert_eq!(place(&mut consumer).await, (0, 0));
    consumer.commit().await.unwrap();
    let written: usize = cluster.state().partition("t", 0).unwrap().batches[0].len();
    assert!(counts.get("fetched") >= written as u64);
    assert_eq!((counts.get("written"), counts.get("retried")), (3, 2));
    assert_eq!((counts.get("Assigned"), counts.get("committed true")), (1, 1));
    assert_eq!(counts.get("Produce unanswered"), 1);
    assert_eq!(counts.get("JoinGroup answered"), 2);
}

#[tokio::test]
async fn commits_tell_the_epoch_of_the_last_record_processed() {
    let cluster = FakeCluster::start(1).await;
    cluster.topic("t", 1);
    for epoch in [3, 3, 5, 8] {
        cluster.state().partition("t", 0).unwrap().leader_epoch = epoch;
        fill(&cluster, 0, 1);
    }
    let mut consumer = builder(&cluster).await.build();
    let mut last = None;
    for offset in 0..40 {
        let record = next(&mut consumer).await.unwrap();
        assert_eq!(record.offset, offset);
        if offset % 10 == 9 {
            consumer.commit().await.unwrap();
        }
        last = Some(record);
    }
    consumer.commit_record(&last.unwrap()).await.unwrap();
    assert_eq!(cluster.with_group("g", |group| group.epochs.clone()), [3, 3, 5, 8, 8]);
}
