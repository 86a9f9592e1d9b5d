//! Classic consumer groups of a whole broker, over sockets: members come to an assignment, offsets
//! and generations outlive the broker, and many members and many groups are only more of the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thalweg_protocol::messages as m;
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Request};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::topic;
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const GROUP: &str = "readers";
const TOPIC: &str = "orders";
const JOIN: i16 = 7;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const COMMIT: i16 = 9;
const FETCH: i16 = 9;

fn start(dir: &Path) -> LocalBroker {
    LocalBroker::start(dir, &[("group.initial.rebalance.delay.ms", "200")])
}

/// A member with a connection of its own.
struct Member {
    wire: Wire,
    id: KafkaStr,
    instance_id: Option<KafkaStr>,
    generation: i32,
}

impl Member {
    fn new(broker: &LocalBroker) -> Member {
        Member {
            wire: broker.connect(),
            id: KafkaStr::default(),
            instance_id: None,
            generation: -1,
        }
    }

    fn called(broker: &LocalBroker, name: &str) -> Member {
        Member { instance_id: Some(KafkaStr::copied_from(name)), ..Member::new(broker) }
    }

    /// Sends JoinGroup and returns without an answer.
    fn ask_to_join(&mut self) -> i32 {
        let request = m::JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 60_000,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![m::join_group::JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff"),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.wire.send(&request, JOIN).unwrap()
    }

    fn joined(&mut self, asked: i32) -> m::JoinGroupResponse {
        let response = self.wire.receive::<m::JoinGroupRequest>(asked, JOIN).unwrap();
        self.id = response.member_id.clone();
        self.generation = response.generation_id;
        response
    }

    /// Gets itself an id, so that `ask_to_join` is the request that is waited with.
    fn get_id(&mut self) {
        let asked = self.ask_to_join();
        let code = ErrorCode::from(self.joined(asked).error_code);
        assert_eq!(code, ErrorCode::MemberIdRequired, "a first join is given an id (KIP-394)");
    }

    fn ask_to_sync(&mut self, parts: &[(KafkaStr, String)]) -> i32 {
        let assignment =
            |(id, part): &(KafkaStr, String)| m::sync_group::SyncGroupRequestAssignment {
                member_id: id.clone(),
                assignment: part.clone().into(),
                ..Default::default()
            };
        let request = m::SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: parts.iter().map(assignment).collect(),
            ..Default::default()
        };
        self.wire.send(&request, SYNC).unwrap()
    }

    fn synced(&mut self, asked: i32) -> m::SyncGroupResponse {
        self.wire.receive::<m::SyncGroupRequest>(asked, SYNC).unwrap()
    }

    fn heartbeat(&mut self) -> ErrorCode {
        let request = m::HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            ..Default::default()
        };
        settled(|| self.wire.call(&request, HEARTBEAT).unwrap().error_code)
    }

    fn commit(&mut self, offset: i64) -> ErrorCode {
        let mut request = commit_request(GROUP, offset);
        request.generation_id_or_member_epoch = self.generation;
        request.member_id = self.id.clone();
        request.group_instance_id = self.instance_id.clone();
        settled(|| {
            let response = self.wire.call(&request, COMMIT).unwrap();
            response.topics[0].partitions[0].error_code
        })
    }
}

/// Asks again while the coordinator says that it is not there yet.
fn settled(mut ask: impl FnMut() -> i16) -> ErrorCode {
    eventually("the coordinator answers", || {
        let code = ErrorCode::from(ask());
        let waiting = [
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
        ];
        (!waiting.contains(&code)).then_some(code)
    })
}

