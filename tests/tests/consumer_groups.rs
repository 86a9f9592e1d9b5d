//! Consumer groups of the protocol of KIP-848 in a whole broker, over sockets: members share, one
//! leaves, epochs and assignments outlive the broker, and members of both protocols share.

use std::path::Path;

use thalweg_protocol::messages as m;
use thalweg_protocol::messages::consumer_group_describe::DescribedGroup;
use thalweg_protocol::messages::consumer_group_heartbeat::TopicPartitions;
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_protocol::{ErrorCode, KafkaStr, TopicId};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::topic;
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const GROUP: &str = "readers";
const TOPIC: &str = "orders";

/// A member that does what it is told at once.
struct Member {
    wire: Wire,
    id: KafkaStr,
    epoch: i32,
    owned: Vec<TopicPartitions>,
}

impl Member {
    fn new(broker: &LocalBroker, id: &'static str) -> Member {
        Member { wire: broker.connect(), id: id.into(), epoch: 0, owned: Vec::new() }
    }

    fn request(&self) -> m::ConsumerGroupHeartbeatRequest {
        m::ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec![TOPIC.into()]),
            topic_partitions: Some(self.owned.clone()),
            ..Default::default()
        }
    }

    fn beat(&mut self) -> ErrorCode {
        let request = self.request();
        let wire = &mut self.wire;
        let response = eventually("the coordinator answers", || {
            let response = wire.call(&request, 1).unwrap();
            let waiting = [
                ErrorCode::CoordinatorLoadInProgress,
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::NotCoordinator,
            ];
            (!waiting.contains(&response.error_code.into())).then_some(response)
        });
        if response.error_code == 0 {
            self.epoch = response.member_epoch;
            if let Some(assignment) = response.assignment {
                self.owned = assignment.topic_partitions;
            }
        }
        response.error_code.into()
    }

    fn numbers(&self) -> Vec<i32> {
        self.owned.iter().flat_map(|topic| topic.partitions.clone()).collect()
    }

    fn commit(&mut self, version: i16, topic_id: TopicId) -> ErrorCode {
        let request = m::OffsetCommitRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            generation_id_or_member_epoch: self.epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.into(),
                topic_id: topic_id.0,
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: self.numbers()[0],
                    committed_offset: 42,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.wire.call(&request, version).unwrap();
        response.topics[0].partitions[0].error_code.into()
    }

    /// Asks for the offset of its first partition with this epoch.
    fn fetch(&mut self, member_epoch: i32) -> (ErrorCode, Vec<i64>) {
        let group = m::offset_fetch::OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_id: Some(self.id.clone()),
            member_epoch,
            topics: None,
            ..Default::default()
        };
        let request = m::OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let response = self.wire.call(&request, 9).unwrap();
        let partitions = response.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
        let offsets = partitions.map(|at| at.committed_offset).collect();
        (response.groups[0].error_code.into(), offsets)
    }
}

fn start(dir: &Path) -> LocalBroker {
    LocalBroker::start(dir, &[])
}

/// All beat until everybody has their share.
fn settle(wire: &mut Wire, members: &mut [Member]) {
    eventually("the group is stable", || {
        for member in members.iter_mut() {
            assert_eq!(member.beat(), ErrorCode::None);
        }
        (&*describe(wire, GROUP).group_state == "Stable").then_some(())
    });
}

fn describe(wire: &mut Wire, group: &'static str) -> DescribedGroup {
    let request =
        m::ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    let mut groups = wire.call(&request, 1).unwrap().groups;
    groups.pop().expect("one group asked, one described")
}

fn delete(wire: &mut Wire) -> ErrorCode {
    let request = m::DeleteGroupsRequest { groups_names: vec![GROUP.into()], ..Default::default() };
    wire.call(&request, 2).unwrap().results[0].error_code.into()
}

#[test]
fn members_share_one_leaves_and_the_other_has_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    let topic_id = topic::create(&mut wire, TOPIC, 4, &[]);
    let mut members = [Member::new(&broker, "one"), Member::new(&broker, "two")];
    settle(&mut wire, &mut members);
    assert_eq!(members.each_ref().map(|member| member.numbers().len()), [2, 2]);
    let described = describe(&mut wire, GROUP);
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(&*described.assignor_name, "uniform");
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
    for member in &described.members {
        assert_eq!(member.assignment, member.target_assignment);
        assert_eq!(&*member.assignment.topic_partitions[0].topic_name, TOPIC);
    }

    let [one, two] = &mut members;
    assert_eq!(one.commit(9, topic_id), ErrorCode::None);
    assert_eq!(one.commit(10, topic_id), ErrorCode::None);
    assert_eq!(one.fetch(2), (ErrorCode::None, vec![42]));
    assert_eq!(one.fetch(7).0, ErrorCode::StaleMemberEpoch);
    two.epoch = 7;
    assert_eq!(two.commit(9, topic_id), ErrorCode::StaleMemberEpoch);
    assert_eq!(delete(&mut wire), ErrorCode::NonEmptyGroup);

    one.epoch = -1;
    assert_eq!(one.beat(), ErrorCode::None);
    assert_eq!(two.beat(), ErrorCode::FencedMemberEpoch);
    (two.epoch, two.owned) = (0, Vec::new());
    settle(&mut wire, std::slice::from_mut(two));
    assert_eq!(two.numbers(), [0, 1, 2, 3]);
    two.epoch = -1;
    assert_eq!(two.beat(), ErrorCode::None);
    assert_eq!(&*describe(&mut wire, GROUP).group_state, "Empty");
    assert_eq!(delete(&mut wire), ErrorCode::None);
    let gone = describe(&mut wire, GROUP);
    assert_eq!(ErrorCode::from(gone.error_code), ErrorCode::GroupIdNotFound);
    broker.stop();
}

