//! Members of both protocols in one group, and groups that go from one to the other.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::world::{Client, Log, settings};
use crate::controller::apply::apply;
use crate::controller::assignment::Assignment;
use crate::controller::command::Command;
use crate::controller::image::Image;
use crate::group::GroupSettings;
use crate::group::classic::{Join, Leave, MemberInfo, Protocol, Sync};
use crate::group::consumer::Heartbeat;
use crate::group::groups::{GroupKind, Groups};
use crate::group::turn::{Answer, Turn, Waiter};

const PARTITIONS: usize = 4;

/// One broker's groups, a topic `t`, and nothing else.
struct Broker {
    groups: Groups,
    image: Image,
    log: Log,
    settings: GroupSettings,
    now_ms: u64,
    waiters: u64,
}

impl Broker {
    fn new() -> Broker {
        let create = Command::CreateTopic {
            name: "t".to_owned(),
            id: uuid::Uuid::from_u128(1),
            partitions: vec![Assignment::new(vec![1]); PARTITIONS],
            configs: BTreeMap::new(),
        };
        Broker {
            groups: Groups::default(),
            image: apply(&Image::of_brokers([1]), 1, &create).0,
            log: Log::default(),
            settings: settings(),
            now_ms: 0,
            waiters: 0,
        }
    }

    fn turn<T>(
        &mut self,
        call: impl FnOnce(&mut Groups, &mut Turn<'_>) -> T,
    ) -> (T, Vec<(Waiter, Answer)>) {
        let mut turn = Turn {
            now_ms: self.now_ms,
            wall_ms: 1_700_000_000_000,
            settings: &self.settings,
            image: &self.image,
            journal: &mut self.log,
            answers: Vec::new(),
        };
        let result = call(&mut self.groups, &mut turn);
        (result, turn.answers)
    }

    fn beat(&mut self, client: &mut Client) -> Result<(), ErrorCode> {
        let heartbeat = Heartbeat {
            version: 1,
            request: client.request(),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            new_member_id: "made-up".into(),
        };
        let beat =
            self.turn(|groups, turn| groups.consumer_heartbeat(&"g".into(), &heartbeat, turn));
        let response = beat.0.map_err(|refusal| refusal.code)?;
        client.learn(&response);
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match &self.groups.get("g").unwrap().kind {
            GroupKind::Classic(_) => "classic",
            GroupKind::Consumer(_) => "consumer",
        }
    }

    fn state(&self) -> KafkaStr {
        self.groups.list()[0].group_state.clone()
    }

    /// What a coordinator that takes over would have.
    fn reloaded_state(&self) -> (KafkaStr, KafkaStr) {
        let mut groups = Groups::default();
        self.log.records.iter().for_each(|record| groups.replay(record));
        let listed = groups.list().remove(0);
        (listed.group_type, listed.group_state)
    }
}

/// A cooperative consumer of the classic protocol.
struct Old {
    id: KafkaStr,
    generation: i32,
    owned: Vec<i32>,
}

impl Old {
    fn new(id: &'static str) -> Old {
        Old { id: id.into(), generation: -1, owned: Vec::new() }
    }

