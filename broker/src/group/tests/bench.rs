//! A bench on which a test moves time, refuses writes and looks at every answer.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use crate::controller::image::Image;
use crate::group::classic::{Join, Leave, MemberInfo, Protocol, Sync};
use crate::group::groups::Groups;
use crate::group::offsets::{Commit, NewOffset};
use crate::group::turn::{Answer, Journal, Turn, Waiter};
use crate::group::{ConsumerSettings, GroupSettings};

pub(super) const GROUP: &str = "readers";
pub(super) const SESSION_MS: u64 = 10_000;
pub(super) const REBALANCE_MS: u64 = 60_000;
pub(super) const DELAY_MS: u64 = 3_000;
/// The time of day when the monotonic clock says 0.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Everything that was written, unless writing is refused.
#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    pub(super) refuse: Option<ErrorCode>,
}

impl Journal for Log {
    fn append(&mut self, records: &[Record]) -> Result<(), ErrorCode> {
        match self.refuse {
            Some(code) => Err(code),
            None => {
                self.records.extend_from_slice(records);
                Ok(())
            }
        }
    }
}

pub(super) struct Bench {
    pub(super) groups: Groups,
    pub(super) now_ms: u64,
    pub(super) settings: GroupSettings,
    pub(super) image: Image,
    pub(super) log: Log,
    last_waiter: u64,
    unanswered: HashSet<Waiter>,
    answers: HashMap<Waiter, Answer>,
}

/// A dynamic member that comes without an id and knows `range`.
pub(super) fn joining() -> Join {
    Join {
        member_id: KafkaStr::default(),
        new_member_id: KafkaStr::default(),
        protocol_type: "consumer".into(),
        asks_for_id_first: false,
        can_skip_assignment: true,
        reason: None,
        info: MemberInfo {
            instance_id: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: i32::try_from(REBALANCE_MS).unwrap(),
            session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
            protocols: knowing(&["range"]),
        },
    }
}

/// A member that is to be `id`.
pub(super) fn joining_as(id: &str) -> Join {
    Join { new_member_id: KafkaStr::copied_from(id), ..joining() }
}

/// A member that has `id` and joins again.
pub(super) fn rejoining(id: &str) -> Join {
    Join { member_id: KafkaStr::copied_from(id), ..joining() }
}

/// A static member called `name` that is to be `id`.
pub(super) fn joining_statically(name: &str, id: &str) -> Join {
    let mut join = joining_as(id);
    join.info.instance_id = Some(KafkaStr::copied_from(name));
    join
}

/// These strategies, each with the metadata of a consumer of `orders`.
pub(super) fn knowing(names: &[&str]) -> Vec<Protocol> {
    let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff");
    let protocol =
        |name: &&str| Protocol { name: KafkaStr::copied_from(name), metadata: metadata.clone() };
    names.iter().map(protocol).collect()
}