#[test]
fn a_restarted_broker_knows_epochs_assignments_and_members() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 4, &[]);
    let mut members = [Member::new(&broker, "one"), Member::new(&broker, "two")];
    settle(&mut wire, &mut members);
    let before = describe(&mut wire, GROUP);
    let owned = members.each_ref().map(|member| member.owned.clone());
    broker.stop();

    let broker = start(dir.path());
    let mut wire = broker.connect();
    for member in &mut members {
        member.wire = broker.connect();
        assert_eq!(member.beat(), ErrorCode::None, "it goes on where it was");
    }
    assert_eq!(describe(&mut wire, GROUP), before);
    assert_eq!(members.each_ref().map(|member| member.owned.clone()), owned);
    broker.stop();
}

#[test]
fn a_member_that_is_not_heard_of_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("group.consumer.min.session.timeout.ms", "300"),
        ("group.consumer.session.timeout.ms", "300"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "100"),
    ];
    let broker = LocalBroker::start(dir.path(), &settings);
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let mut member = Member::new(&broker, "one");
    assert_eq!(member.beat(), ErrorCode::None);
    eventually("its session ends", || {
        (&*describe(&mut wire, GROUP).group_state == "Empty").then_some(())
    });
    assert_eq!(member.beat(), ErrorCode::UnknownMemberId);
    broker.stop();
}

#[test]
fn groups_are_listed_by_their_type_and_described_by_their_own_request() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let mut member = Member::new(&broker, "one");
    assert_eq!(member.beat(), ErrorCode::None);
    let mut list = |filter: &'static str| {
        let types_filter = vec![filter.into()];
        let request = m::ListGroupsRequest { types_filter, ..Default::default() };
        wire.call(&request, 5).unwrap().groups
    };
    assert!(list("classic").is_empty());
    let listed = list("Consumer");
    assert_eq!((&*listed[0].group_id, &*listed[0].group_type), (GROUP, "consumer"));
    assert_eq!((&*listed[0].group_state, &*listed[0].protocol_type), ("Stable", "consumer"));

    let request = m::DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() };
    let described = &wire.call(&request, 6).unwrap().groups[0];
    assert_eq!(ErrorCode::from(described.error_code), ErrorCode::GroupIdNotFound);
    // Who is no consumer cannot come in, and does not hurt the group.
    let request = m::JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        protocol_type: "connect".into(),
        protocols: vec![Default::default()],
        ..Default::default()
    };
    let refused = wire.call(&request, 5).unwrap();
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(member.beat(), ErrorCode::None);
    broker.stop();
}

#[test]
fn members_of_both_protocols_share() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 4, &[]);
    let mut member = Member::new(&broker, "one");
    assert_eq!(member.beat(), ErrorCode::None);

    // A consumer of the classic protocol that had nothing before.
    let mut join = m::JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![m::join_group::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: bytes::Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff"),
            ..Default::default()
        }],
        ..Default::default()
    };
    let asked_for_id = wire.call(&join, 7).unwrap();
    assert_eq!(ErrorCode::from(asked_for_id.error_code), ErrorCode::MemberIdRequired);
    join.member_id = asked_for_id.member_id;
    let assignment = eventually("half of the partitions are given up", || {
        assert_eq!(member.beat(), ErrorCode::None);
        let joined = wire.call(&join, 7).unwrap();
        assert_eq!(ErrorCode::from(joined.error_code), ErrorCode::None);
        assert!(joined.members.is_empty(), "nobody leads but the broker");
        let sync = m::SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: joined.generation_id,
            member_id: join.member_id.clone(),
            protocol_type: joined.protocol_type,
            protocol_name: joined.protocol_name,
            ..Default::default()
        };
        let synced = wire.call(&sync, 5).unwrap();
        assert_eq!(ErrorCode::from(synced.error_code), ErrorCode::None);
        let heartbeat = m::HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: joined.generation_id,
            member_id: join.member_id.clone(),
            ..Default::default()
        };
        let code = wire.call(&heartbeat, 4).unwrap().error_code;
        (code == 0 && synced.assignment.len() > 16).then_some(synced.assignment)
    });
    assert_eq!(member.numbers().len(), 2);
    // Version 0, one topic, two partitions, no user data.
    assert_eq!(&assignment[..18], b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x02");
    let described = describe(&mut wire, GROUP);
    let types: Vec<i8> = described.members.iter().map(|it| it.member_type).collect();
    assert!(types.contains(&0) && types.contains(&1), "{types:?}");
    broker.stop();
}
