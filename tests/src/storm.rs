//! Made-up requests about groups: every API of the coordinator at every version, with fields that
//! are sometimes what a member would send and sometimes anything at all.
//!
//! A request is well-formed, so the broker must answer it: with any code but UNKNOWN_SERVER_ERROR,
//! which would be a case that nobody has thought of, and without ending the connection. Answers
//! that take long are left behind together with their connection, as by a client that crashed.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::arbitrary::{Arbitrary, Source, arbitrary};
use thalweg_protocol::messages::join_group::JoinGroupRequestProtocol;
use thalweg_protocol::messages::leave_group::MemberIdentity;
use thalweg_protocol::messages::sync_group::SyncGroupRequestAssignment;
use thalweg_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr, Request};

use crate::wire::Wire;

/// The groups that all requests are about, but for a few.
pub const GROUPS: [&str; 4] = ["red", "green", "blue", "grey"];
/// The topics that offsets are about, but for a few. They have partitions 0 to 2.
pub const TOPICS: [&str; 2] = ["apples", "pears"];
const INSTANCES: [&str; 2] = ["first", "second"];
/// Few, so that a group has members that are heard of more than once.
const MEMBERS_REMEMBERED: usize = 6;
/// A request that takes longer waits for others of its group.
const PATIENCE: Duration = Duration::from_millis(200);

/// A member that the broker has told of.
#[derive(Clone, Debug, Default)]
struct Seen {
    group: KafkaStr,
    member_id: KafkaStr,
    generation: i32,
}

/// A stream of requests that its seed decides, but for what the broker answers.
#[derive(Debug)]
pub struct Storm {
    address: SocketAddr,
    wire: Wire,
    source: Source,
    members: Vec<Seen>,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub answered: u64,
}

impl Storm {
    /// A storm of its own connection.
    ///
    /// # Panics
    /// If the broker takes no connection.
    pub fn new(address: SocketAddr, seed: u64) -> Storm {
        Storm {
            address,
            wire: connect(address),
            source: Source::new(seed),
            members: vec![Seen { group: GROUPS[0].into(), ..Seen::default() }],
            sent: 0,
            answered: 0,
        }
    }

    /// Sends one request.
    ///
    /// # Panics
    /// If the broker ends the connection, or answers with something that it must not.
    pub fn step(&mut self) {
        match self.source.below(21) {
            16..=19 => self.beat_as_consumer(),
            20 => self.describe_consumers(),
            0..=3 => self.join(),
            4..=6 => self.sync(),
            7..=8 => self.commit(),
            9 => self.beat(),
            10 => self.leave(),
            11 => self.fetch(),
            12 => self.describe(),
            13 => self.find(),
            14 => self.delete(),
            _ => self.send(|_, _: &mut ListGroupsRequest, _| {}, |it| vec![it.error_code]),
        }
    }

    fn join(&mut self) {
        let mut group = KafkaStr::default();
        let answer = self.call(|storm, request: &mut JoinGroupRequest, version| {
            let seen = storm.member();
            (request.group_id, request.member_id) = (seen.group, seen.member_id);
            if storm.source.one_in(3) {
                (request.group_id, request.member_id) = (storm.group(), KafkaStr::default());
            }
            group = request.group_id.clone();
            request.session_timeout_ms = match storm.source.below(12) {
                0 => storm.one_of(&[0, -1, i32::MAX, 1_800_001]),
                _ => 6_000,
            };
            request.rebalance_timeout_ms = match storm.source.below(40) {
                0 => storm.one_of(&[0, -1, i32::MAX, i32::MIN]),
                _ => storm.one_of(&[1, 5, 20]),
            };
            request.protocol_type = match storm.source.below(60) {
                0 => storm.text(&["connect", ""]),
                _ => "consumer".into(),
            };
            if version >= 5 {
                request.group_instance_id = storm.instance();
            }
            let protocols = if storm.source.one_in(12) { 0 } else { 1 + storm.source.below(2) };
            request.protocols = (0..protocols)
                .map(|_| JoinGroupRequestProtocol {
                    name: KafkaStr::copied_from(storm.one_of(&["range", "roundrobin", "range"])),
                    metadata: storm.subscription(),
                    ..JoinGroupRequestProtocol::default()
                })
                .collect();
        });
        let Some(answer) = answer else { return };
        self.judge("JoinGroup", [answer.error_code]);
        let (member_id, generation) = (answer.member_id, answer.generation_id);
        self.remember(Seen { group, member_id, generation });
    }