    fn metadata(&self) -> Bytes {
        let mut bytes = BytesMut::from(&b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff"[..]);
        bytes.put_slice(b"\0\0\0\x01\0\x01t");
        bytes.put_i32(i32::try_from(self.owned.len()).unwrap());
        self.owned.iter().for_each(|partition| bytes.put_i32(*partition));
        bytes.freeze()
    }

    fn join(&self, protocol: &'static str) -> Join {
        Join {
            member_id: if self.generation < 0 { KafkaStr::default() } else { self.id.clone() },
            new_member_id: self.id.clone(),
            protocol_type: "consumer".into(),
            asks_for_id_first: false,
            can_skip_assignment: false,
            reason: None,
            info: MemberInfo {
                instance_id: None,
                client_id: "old".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout_ms: 60_000,
                session_timeout_ms: 30_000,
                protocols: vec![Protocol { name: protocol.into(), metadata: self.metadata() }],
            },
        }
    }

    /// Joins, and is answered now or by what others do.
    fn ask_to_join(&mut self, broker: &mut Broker) -> Vec<(Waiter, Answer)> {
        broker.waiters += 1;
        let (join, waiter) = (self.join("cooperative-sticky"), Waiter(broker.waiters));
        broker.turn(|groups, turn| groups.join(&"g".into(), join, waiter, turn)).1
    }

    fn joined(&mut self, answers: Vec<(Waiter, Answer)>) -> JoinGroupResponse {
        let [(_, Answer::Join(response))] = <[_; 1]>::try_from(answers).unwrap() else {
            panic!("not one JoinGroup");
        };
        self.generation = response.generation_id;
        response
    }

    fn sync(&mut self, broker: &mut Broker, own: Option<&Bytes>) -> SyncGroupResponse {
        let sync = Sync {
            member_id: self.id.clone(),
            instance_id: None,
            generation: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("cooperative-sticky".into()),
            assignments: own.map(|own| (self.id.clone(), own.clone())).into_iter().collect(),
        };
        let synced = broker.turn(|groups, turn| groups.sync(&"g".into(), &sync, Waiter(0), turn));
        let [(_, Answer::Sync(response))] = <[_; 1]>::try_from(synced.1).unwrap() else {
            panic!("not one SyncGroup");
        };
        if response.error_code == 0 {
            self.owned = numbers(&response.assignment);
        }
        response
    }

    fn heartbeat(&self, broker: &mut Broker) -> ErrorCode {
        let beat = broker.turn(|groups, turn| {
            groups.heartbeat(&"g".into(), &self.id, None, self.generation, turn)
        });
        beat.0.err().unwrap_or(ErrorCode::None)
    }

    /// Joins and syncs until its heartbeats have no news.
    fn follow(&mut self, broker: &mut Broker) {
        for _ in 0..4 {
            if self.heartbeat(broker) == ErrorCode::None {
                return;
            }
            let answers = self.ask_to_join(broker);
            assert_eq!(self.joined(answers).error_code, 0);
            self.sync(broker, None);
        }
    }
}

/// The partitions in an assignment of one topic.
fn numbers(assignment: &Bytes) -> Vec<i32> {
    let (_, numbers) = assignment[..assignment.len() - 4].split_at(2 + 4);
    let numbers = numbers.get(2 + 1 + 4..).unwrap_or_default();
    numbers.chunks(4).map(|number| i32::from_be_bytes(number.try_into().unwrap())).collect()
}

/// All of `t`, as a leader assigns it.
fn everything() -> Bytes {
    let mut bytes = BytesMut::from(&b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x04"[..]);
    (0..4).for_each(|partition| bytes.put_i32(partition));
    bytes.put_i32(-1);
    bytes.freeze()
}

/// A classic group with one member that has everything.
fn classic(broker: &mut Broker) -> Old {
    let mut old = Old::new("old");
    assert!(old.ask_to_join(broker).is_empty());
    let (_, answers) = broker.turn(|groups, turn| groups.on_time(&"g".into(), turn));
    assert_eq!(old.joined(answers).error_code, 0);
    old.sync(broker, Some(&everything()));
    assert_eq!(old.owned, [0, 1, 2, 3]);
    old
}

#[test]
fn a_classic_group_goes_over_with_its_members_and_comes_back() {
    let mut broker = Broker::new();
    let mut old = classic(&mut broker);
    let mut new = Client::new("new", &["t"]);
    broker.beat(&mut new).unwrap();
    assert_eq!(broker.kind(), "consumer");
    assert_eq!((new.epoch, new.used.len()), (2, 0), "everything is with the other still");

    // The classic member is told to join, keeps half, says so, and the rest goes over.
    assert_eq!(old.heartbeat(&mut broker), ErrorCode::RebalanceInProgress);
    let answers = old.ask_to_join(&mut broker);
    assert_eq!(old.joined(answers).generation_id, 1, "it has to give something up first");
    old.sync(&mut broker, None);
    assert_eq!(old.owned.len(), 2);
    broker.beat(&mut new).unwrap();
    assert_eq!(new.used.len(), 0, "it has not said that it gave it up");
    old.follow(&mut broker);
    assert_eq!(old.generation, 2);
    broker.beat(&mut new).unwrap();
    let mut all = [old.owned.clone(), new.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!(broker.state(), "Stable");
    assert_eq!(broker.reloaded_state(), ("consumer".into(), "Stable".into()));

    // The last member of the newer protocol leaves: the others go on among themselves.
    new.epoch = -1;
    broker.beat(&mut new).unwrap();
    assert_eq!((broker.kind(), broker.state()), ("classic", "PreparingRebalance".into()));
    assert_eq!(broker.reloaded_state(), ("classic".into(), "Stable".into()));
    assert_eq!(old.generation, 2);
    let answers = old.ask_to_join(&mut broker);
    let joined = old.joined(answers);
    assert_eq!((joined.error_code, joined.members.len()), (0, 1), "it leads again");
    assert!(joined.generation_id > 2);
    old.sync(&mut broker, Some(&everything()));
    assert_eq!(old.owned, [0, 1, 2, 3]);
}

#[test]
fn a_classic_member_joins_a_consumer_group() {
    let mut broker = Broker::new();
    let mut new = Client::new("new", &["t"]);
    broker.beat(&mut new).unwrap();
    let mut old = Old::new("old");
    let answers = old.ask_to_join(&mut broker);
    let joined = old.joined(answers);
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 2, 0));
    old.sync(&mut broker, None);
    assert!(old.owned.is_empty());
    for _ in 0..2 {
        broker.beat(&mut new).unwrap();
    }
    old.follow(&mut broker);
    assert_eq!((old.owned.len(), new.used.len()), (2, 2));
    assert_eq!(broker.state(), "Stable");

    let mut stale = Old { generation: 1, ..Old::new("old") };
    assert_eq!(stale.heartbeat(&mut broker), ErrorCode::IllegalGeneration);
    let refused = ErrorCode::IllegalGeneration.code();
    assert_eq!(stale.sync(&mut broker, None).error_code, refused);
    let stranger = Old { generation: 2, ..Old::new("stranger") };
    assert_eq!(stranger.heartbeat(&mut broker), ErrorCode::UnknownMemberId);
    // The newer member cannot be spoken for by classic requests.
    let new_id = Old { generation: 2, ..Old::new("new") };
    assert_eq!(new_id.heartbeat(&mut broker), ErrorCode::UnknownMemberId);

    let leave = Leave { member_id: "old".into(), instance_id: None, reason: None };
    let (left, _) = broker.turn(|groups, turn| groups.leave(&"g".into(), &[leave], turn));
    assert_eq!(left, Ok(vec![ErrorCode::None]));
    broker.beat(&mut new).unwrap();
    assert_eq!(new.used.len(), 4);
}

#[test]
fn a_classic_member_that_does_not_follow_is_given_up() {
    let mut broker = Broker::new();
    let old = classic(&mut broker);
    let mut new = Client::new("new", &["t"]);
    broker.beat(&mut new).unwrap();
    for _ in 0..3 {
        // It sends heartbeats, and does not do as they say.
        let _ = old.heartbeat(&mut broker);
        broker.beat(&mut new).unwrap();
        broker.now_ms += 20_000;
        broker.turn(|groups, turn| groups.on_time(&"g".into(), turn));
    }
    assert_eq!(old.heartbeat(&mut broker), ErrorCode::UnknownMemberId);
    broker.beat(&mut new).unwrap();
    assert_eq!(new.used.len(), 4);
}

#[test]
fn who_is_no_consumer_or_may_not_cross_stays_where_it_is() {
    let mut broker = Broker::new();
    broker.settings.consumer.migration.upgrade = false;
    let old = classic(&mut broker);
    let mut new = Client::new("new", &["t"]);
    assert_eq!(broker.beat(&mut new), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(old.heartbeat(&mut broker), ErrorCode::None, "nothing happened");
    broker.settings.consumer.migration.upgrade = true;
    broker.log.refuses = Some(ErrorCode::NotCoordinator);
    assert_eq!(broker.beat(&mut new), Err(ErrorCode::NotCoordinator));
    assert_eq!(broker.kind(), "classic");
    broker.log.refuses = None;
    broker.beat(&mut new).unwrap();
    // Somebody who knows another strategy than the classic members, and somebody who says nothing
    // that a consumer would say.
    let mut join = Old::new("other").join("range");
    for metadata in [None, Some(Bytes::new())] {
        if let Some(metadata) = metadata {
            join.info.protocols[0] = Protocol { name: "cooperative-sticky".into(), metadata };
        }
        let join = join.clone();
        let answers = broker.turn(|groups, turn| groups.join(&"g".into(), join, Waiter(9), turn)).1;
        let refused = Old::new("other").joined(answers).error_code;
        assert_eq!(ErrorCode::from(refused), ErrorCode::InconsistentGroupProtocol);
    }
}

#[test]
fn a_group_without_members_becomes_what_its_next_member_speaks() {
    let mut broker = Broker::new();
    let mut new = Client::new("new", &["t"]);
    broker.beat(&mut new).unwrap();
    let last_epoch = new.epoch;
    new.epoch = -1;
    broker.beat(&mut new).unwrap();
    let old = classic(&mut broker);
    assert_eq!(broker.kind(), "classic");
    assert!(old.generation > last_epoch, "the group goes on counting");
    let last_generation = old.generation;
    let leave = Leave { member_id: old.id, instance_id: None, reason: None };
    let (left, _) = broker.turn(|groups, turn| groups.leave(&"g".into(), &[leave], turn));
    assert_eq!(left, Ok(vec![ErrorCode::None]));
    let mut new = Client::new("new", &["t"]);
    broker.beat(&mut new).unwrap();
    assert_eq!((broker.kind(), new.used.len()), ("consumer", 4));
    assert!(new.epoch > last_generation, "the group goes on counting");
    assert_eq!(broker.reloaded_state(), ("consumer".into(), "Stable".into()));
}