fn commit_request(group: &str, offset: i64) -> m::OffsetCommitRequest {
    m::OffsetCommitRequest {
        group_id: KafkaStr::copied_from(group),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                committed_leader_epoch: 3,
                committed_metadata: Some("a note".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request(groups: impl IntoIterator<Item = String>) -> m::OffsetFetchRequest {
    let group = |group: String| m::offset_fetch::OffsetFetchRequestGroup {
        group_id: group.into(),
        topics: None,
        ..Default::default()
    };
    m::OffsetFetchRequest { groups: groups.into_iter().map(group).collect(), ..Default::default() }
}

/// The offsets that a group has, with their notes.
fn offsets(wire: &mut Wire, group: &str) -> Vec<(i64, i32, String)> {
    let request = fetch_request([group.to_owned()]);
    let mut found = Vec::new();
    let code = settled(|| {
        let response = wire.call(&request, FETCH).unwrap();
        let partitions = response.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
        found = partitions
            .map(|at| {
                let note = at.metadata.as_deref().unwrap_or_default().to_owned();
                (at.committed_offset, at.committed_leader_epoch, note)
            })
            .collect();
        response.groups[0].error_code
    });
    assert_eq!(code, ErrorCode::None);
    found
}

fn describe(wire: &mut Wire) -> m::describe_groups::DescribedGroup {
    let request = m::DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() };
    let mut groups = wire.call(&request, 5).unwrap().groups;
    groups.pop().expect("one group asked, one described")
}

/// Joins and syncs all of these together; the first answer's leader assigns everyone its own id.
fn settle(members: &mut [Member]) {
    for member in members.iter_mut().filter(|member| member.instance_id.is_none()) {
        if member.id.is_empty() {
            member.get_id();
        }
    }
    let asked: Vec<i32> = members.iter_mut().map(Member::ask_to_join).collect();
    let joined: Vec<_> =
        members.iter_mut().zip(asked).map(|(member, asked)| member.joined(asked)).collect();
    let generations: BTreeSet<i32> = joined.iter().map(|joined| joined.generation_id).collect();
    assert_eq!(generations.len(), 1, "one generation for all: {generations:?}");
    let leaders: BTreeSet<_> = joined.iter().map(|joined| joined.leader.clone()).collect();
    assert_eq!(leaders.len(), 1, "one leader for all: {leaders:?}");
    let told = joined.iter().find(|joined| !joined.members.is_empty()).expect("a leader");
    assert_eq!((&told.member_id, told.members.len()), (&told.leader, members.len()));
    let parts: Vec<_> =
        told.members.iter().map(|it| (it.member_id.clone(), it.member_id.to_string())).collect();
    let asked: Vec<i32> = members
        .iter_mut()
        .map(|member| {
            let leads = leaders.contains(&member.id);
            member.ask_to_sync(if leads { &parts } else { &[] })
        })
        .collect();
    for (member, asked) in members.iter_mut().zip(asked) {
        let synced = member.synced(asked);
        assert_eq!(ErrorCode::from(synced.error_code), ErrorCode::None);
        assert_eq!(synced.assignment, member.id.as_bytes(), "everyone gets its own part");
    }
}

#[test]
fn members_share_commit_leave_and_share_again() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    topic::create(&mut broker.connect(), TOPIC, 4, &[]);
    let mut members = vec![Member::new(&broker), Member::new(&broker), Member::new(&broker)];
    settle(&mut members);
    for member in &mut members {
        assert_eq!(member.heartbeat(), ErrorCode::None);
    }
    assert_eq!(members[1].commit(42), ErrorCode::None);
    assert_eq!(offsets(&mut broker.connect(), GROUP), [(42, 3, "a note".to_owned())]);
    let described = describe(&mut broker.connect());
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", 3));
    assert_eq!(&*described.members[0].client_id, "thalweg-tests");
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");

    let mut gone = members.pop().unwrap();
    let leave = m::LeaveGroupRequest {
        group_id: GROUP.into(),
        members: vec![m::leave_group::MemberIdentity {
            member_id: gone.id.clone(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let left = gone.wire.call(&leave, 5).unwrap();
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(gone.heartbeat(), ErrorCode::UnknownMemberId);
    assert_eq!(members[0].heartbeat(), ErrorCode::RebalanceInProgress);
    settle(&mut members);
    assert_eq!(members[0].generation, 2);
    broker.stop();
}

#[test]
fn a_restarted_broker_knows_generations_members_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    topic::create(&mut broker.connect(), TOPIC, 1, &[]);
    let mut members = vec![Member::called(&broker, "one"), Member::new(&broker)];
    settle(&mut members);
    assert_eq!(members[1].commit(41), ErrorCode::None);
    assert_eq!(members[1].commit(42), ErrorCode::None);
    broker.stop();

    let broker = start(dir.path());
    for member in &mut members {
        member.wire = broker.connect();
        assert_eq!(member.heartbeat(), ErrorCode::None, "the generation goes on");
    }
    assert_eq!(offsets(&mut broker.connect(), GROUP), [(42, 3, "a note".to_owned())]);
    // A static member (KIP-345) comes back without disturbing anyone.
    let mut back = Member::called(&broker, "one");
    let asked = back.ask_to_join();
    assert_eq!(back.joined(asked).generation_id, members[1].generation);
    assert_eq!(members[0].heartbeat(), ErrorCode::FencedInstanceId);
    assert_eq!(members[1].heartbeat(), ErrorCode::None);
    let asked = back.ask_to_sync(&[]);
    assert_eq!(back.synced(asked).assignment, members[0].id.as_bytes());
    broker.stop();

    let broker = start(dir.path());
    back.wire = broker.connect();
    assert_eq!(back.heartbeat(), ErrorCode::None, "its new id is known, too");
    broker.stop();
}

#[test]
fn a_member_whose_connection_vanished_while_joining_does_not_hold_the_group_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut member = Member::new(&broker);
    member.get_id();
    member.ask_to_join();
    let mut wire = broker.connect();
    eventually("it waits", || (describe(&mut wire).members.len() == 1).then_some(()));
    // The connection goes; the client comes back with the id it has and asks again.
    let mut again = Member { id: member.id.clone(), ..Member::new(&broker) };
    drop(member);
    settle(std::slice::from_mut(&mut again));
    assert_eq!(describe(&mut broker.connect()).members.len(), 1);
    broker.stop();
}

#[test]
fn a_broker_that_stops_sends_away_members_that_wait_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("group.initial.rebalance.delay.ms", "3600000")];
    let broker = LocalBroker::start(dir.path(), &settings);
    let mut member = Member::new(&broker);
    member.get_id();
    let asked = member.ask_to_join();
    let mut wire = broker.connect();
    eventually("it waits", || (describe(&mut wire).members.len() == 1).then_some(()));
    drop(wire);
    broker.stop();
    let told = member.wire.receive::<m::JoinGroupRequest>(asked, JOIN).unwrap();
    assert_eq!(ErrorCode::from(told.error_code), ErrorCode::NotCoordinator);
}

#[test]
fn a_thousand_members_settle() {
    const MEMBERS: usize = 1000;
    thalweg_tests::broker::allow_open_files(8192).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[("group.initial.rebalance.delay.ms", "1000")]);
    let mut members: Vec<Member> = (0..MEMBERS).map(|_| Member::new(&broker)).collect();
    settle(&mut members);
    assert!(members.iter_mut().all(|member| member.heartbeat() == ErrorCode::None));
    let described = describe(&mut broker.connect());
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", MEMBERS));
    broker.stop();
}

