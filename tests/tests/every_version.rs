//! Every API at every version that the broker advertises: a well-formed request about a topic that
//! is there and one that is not gets an answer that decodes at that version, with the right codes,
//! and the connection lives on. What is not advertised closes the connection.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use thalweg_protocol::messages as m;
use thalweg_protocol::messages::api_versions::ApiVersionsRequest;
use thalweg_protocol::{ApiKey, KafkaStr, Request, SERVED, TopicId};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::topic::{self, batch};
use thalweg_tests::wire::Wire;

const HERE: &str = "here";
const NOWHERE: &str = "nowhere";

const NONE: i16 = 0;
const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_MEMBER_ID: i16 = 25;
const UNSUPPORTED_VERSION: i16 = 35;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const GROUP_ID_NOT_FOUND: i16 = 69;
const MEMBER_ID_REQUIRED: i16 = 79;
const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
const UNKNOWN_TOPIC_ID: i16 = 100;
const ELECTION_NOT_NEEDED: i16 = 84;
const BROKER_ID_NOT_REGISTERED: i16 = 102;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

/// A connection to a broker with one topic, and a tally of what was tried on it.
struct Session {
    wire: Wire,
    topic: TopicId,
    tried: BTreeMap<ApiKey, Vec<i16>>,
}

impl Session {
    /// Sends `request` at every version, and compares the error codes that `codes` finds in the
    /// answer with the expected ones.
    fn probe<R: Request>(
        &mut self,
        request: impl Fn(i16) -> R,
        codes: impl Fn(&R::Response, i16) -> Vec<i16>,
        expected: impl Fn(i16) -> Vec<i16>,
    ) {
        for version in R::VERSIONS {
            let name = R::NAME;
            let response = self
                .wire
                .call(&request(version), version)
                .unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
            assert_eq!(codes(&response, version), expected(version), "{name} v{version}");
            self.tried.entry(R::API_KEY).or_default().push(version);
        }
    }
}

#[test]
fn every_version_of_every_api_is_answered_in_its_own_form() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("auto.create.topics.enable", "false"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.consumer.assignment.interval.ms", "0"),
    ];
    let broker = LocalBroker::start(dir.path(), &settings);
    let mut wire = broker.connect();
    let topic = topic::create(&mut wire, HERE, 1, &[]);
    let advertised = advertised(&mut wire);
    let mut session = Session { wire, topic, tried: BTreeMap::new() };
    records(&mut session);
    topics(&mut session);
    configs(&mut session);
    cluster(&mut session);
    replicas(&mut session);
    offsets(&mut session);
    members(&mut session);
    groups(&mut session);
    consumer_groups(&mut session);
    let tried = session.tried.into_iter().map(|(key, versions)| {
        (i16::from(key), versions[0]..=*versions.last().expect("at least one"))
    });
    assert_eq!(tried.collect::<BTreeMap<_, _>>(), advertised, "an API has no request here yet");
    broker.stop();
}

/// The ranges of versions that the broker says it serves.
fn advertised(wire: &mut Wire) -> BTreeMap<i16, RangeInclusive<i16>> {
    let response = wire.call(&ApiVersionsRequest::default(), 2).unwrap();
    assert_eq!(response.error_code, NONE);
    let keys = response.api_keys.iter();
    keys.map(|api| (api.api_key, api.min_version..=api.max_version)).collect()
}

fn here_and_nowhere() -> [KafkaStr; 2] {
    [HERE.into(), NOWHERE.into()]
}

fn unknown_by_name(_version: i16) -> Vec<i16> {
    vec![NONE, UNKNOWN_TOPIC]
}