/// A commit of `offset` in partition 0 of `orders`.
pub(super) fn commit(member_id: &str, generation: i32, offset: i64) -> Commit {
    Commit {
        group_id: GROUP.into(),
        member_id: KafkaStr::copied_from(member_id),
        instance_id: None,
        generation,
        version: 9,
        offsets: vec![NewOffset {
            topic: "orders".into(),
            topic_id: Uuid::nil(),
            partition: 0,
            offset,
            leader_epoch: 4,
            metadata: "note".into(),
            retention_ms: -1,
        }],
    }
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench {
            groups: Groups::default(),
            now_ms: 0,
            settings: GroupSettings {
                session_timeout_ms_min: 6_000,
                session_timeout_ms_max: 1_800_000,
                initial_rebalance_delay_ms: DELAY_MS,
                members_max: 1000,
                offset_metadata_bytes_max: 4096,
                offsets_retention_ms: 1_000_000,
                offsets_retention_check_interval_ms: 600_000,
                offsets_topic_partitions: 16,
                offsets_topic_replication_factor: 1,
                offsets_topic_segment_bytes: 100 << 20,
                consumer: ConsumerSettings::default(),
            },
            image: Image::default(),
            log: Log::default(),
            last_waiter: 0,
            unanswered: HashSet::new(),
            answers: HashMap::new(),
        }
    }

    pub(super) fn turn<R>(&mut self, work: impl FnOnce(&mut Groups, &mut Turn<'_>) -> R) -> R {
        let mut turn = Turn {
            now_ms: self.now_ms,
            wall_ms: EPOCH_MS + i64::try_from(self.now_ms).unwrap(),
            settings: &self.settings,
            image: &self.image,
            journal: &mut self.log,
            answers: Vec::new(),
        };
        let result = work(&mut self.groups, &mut turn);
        for (waiter, answer) in turn.answers {
            assert!(self.unanswered.remove(&waiter), "{waiter:?} is answered twice: {answer:?}");
            self.answers.insert(waiter, answer);
        }
        result
    }

    fn waiter(&mut self) -> Waiter {
        self.last_waiter += 1;
        let waiter = Waiter(self.last_waiter);
        self.unanswered.insert(waiter);
        waiter
    }

    pub(super) fn join(&mut self, join: Join) -> Waiter {
        let waiter = self.waiter();
        self.turn(|groups, turn| groups.join(&GROUP.into(), join, waiter, turn));
        waiter
    }

    /// Joins with a request that is answered at once.
    pub(super) fn join_now(&mut self, join: Join) -> JoinGroupResponse {
        let waiter = self.join(join);
        self.joined(waiter).expect("answered at once")
    }

    pub(super) fn sync(
        &mut self,
        member_id: &str,
        generation: i32,
        parts: &[(&str, &str)],
    ) -> Waiter {
        self.sync_with(&Sync {
            member_id: KafkaStr::copied_from(member_id),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments: parts
                .iter()
                .map(|(id, part)| {
                    (KafkaStr::copied_from(id), Bytes::copy_from_slice(part.as_bytes()))
                })
                .collect(),
        })
    }

    pub(super) fn sync_with(&mut self, sync: &Sync) -> Waiter {
        let waiter = self.waiter();
        self.turn(|groups, turn| groups.sync(&GROUP.into(), sync, waiter, turn));
        waiter
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), ErrorCode> {
        let member_id = KafkaStr::copied_from(member_id);
        self.turn(|groups, turn| {
            groups.heartbeat(&GROUP.into(), &member_id, None, generation, turn)
        })
    }

    pub(super) fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
        let leave = Leave {
            member_id: KafkaStr::copied_from(member_id),
            instance_id: instance_id.map(KafkaStr::copied_from),
            reason: None,
        };
        let outcome = self.turn(|groups, turn| groups.leave(&GROUP.into(), &[leave], turn));
        outcome.map_or_else(|code| code, |codes| codes[0])
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Result<Vec<ErrorCode>, ErrorCode> {
        self.turn(|groups, turn| groups.commit(commit, turn))
    }

    /// Lets `ms` pass, doing what is due when it is due.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(next) = self.next_deadline().filter(|next| *next <= end) {
            self.now_ms = self.now_ms.max(next);
            self.turn(|groups, turn| groups.on_time(&GROUP.into(), turn));
        }
        self.now_ms = end;
    }

    fn next_deadline(&self) -> Option<u64> {
        self.groups.get(GROUP)?.next_deadline()
    }

    pub(super) fn joined(&self, waiter: Waiter) -> Option<JoinGroupResponse> {
        match self.answers.get(&waiter)? {
            Answer::Join(response) => Some(response.clone()),
            Answer::Sync(_) => panic!("a JoinGroup was answered as a SyncGroup"),
        }
    }

    pub(super) fn synced(&self, waiter: Waiter) -> Option<SyncGroupResponse> {
        match self.answers.get(&waiter)? {
            Answer::Sync(response) => Some(response.clone()),
            Answer::Join(_) => panic!("a SyncGroup was answered as a JoinGroup"),
        }
    }

    /// The coordinator is gone, and everyone who waited has been told so.
    pub(super) fn forget_waiters(&mut self) {
        self.unanswered.clear();
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    pub(super) fn state(&self) -> String {
        let described = self.groups.describe(GROUP);
        described.map_or("Dead".to_owned(), |group| group.group_state.to_string())
    }

    /// Makes `ids` the members of a stable group, the first one leading, and returns its
    /// generation. Every member is assigned its own id.
    pub(super) fn settle(&mut self, joins: Vec<Join>) -> i32 {
        let ids: Vec<KafkaStr> = joins.iter().map(|join| join.new_member_id.clone()).collect();
        let waiters: Vec<Waiter> = joins.into_iter().map(|join| self.join(join)).collect();
        self.pass_ms(REBALANCE_MS.min(DELAY_MS * 2));
        let generation = self.joined(waiters[0]).expect("joined in time").generation_id;
        let parts: Vec<(&str, &str)> = ids.iter().map(|id| (&**id, &**id)).collect();
        let synced: Vec<Waiter> = ids.iter().map(|id| self.sync(id, generation, &parts)).collect();
        for (id, waiter) in ids.iter().zip(synced) {
            assert_eq!(self.synced(waiter).expect("synced").assignment, id.as_bytes());
        }
        assert_eq!(self.state(), "Stable");
        generation
    }

    /// What a coordinator that loads the log would have.
    pub(super) fn replayed(&self) -> Groups {
        let mut groups = Groups::default();
        for record in &self.log.records {
            let (key, value) = (record.key_bytes().unwrap(), record.value_bytes().unwrap());
            let record = Record::parse(key, value).unwrap().expect("a kind that we know");
            groups.replay(&record);
        }
        groups
    }
}