/// Sends many requests on one connection, some ahead of their answers.
fn pipelined<R: Request>(
    wire: &mut Wire,
    version: i16,
    requests: impl Iterator<Item = R>,
    mut check: impl FnMut(R::Response),
) {
    let mut sent = std::collections::VecDeque::new();
    for request in requests {
        sent.push_back(wire.send(&request, version).unwrap());
        if sent.len() == 50 {
            let id = sent.pop_front().unwrap();
            check(wire.receive::<R>(id, version).unwrap());
        }
    }
    for id in sent {
        check(wire.receive::<R>(id, version).unwrap());
    }
}

#[test]
fn ten_thousand_groups_are_loaded() {
    const GROUPS: usize = 10_000;
    let name = |n: usize| format!("group-{n}");
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    assert_eq!(offsets(&mut wire, "nobody"), [], "makes the topic");
    let commits = (0..GROUPS).map(|n| commit_request(&name(n), i64::try_from(n).unwrap()));
    pipelined(&mut wire, COMMIT, commits, |response| {
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    });
    broker.stop();

    let broker = start(dir.path());
    let mut wire = broker.connect();
    for n in (0..GROUPS).step_by(16) {
        assert_eq!(offsets(&mut wire, &name(n))[0].0, i64::try_from(n).unwrap());
    }
    let every = m::ListGroupsRequest::default();
    assert_eq!(wire.call(&every, 4).unwrap().groups.len(), GROUPS);
    let request = fetch_request((0..GROUPS).map(name));
    for (n, group) in wire.call(&request, FETCH).unwrap().groups.into_iter().enumerate() {
        let offset = group.topics[0].partitions[0].committed_offset;
        assert_eq!((group.error_code, offset), (0, i64::try_from(n).unwrap()));
    }
    broker.stop();
}