    /// KIP-848: joining, beating and leaving in one request.
    fn beat_as_consumer(&mut self) {
        let mut group = KafkaStr::default();
        let answer = self.call(|storm, request: &mut ConsumerGroupHeartbeatRequest, version| {
            let seen = storm.member();
            (request.group_id, request.member_id) = (seen.group, seen.member_id);
            request.member_epoch = match storm.source.below(4) {
                0 => storm.one_of(&[0, 0, -1, -2, i32::MIN]),
                _ => seen.generation,
            };
            request.instance_id = storm.instance();
            group = request.group_id.clone();
            if storm.source.one_in(20) {
                // Whatever was made up stays.
                return;
            }
            (request.rebalance_timeout_ms, request.server_assignor) = (20, None);
            request.subscribed_topic_names =
                storm.source.one_in(2).then(|| vec![storm.text(&TOPICS)]);
            if version >= 1 {
                let patterns = ["a.*", "[", "(a|b)*c", ""];
                request.subscribed_topic_regex =
                    storm.source.one_in(8).then(|| storm.text(&patterns));
            }
            if request.member_epoch == 0 {
                request.topic_partitions = Some(Vec::new());
            } else if storm.source.one_in(2) {
                request.topic_partitions = None;
            }
        });
        let Some(answer) = answer else { return };
        self.judge("ConsumerGroupHeartbeat", [answer.error_code]);
        let (member_id, generation) = (answer.member_id.unwrap_or_default(), answer.member_epoch);
        self.remember(Seen { group, member_id, generation });
    }

    fn describe_consumers(&mut self) {
        let fill = |storm: &mut Storm, request: &mut ConsumerGroupDescribeRequest, _| {
            request.group_ids.push(storm.group());
        };
        self.send(fill, |it| it.groups.iter().map(|group| group.error_code).collect());
    }

    fn remember(&mut self, seen: Seen) {
        if self.members.len() == MEMBERS_REMEMBERED {
            let at = self.source.below(MEMBERS_REMEMBERED);
            self.members.swap_remove(at);
        }
        self.members.push(seen);
    }

    fn sync(&mut self) {
        let fill = |storm: &mut Storm, request: &mut SyncGroupRequest, version| {
            let seen = storm.member();
            (request.group_id, request.member_id) = (seen.group, seen.member_id);
            request.generation_id = seen.generation;
            if version >= 3 {
                request.group_instance_id = storm.instance();
            }
            if version >= 5 && !storm.source.one_in(12) {
                request.protocol_type = Some("consumer".into());
                request.protocol_name = None;
            }
            request.assignments = (0..storm.source.below(3))
                .map(|_| SyncGroupRequestAssignment {
                    member_id: storm.member().member_id,
                    assignment: Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"),
                    ..SyncGroupRequestAssignment::default()
                })
                .collect();
        };
        self.send(fill, |it| vec![it.error_code]);
    }

    fn beat(&mut self) {
        let fill = |storm: &mut Storm, request: &mut HeartbeatRequest, _| {
            let seen = storm.member();
            (request.group_id, request.member_id) = (seen.group, seen.member_id);
            request.generation_id = seen.generation;
        };
        self.send(fill, |it| vec![it.error_code]);
    }

    fn commit(&mut self) {
        let fill = |storm: &mut Storm, request: &mut OffsetCommitRequest, version| {
            let seen = storm.member();
            (request.group_id, request.member_id) = (seen.group, seen.member_id);
            request.generation_id_or_member_epoch = seen.generation;
            if version >= 7 {
                request.group_instance_id = storm.instance();
            }
            for topic in &mut request.topics {
                topic.name = storm.text(&TOPICS);
                for partition in &mut topic.partitions {
                    partition.partition_index = storm.one_of(&[0, 1, 2, 2, 3, -1]);
                }
            }
        };
        self.send(fill, |it| {
            let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        });
    }

    fn leave(&mut self) {
        let fill = |storm: &mut Storm, request: &mut LeaveGroupRequest, version| {
            let seen = storm.member();
            request.group_id = seen.group.clone();
            if version < 3 {
                request.member_id = seen.member_id;
                return;
            }
            request.members = (0..storm.source.below(3))
                .map(|_| MemberIdentity {
                    member_id: storm.member().member_id,
                    group_instance_id: storm.instance(),
                    ..MemberIdentity::default()
                })
                .collect();
        };
        self.send(fill, |it| {
            let members = it.members.iter().map(|member| member.error_code);
            members.chain([it.error_code]).collect()
        });
    }

    fn fetch(&mut self) {
        let fill = |storm: &mut Storm, request: &mut OffsetFetchRequest, version| {
            if version < 8 {
                request.group_id = storm.group();
            }
            for group in &mut request.groups {
                group.group_id = storm.group();
            }
        };
        self.send(fill, |it| {
            let groups = it.groups.iter().map(|group| group.error_code);
            groups.chain([it.error_code]).collect()
        });
    }