fn records(session: &mut Session) {
    let id = session.topic;
    session.probe(
        |_| {
            let mut request = topic::produce_request(HERE, 0, batch(&["x"]), -1);
            let nowhere = topic::produce_request(NOWHERE, 0, batch(&["x"]), -1);
            request.topic_data[0].topic_id = id.0;
            request.topic_data.extend(nowhere.topic_data);
            request
        },
        |response: &m::ProduceResponse, _| {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
            partitions.map(|partition| partition.error_code).collect()
        },
        |version| match version {
            0..=2 => vec![UNSUPPORTED_VERSION, UNSUPPORTED_VERSION],
            3..=12 => vec![NONE, UNKNOWN_TOPIC],
            _ => vec![NONE, UNKNOWN_TOPIC_ID],
        },
    );
    session.probe(
        |_| {
            let mut request = topic::fetch_request(HERE, 0, 0);
            request.topics[0].topic_id = id.0;
            request.topics.extend(topic::fetch_request(NOWHERE, 0, 0).topics);
            request
        },
        |response: &m::FetchResponse, version| {
            let partitions = || response.responses.iter().flat_map(|topic| &topic.partitions);
            let records =
                partitions().map(|data| data.records.as_ref().map(|records| records.len()));
            let records: Vec<_> = records.collect();
            assert!(records[0] > Some(0), "v{version}: {records:?}");
            assert_eq!(records[1], Some(0), "v{version}");
            partitions().map(|partition| partition.error_code).collect()
        },
        |version| match version {
            4..=12 => vec![NONE, UNKNOWN_TOPIC],
            _ => vec![NONE, UNKNOWN_TOPIC_ID],
        },
    );
    session.probe(
        |_| m::ListOffsetsRequest {
            replica_id: -1,
            topics: here_and_nowhere()
                .map(|name| m::list_offsets::ListOffsetsTopic {
                    name,
                    partitions: vec![m::list_offsets::ListOffsetsPartition {
                        timestamp: topic::LATEST,
                        ..Default::default()
                    }],
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        unknown_by_name,
    );
    session.probe(
        |_| m::OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: here_and_nowhere()
                .map(|topic| m::offset_for_leader_epoch::OffsetForLeaderTopic {
                    topic,
                    partitions: vec![Default::default()],
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        unknown_by_name,
    );
    session.probe(
        |_| m::DeleteRecordsRequest {
            topics: here_and_nowhere()
                .map(|name| m::delete_records::DeleteRecordsTopic {
                    name,
                    partitions: vec![Default::default()],
                    ..Default::default()
                })
                .into(),
            timeout_ms: 10_000,
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        unknown_by_name,
    );
    session.probe(
        |_| m::InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        },
        |response, _| vec![response.error_code],
        |_| vec![NONE],
    );
    session.probe(
        |_| m::DescribeProducersRequest {
            topics: here_and_nowhere()
                .map(|name| m::describe_producers::TopicRequest {
                    name,
                    partition_indexes: vec![0],
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        unknown_by_name,
    );
}

fn topics(session: &mut Session) {
    session.probe(
        |version| m::MetadataRequest {
            topics: Some(
                here_and_nowhere()
                    .map(|name| m::metadata::MetadataRequestTopic {
                        name: Some(name),
                        ..Default::default()
                    })
                    .into(),
            ),
            allow_auto_topic_creation: version < 4,
            ..Default::default()
        },
        |response: &m::MetadataResponse, version| {
            assert_eq!(response.brokers.len(), 1, "v{version}");
            response.topics.iter().map(|topic| topic.error_code).collect()
        },
        unknown_by_name,
    );
    session.probe(
        |_| m::DescribeTopicPartitionsRequest {
            topics: here_and_nowhere()
                .map(|name| m::describe_topic_partitions::TopicRequest {
                    name,
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| response.topics.iter().map(|topic| topic.error_code).collect(),
        unknown_by_name,
    );
    let doomed = |version: i16| KafkaStr::from(format!("created-{version}"));
    session.probe(
        |version| m::CreateTopicsRequest {
            topics: [doomed(version), HERE.into()]
                .map(|name| m::create_topics::CreatableTopic {
                    name,
                    num_partitions: 1,
                    replication_factor: 1,
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| response.topics.iter().map(|topic| topic.error_code).collect(),
        |_| vec![NONE, TOPIC_ALREADY_EXISTS],
    );
    topic::create(&mut session.wire, &doomed(1), 1, &[]);
    session.probe(
        |version| {
            let names = [doomed(version), NOWHERE.into()];
            let by_name = |name| m::delete_topics::DeleteTopicState {
                name: Some(name),
                ..Default::default()
            };
            let mut request = m::DeleteTopicsRequest { timeout_ms: 10_000, ..Default::default() };
            match version {
                ..=5 => request.topic_names = names.into(),
                _ => request.topics = names.map(by_name).into(),
            }
            request
        },
        |response, _| response.responses.iter().map(|topic| topic.error_code).collect(),
        unknown_by_name,
    );
    session.probe(
        |_| m::CreatePartitionsRequest {
            topics: here_and_nowhere()
                .map(|name| m::create_partitions::CreatePartitionsTopic {
                    name,
                    count: 5,
                    assignments: None,
                    ..Default::default()
                })
                .into(),
            timeout_ms: 10_000,
            validate_only: true,
            ..Default::default()
        },
        |response, _| response.results.iter().map(|topic| topic.error_code).collect(),
        unknown_by_name,
    );
}

fn configs(session: &mut Session) {
    let resources = || {
        let topics = here_and_nowhere().map(|name| (RESOURCE_TOPIC, name));
        topics.into_iter().chain([(RESOURCE_BROKER, "1".into())])
    };
    session.probe(
        |version| m::DescribeConfigsRequest {
            resources: resources()
                .map(|(resource_type, resource_name)| {
                    m::describe_configs::DescribeConfigsResource {
                        resource_type,
                        resource_name,
                        configuration_keys: None,
                        ..Default::default()
                    }
                })
                .collect(),
            include_synonyms: true,
            include_documentation: version >= 3,
            ..Default::default()
        },
        |response, _| response.results.iter().map(|resource| resource.error_code).collect(),
        |_| vec![NONE, UNKNOWN_TOPIC, NONE],
    );
    session.probe(
        |_| m::AlterConfigsRequest {
            resources: resources()
                .map(|(resource_type, resource_name)| m::alter_configs::AlterConfigsResource {
                    resource_type,
                    resource_name,
                    ..Default::default()
                })
                .collect(),
            validate_only: true,
            ..Default::default()
        },
        |response, _| response.responses.iter().map(|resource| resource.error_code).collect(),
        |_| vec![NONE, UNKNOWN_TOPIC, NONE],
    );
    session.probe(
        |_| m::IncrementalAlterConfigsRequest {
            resources: resources()
                .map(|(resource_type, resource_name)| {
                    m::incremental_alter_configs::AlterConfigsResource {
                        resource_type,
                        resource_name,
                        ..Default::default()
                    }
                })
                .collect(),
            validate_only: true,
            ..Default::default()
        },
        |response, _| response.responses.iter().map(|resource| resource.error_code).collect(),
        |_| vec![NONE, UNKNOWN_TOPIC, NONE],
    );
    session.probe(
        |version| m::ListConfigResourcesRequest {
            resource_types: if version == 0 { Vec::new() } else { vec![RESOURCE_TOPIC] },
            ..Default::default()
        },
        |response: &m::ListConfigResourcesResponse, version| {
            let names = response.config_resources.iter().map(|resource| &resource.resource_name);
            let is_listed = names.into_iter().any(|name| *name == HERE);
            assert_eq!(is_listed, version > 0, "version 0 knows of client metrics only");
            vec![response.error_code]
        },
        |_| vec![NONE],
    );
}

fn cluster(session: &mut Session) {
    session.probe(
        |_| ApiVersionsRequest {
            client_software_name: "thalweg-tests".into(),
            client_software_version: "1".into(),
            ..Default::default()
        },
        |response, _| vec![response.error_code],
        |_| vec![NONE],
    );
    session.probe(
        |version| match version {
            ..=3 => m::FindCoordinatorRequest { key: "group".into(), ..Default::default() },
            _ => m::FindCoordinatorRequest {
                coordinator_keys: vec!["group".into(), "other".into()],
                ..Default::default()
            },
        },
        |response: &m::FindCoordinatorResponse, version| match version {
            ..=3 => vec![response.error_code],
            _ => response.coordinators.iter().map(|found| found.error_code).collect(),
        },
        |version| if version < 4 { vec![NONE] } else { vec![NONE, NONE] },
    );
    session.probe(
        |_| m::DescribeClusterRequest::default(),
        |response, _| vec![response.error_code],
        |_| vec![NONE],
    );
    session.probe(
        |_| m::DescribeLogDirsRequest {
            topics: Some(
                here_and_nowhere()
                    .map(|topic| m::describe_log_dirs::DescribableLogDirTopic {
                        topic,
                        partitions: vec![0],
                        ..Default::default()
                    })
                    .into(),
            ),
            ..Default::default()
        },
        |response, _| response.results.iter().map(|dir| dir.error_code).collect(),
        |_| vec![NONE],
    );
}

/// What one broker can be asked about its replicas.
fn replicas(session: &mut Session) {
    use m::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
    session.probe(
        |_| {
            // To where it is, to a broker that is not there, and nowhere.
            let targets = [Some(vec![1]), Some(vec![99]), None];
            let partitions: Vec<_> = targets
                .map(|replicas| ReassignablePartition { replicas, ..Default::default() })
                .into();
            m::AlterPartitionReassignmentsRequest {
                topics: here_and_nowhere()
                    .map(|name| ReassignableTopic {
                        name,
                        partitions: partitions.clone(),
                        ..Default::default()
                    })
                    .into(),
                ..Default::default()
            }
        },
        |response: &m::AlterPartitionReassignmentsResponse, _| {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        |_| {
            let here = [NONE, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS];
            [here, [UNKNOWN_TOPIC; 3]].concat()
        },
    );
    session.probe(
        |_| m::ListPartitionReassignmentsRequest::default(),
        |response: &m::ListPartitionReassignmentsResponse, version| {
            assert!(response.topics.is_empty(), "v{version}: nothing moves");
            vec![response.error_code]
        },
        |_| vec![NONE],
    );
    session.probe(
        |_| m::ElectLeadersRequest { topic_partitions: None, ..Default::default() },
        |response: &m::ElectLeadersResponse, _| {
            let topics = response.replica_election_results.iter();
            let outcomes = topics.flat_map(|topic| &topic.partition_result);
            let mut codes: Vec<_> = outcomes.map(|outcome| outcome.error_code).collect();
            codes.dedup();
            codes
        },
        |_| vec![ELECTION_NOT_NEEDED],
    );
    session.probe(
        |_| m::DescribeQuorumRequest {
            topics: vec![m::describe_quorum::RequestedTopic {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        },
        |response: &m::DescribeQuorumResponse, _| {
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.current_voters.len(), 1);
            assert_eq!(partition.leader_id, partition.current_voters[0].replica_id);
            vec![response.error_code, partition.error_code]
        },
        |_| vec![NONE, NONE],
    );
    session.probe(
        |_| m::UnregisterBrokerRequest { broker_id: 99, ..Default::default() },
        |response, _| vec![response.error_code],
        |_| vec![BROKER_ID_NOT_REGISTERED],
    );
}

/// A group without members that has committed offset 7 in `here`.
const READERS: &str = "readers";

fn offsets(session: &mut Session) {
    let id = session.topic;
    let of_version = |version: i16| match version {
        ..=9 => vec![NONE, UNKNOWN_TOPIC],
        _ => vec![NONE, UNKNOWN_TOPIC_ID],
    };
    session.probe(
        |_| m::OffsetCommitRequest {
            group_id: READERS.into(),
            topics: [(HERE, id.0), (NOWHERE, Default::default())]
                .map(|(name, topic_id)| m::offset_commit::OffsetCommitRequestTopic {
                    name: name.into(),
                    topic_id,
                    partitions: vec![m::offset_commit::OffsetCommitRequestPartition {
                        committed_offset: 7,
                        ..Default::default()
                    }],
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        of_version,
    );
    session.probe(
        |version| offset_fetch(version, id),
        |response: &m::OffsetFetchResponse, version| {
            let (offsets, codes) = fetched(response, version);
            assert_eq!(offsets, [7, -1], "v{version}");
            codes
        },
        |version| match version {
            ..=9 => vec![NONE, NONE],
            _ => vec![NONE, UNKNOWN_TOPIC_ID],
        },
    );
}

/// Asks for partition 0 of `here` and of `nowhere`.
fn offset_fetch(version: i16, here: TopicId) -> m::OffsetFetchRequest {
    if version < 8 {
        let topic = |name| m::offset_fetch::OffsetFetchRequestTopic {
            name,
            partition_indexes: vec![0],
            ..Default::default()
        };
        return m::OffsetFetchRequest {
            group_id: READERS.into(),
            topics: Some(here_and_nowhere().map(topic).into()),
            ..Default::default()
        };
    }
    let topic = |(name, topic_id)| m::offset_fetch::OffsetFetchRequestTopics {
        name,
        topic_id,
        partition_indexes: vec![0],
        ..Default::default()
    };
    let ids = [here.0, Default::default()];
    let topics = here_and_nowhere().into_iter().zip(ids).map(topic).collect();
    m::OffsetFetchRequest {
        groups: vec![m::offset_fetch::OffsetFetchRequestGroup {
            group_id: READERS.into(),
            topics: Some(topics),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetched(response: &m::OffsetFetchResponse, version: i16) -> (Vec<i64>, Vec<i16>) {
    if version < 8 {
        assert_eq!(response.error_code, NONE);
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        return partitions.map(|at| (at.committed_offset, at.error_code)).unzip();
    }
    assert_eq!(response.groups[0].error_code, NONE);
    let partitions = response.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|at| (at.committed_offset, at.error_code)).unzip()
}

fn members(session: &mut Session) {
    session.probe(
        |version| m::JoinGroupRequest {
            group_id: format!("joined-at-{version}").into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![m::join_group::JoinGroupRequestProtocol {
                name: "range".into(),
                ..Default::default()
            }],
            ..Default::default()
        },
        |response, version| {
            assert!(!response.member_id.is_empty(), "v{version}");
            assert_eq!(response.generation_id, if version < 4 { 1 } else { -1 }, "v{version}");
            vec![response.error_code]
        },
        |version| if version < 4 { vec![NONE] } else { vec![MEMBER_ID_REQUIRED] },
    );
    session.probe(
        |_| m::SyncGroupRequest {
            group_id: READERS.into(),
            member_id: "stranger".into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..Default::default()
        },
        |response, _| vec![response.error_code],
        |_| vec![UNKNOWN_MEMBER_ID],
    );
    session.probe(
        |_| m::HeartbeatRequest {
            group_id: READERS.into(),
            member_id: "stranger".into(),
            ..Default::default()
        },
        |response, _| vec![response.error_code],
        |_| vec![UNKNOWN_MEMBER_ID],
    );
    session.probe(
        |version| {
            let mut request =
                m::LeaveGroupRequest { group_id: READERS.into(), ..Default::default() };
            match version {
                ..=2 => request.member_id = "stranger".into(),
                _ => request.members.push(m::leave_group::MemberIdentity {
                    member_id: "stranger".into(),
                    ..Default::default()
                }),
            }
            request
        },
        |response, _| {
            let members = response.members.iter().map(|member| member.error_code);
            std::iter::once(response.error_code).chain(members).collect()
        },
        |version| match version {
            ..=2 => vec![UNKNOWN_MEMBER_ID],
            _ => vec![NONE, UNKNOWN_MEMBER_ID],
        },
    );
}

fn groups(session: &mut Session) {
    session.probe(
        |_| m::DescribeGroupsRequest {
            groups: vec![READERS.into(), NOWHERE.into()],
            ..Default::default()
        },
        |response: &m::DescribeGroupsResponse, version| {
            let states: Vec<_> = response.groups.iter().map(|it| it.group_state.as_str()).collect();
            assert_eq!(states, ["Empty", "Dead"], "v{version}");
            response.groups.iter().map(|group| group.error_code).collect()
        },
        |version| vec![NONE, if version < 6 { NONE } else { GROUP_ID_NOT_FOUND }],
    );
    session.probe(
        |version| m::ListGroupsRequest {
            states_filter: if version < 4 { Vec::new() } else { vec!["empty".into()] },
            types_filter: if version < 5 { Vec::new() } else { vec!["classic".into()] },
            ..Default::default()
        },
        |response: &m::ListGroupsResponse, version| {
            let mut groups = response.groups.iter();
            assert!(groups.any(|group| group.group_id == READERS), "v{version}");
            let joined = response.groups.iter().any(|group| group.group_id == "joined-at-3");
            assert_eq!(joined, version < 4, "v{version}: it has a member");
            vec![response.error_code]
        },
        |_| vec![NONE],
    );
    session.probe(
        |_| m::DeleteGroupsRequest { groups_names: vec![NOWHERE.into()], ..Default::default() },
        |response, _| response.results.iter().map(|group| group.error_code).collect(),
        |_| vec![GROUP_ID_NOT_FOUND],
    );
    session.probe(
        |_| m::OffsetDeleteRequest {
            group_id: READERS.into(),
            topics: here_and_nowhere()
                .map(|name| m::offset_delete::OffsetDeleteRequestTopic {
                    name,
                    partitions: vec![Default::default()],
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        },
        |response, _| {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        },
        unknown_by_name,
    );
}

/// A group of the consumer protocol whose members, one for each version, read `here`.
fn consumer_groups(session: &mut Session) {
    const SHARERS: &str = "sharers";
    session.probe(
        |version| m::ConsumerGroupHeartbeatRequest {
            group_id: SHARERS.into(),
            // At version 0 the broker makes up the id.
            member_id: if version == 0 { "" } else { "member" }.into(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec![HERE.into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        },
        |response: &m::ConsumerGroupHeartbeatResponse, version| {
            let id = response.member_id.as_deref().unwrap_or_default();
            assert_eq!(id == "member", version > 0, "v{version}: {id}");
            assert!(!id.is_empty() && response.assignment.is_some(), "v{version}");
            assert_eq!(
                (response.member_epoch, response.heartbeat_interval_ms),
                (i32::from(version) + 1, 5000)
            );
            vec![response.error_code]
        },
        |_| vec![NONE],
    );
    session.probe(
        |_| m::ConsumerGroupDescribeRequest {
            group_ids: vec![SHARERS.into(), NOWHERE.into(), READERS.into()],
            ..Default::default()
        },
        |response: &m::ConsumerGroupDescribeResponse, version| {
            let members = &response.groups[0].members;
            assert_eq!(members.len(), 2, "v{version}");
            let types = members.iter().map(|member| member.member_type);
            assert!(types.eq([if version == 0 { -1 } else { 1 }; 2]), "v{version}");
            response.groups.iter().map(|group| group.error_code).collect()
        },
        |_| vec![NONE, GROUP_ID_NOT_FOUND, GROUP_ID_NOT_FOUND],
    );
}

#[test]
fn a_later_api_versions_is_answered_as_version_0_and_the_connection_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    for version in [99, i16::MAX, -1] {
        // The body is of a version that does not exist, so it may be anything.
        wire.send_frame(&[&header(18, version, 4711), &b"from the future"[..]].concat()).unwrap();
        let response = wire.receive::<ApiVersionsRequest>(4711, 0).unwrap();
        assert_eq!(response.error_code, UNSUPPORTED_VERSION);
        let ranges = response.api_keys.iter();
        let ranges = ranges.map(|api| (api.api_key, api.min_version, api.max_version));
        assert_eq!(ranges.collect::<Vec<_>>(), [(18, 0, 4)]);
    }
    assert!(advertised(&mut wire).len() > 10);
    broker.stop();
}

#[test]
fn what_is_not_advertised_closes_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let advertised = advertised(&mut broker.connect());
    let mut unsupported = vec![(-1, 0), (4, 0), (999, 0), (i16::MAX, i16::MIN)];
    for (key, versions) in &advertised {
        if *key != i16::from(ApiKey::ApiVersions) {
            unsupported.extend([(*key, versions.start() - 1), (*key, versions.end() + 1)]);
        }
    }
    let silent = SERVED.iter().filter(|api| !advertised.contains_key(&api.key.into()));
    unsupported.extend(silent.map(|api| (i16::from(api.key), *api.versions.start())));
    for (key, version) in unsupported {
        let mut wire = broker.connect();
        wire.send_frame(&header(key, version, 1)).unwrap();
        wire.expect_close();
    }
    broker.stop();
}

/// A request header without client id and without tagged fields.
fn header(key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let no_client_id = (-1_i16).to_be_bytes();
    let (key, version) = (key.to_be_bytes(), version.to_be_bytes());
    [&key[..], &version, &correlation_id.to_be_bytes(), &no_client_id].concat()
}