/// The largest log of the offsets topic: that of the one group's partition.
fn offsets_log(dir: &Path) -> PathBuf {
    let logs = fs::read_dir(dir.join("topics")).unwrap().flat_map(|topic| {
        let partitions = fs::read_dir(topic.unwrap().path()).unwrap();
        partitions.flat_map(|partition| fs::read_dir(partition.unwrap().path()).unwrap())
    });
    let logs = logs.map(|file| file.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Flips a bit in the metadata of the group's first commit.
fn damage(log: &Path) {
    let mut bytes = fs::read(log).unwrap();
    let at = bytes.windows(7).position(|bytes| bytes == b"flip me").expect("the metadata");
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
}

#[test]
fn groups_whose_log_is_damaged_are_not_served_as_if_they_had_no_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let mut request = commit_request(GROUP, 7);
    request.topics[0].partitions[0].committed_metadata = Some("flip me".into());
    let mut commit = || wire.call(&request, COMMIT).unwrap();
    let code = settled(|| commit().topics[0].partitions[0].error_code);
    assert_eq!(code, ErrorCode::None);
    drop(wire);
    broker.stop();

    let log = offsets_log(dir.path());
    let sound = fs::read(&log).unwrap();
    damage(&log);
    let broker = start(dir.path());
    let mut wire = broker.connect();
    let asked = || fetch_request([GROUP.to_owned()]);
    for _ in 0..3 {
        let answer = wire.call(&asked(), FETCH).unwrap();
        let code = ErrorCode::from(answer.groups[0].error_code);
        assert_eq!(code, ErrorCode::CoordinatorLoadInProgress, "clients ask again");
    }
    let heartbeat = m::HeartbeatRequest { group_id: GROUP.into(), ..Default::default() };
    let beaten = wire.call(&heartbeat, HEARTBEAT).unwrap();
    assert_eq!(ErrorCode::from(beaten.error_code), ErrorCode::None, "nobody is sent away by it");
    drop(wire);
    broker.stop();

    fs::write(&log, sound).unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    let code = settled(|| wire.call(&asked(), FETCH).unwrap().groups[0].error_code);
    assert_eq!(code, ErrorCode::None);
    assert_eq!(offsets(&mut wire, GROUP)[0].0, 7);
    broker.stop();
}

#[test]
fn a_group_and_its_offsets_can_be_deleted_and_go_with_their_topic() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let commit = |wire: &mut Wire, group: &str| {
        let response = wire.call(&commit_request(group, 7), COMMIT).unwrap();
        response.topics[0].partitions[0].error_code
    };
    for group in ["a", "b"] {
        assert_eq!(settled(|| commit(&mut wire, group)), ErrorCode::None);
    }
    let mut member = Member::new(&broker);
    settle(std::slice::from_mut(&mut member));
    let delete = m::DeleteGroupsRequest {
        groups_names: vec!["a".into(), GROUP.into(), "nobody".into()],
        ..Default::default()
    };
    let deleted = wire.call(&delete, 2).unwrap().results;
    let codes: Vec<_> = deleted.iter().map(|it| ErrorCode::from(it.error_code)).collect();
    let (live, absent) = (ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound);
    assert_eq!(codes, [ErrorCode::None, live, absent], "only empty groups are deleted (KIP-229)");
    assert_eq!(offsets(&mut wire, "a"), []);

    let request = m::DeleteTopicsRequest {
        topic_names: vec![TOPIC.into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(wire.call(&request, 5).unwrap().responses[0].error_code, 0);
    eventually("the offsets go", || offsets(&mut wire, "b").is_empty().then_some(()));
    broker.stop();
}

#[test]
fn clients_see_the_offsets_topic_and_cannot_write_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let mut commit = || wire.call(&commit_request(GROUP, 7), COMMIT).unwrap();
    let code = settled(|| commit().topics[0].partitions[0].error_code);
    assert_eq!(code, ErrorCode::None);
    const OFFSETS: &str = "__consumer_offsets";
    let metadata = wire.call(&m::MetadataRequest { topics: None, ..Default::default() }, 9);
    let metadata = metadata.unwrap();
    let mut topics = metadata.topics.iter();
    let offsets = topics.find(|it| it.name.as_deref() == Some(OFFSETS)).expect("it is listed");
    assert_eq!((offsets.is_internal, offsets.partitions.len()), (true, 16));

    let more = m::CreatePartitionsRequest {
        topics: vec![m::create_partitions::CreatePartitionsTopic {
            name: OFFSETS.into(),
            count: 50,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let refused = wire.call(&more, 3).unwrap();
    let code = ErrorCode::from(refused.results[0].error_code);
    assert_eq!(code, ErrorCode::InvalidTopicException, "every group would be elsewhere");

    let request = topic::produce_request(OFFSETS, 0, topic::batch(&["x"]), -1);
    let produced = wire.call(&request, 9).unwrap();
    let code = ErrorCode::from(produced.responses[0].partition_responses[0].error_code);
    assert_eq!(code, ErrorCode::InvalidTopicException);
    let delete = m::DeleteRecordsRequest {
        topics: vec![m::delete_records::DeleteRecordsTopic {
            name: OFFSETS.into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let deleted = wire.call(&delete, 2).unwrap();
    let code = ErrorCode::from(deleted.topics[0].partitions[0].error_code);
    assert_eq!(code, ErrorCode::InvalidTopicException);
    // A lag exporter reads it: one record, with a key that begins with Kafka's number 1.
    let batches: usize = (0..16)
        .map(|partition| {
            let fetch = topic::fetch_request(OFFSETS, partition, 0);
            let fetched = wire.call(&fetch, 11).unwrap();
            let records = fetched.responses[0].partitions[0].records.clone();
            usize::from(records.is_some_and(|records| !records.is_empty()))
        })
        .sum();
    assert_eq!(batches, 1);
    broker.stop();
}

#[test]
fn whoever_makes_the_offsets_topic_makes_it_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut wire = broker.connect();
    let by_name = |name: &str| m::MetadataRequest {
        topics: Some(vec![m::metadata::MetadataRequestTopic {
            name: Some(KafkaStr::copied_from(name)),
            ..Default::default()
        }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let transactions = wire.call(&by_name("__transaction_state"), 9).unwrap();
    let code = ErrorCode::from(transactions.topics[0].error_code);
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
    // A lag exporter may well ask before any group does.
    let offsets = eventually("the topic is there", || {
        let metadata = wire.call(&by_name("__consumer_offsets"), 9).unwrap();
        metadata.topics.into_iter().next().filter(|topic| topic.error_code == 0)
    });
    assert_eq!(offsets.partitions.len(), 16);
    let describe = m::DescribeConfigsRequest {
        resources: vec![m::describe_configs::DescribeConfigsResource {
            resource_type: 2,
            resource_name: "__consumer_offsets".into(),
            configuration_keys: Some(vec!["cleanup.policy".into(), "write.caching".into()]),
            ..Default::default()
        }],
        ..Default::default()
    };
    let described = wire.call(&describe, 4).unwrap();
    let configs = described.results[0].configs.iter();
    let values: Vec<_> =
        configs.map(|config| config.value.as_ref().map(ToString::to_string)).collect();
    assert_eq!(values, [Some("compact".to_owned()), Some("false".to_owned())]);
    broker.stop();
}

#[test]
fn hostile_values_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut member = Member::new(&broker);
    settle(std::slice::from_mut(&mut member));
    let mut wire = broker.connect();
    for (group, timeout, code) in [
        ("", 30_000, ErrorCode::InvalidGroupId),
        (GROUP, 5_999, ErrorCode::InvalidSessionTimeout),
        (GROUP, 1_800_001, ErrorCode::InvalidSessionTimeout),
        (GROUP, i32::MIN, ErrorCode::InvalidSessionTimeout),
    ] {
        let request = m::JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: timeout,
            ..Default::default()
        };
        let refused = wire.call(&request, JOIN).unwrap();
        assert_eq!(ErrorCode::from(refused.error_code), code, "{group:?} {timeout}");
    }
    assert_eq!(member.heartbeat(), ErrorCode::None);
    broker.stop();
}