    fn describe(&mut self) {
        let fill = |storm: &mut Storm, request: &mut DescribeGroupsRequest, _| {
            request.groups.push(storm.group());
        };
        self.send(fill, |it| it.groups.iter().map(|group| group.error_code).collect());
    }

    fn find(&mut self) {
        let fill = |storm: &mut Storm, request: &mut FindCoordinatorRequest, version| {
            if version < 4 {
                request.key = storm.group();
            }
            if version >= 1 {
                request.key_type = storm.one_of(&[0, 0, 1, 2, -1, 9]);
            }
        };
        self.send(fill, |it| {
            let found = it.coordinators.iter().map(|coordinator| coordinator.error_code);
            found.chain([it.error_code]).collect()
        });
    }

    /// Rarely: a group that is always deleted has no history.
    fn delete(&mut self) {
        if self.source.one_in(4) {
            let fill = |storm: &mut Storm, request: &mut DeleteGroupsRequest, _| {
                request.groups_names.push(storm.group());
            };
            self.send(fill, |it| it.results.iter().map(|result| result.error_code).collect());
        } else {
            let fill = |storm: &mut Storm, request: &mut OffsetDeleteRequest, _| {
                request.group_id = storm.group();
                for topic in &mut request.topics {
                    topic.name = storm.text(&TOPICS);
                }
            };
            self.send(fill, |it| {
                let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
                let partitions = partitions.map(|partition| partition.error_code);
                partitions.chain([it.error_code]).collect()
            });
        }
    }

    fn send<R: Request + Arbitrary>(
        &mut self,
        fill: impl FnOnce(&mut Storm, &mut R, i16),
        codes: impl FnOnce(R::Response) -> Vec<i16>,
    ) {
        if let Some(answer) = self.call(fill) {
            self.judge(R::NAME, codes(answer));
        }
    }

    /// The answer to a made-up request, unless it does not come soon.
    fn call<R: Request + Arbitrary>(
        &mut self,
        fill: impl FnOnce(&mut Storm, &mut R, i16),
    ) -> Option<R::Response> {
        let versions: Vec<i16> = R::VERSIONS.collect();
        let version = versions[self.source.below(versions.len())];
        let mut request: R = arbitrary(&mut self.source, version).expect("a version of its own");
        fill(self, &mut request, version);
        self.sent += 1;
        match self.wire.call(&request, version) {
            Ok(answer) => {
                self.answered += 1;
                Some(answer)
            }
            Err(error) if is_patience_over(&error) => {
                self.wire = connect(self.address);
                None
            }
            Err(error) => panic!("{} v{version} was not answered: {error}", R::NAME),
        }
    }

    fn judge(&self, api: &str, codes: impl IntoIterator<Item = i16>) {
        for code in codes {
            assert_ne!(ErrorCode::from(code), ErrorCode::UnknownServerError, "{api}");
        }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.source.below(choices.len())]
    }

    fn text(&mut self, choices: &[&str]) -> KafkaStr {
        if self.source.one_in(24) {
            return KafkaStr::from("anything else".to_owned());
        }
        KafkaStr::copied_from(self.one_of(choices))
    }

    fn group(&mut self) -> KafkaStr {
        if self.source.one_in(32) {
            return KafkaStr::default();
        }
        self.text(&GROUPS)
    }

    fn instance(&mut self) -> Option<KafkaStr> {
        self.source.one_in(12).then(|| self.text(&INSTANCES))
    }

    /// A member of one of the groups, sometimes with something wrong about it.
    fn member(&mut self) -> Seen {
        let mut seen = self.members[self.source.below(self.members.len())].clone();
        match self.source.below(24) {
            0 => seen.member_id = KafkaStr::default(),
            1 => seen.generation = seen.generation.wrapping_add(1),
            2 | 3 => seen.generation = -1,
            4 => seen.group = self.group(),
            _ => {}
        }
        seen
    }

    /// Now and then no subscription at all, but any bytes.
    fn subscription(&mut self) -> Bytes {
        if self.source.one_in(4) {
            let len = self.source.below(40);
            return (0..len).map(|_| self.source.next_u64().to_le_bytes()[0]).collect();
        }
        // Version 0, the topic "pears", no user data.
        Bytes::from_static(b"\0\0\0\0\0\x01\0\x05pears\xff\xff\xff\xff")
    }
}

fn connect(address: SocketAddr) -> Wire {
    let wire = Wire::connect(address).expect("the broker takes connections");
    wire.stream().set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    wire
}

fn is_patience_over(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
