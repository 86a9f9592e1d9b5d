//! A consumer group with its topics, its log, a clock, and clients that behave.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::super::member::Member;
use super::super::partitions::from_heartbeat;
use super::super::regex::ResolvedRegex;
use super::super::{ConsumerGroup, ConsumerSettings, Heartbeat, Refusal};
use crate::controller::apply::apply;
use crate::controller::assignment::Assignment;
use crate::controller::command::Command;
use crate::controller::image::Image;
use crate::group::assignor::TopicPartition;
use crate::group::turn::{GroupSettings, Journal, Turn};

/// A log in memory, which can be made to refuse.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    pub(super) refuses: Option<ErrorCode>,
}

impl Journal for Log {
    fn append(&mut self, records: &[Record]) -> Result<(), ErrorCode> {
        if let Some(code) = self.refuses {
            return Err(code);
        }
        self.records.extend_from_slice(records);
        Ok(())
    }
}

/// Everything around one group.
pub(super) struct World {
    pub(super) group: ConsumerGroup,
    pub(super) image: Image,
    pub(super) log: Log,
    pub(super) now_ms: u64,
    pub(super) settings: GroupSettings,
}

/// All of a group that lasts.
#[derive(Debug, PartialEq)]
pub(super) struct Lasting {
    epochs: (i32, i64, i32),
    members: BTreeMap<KafkaStr, Member>,
    static_members: BTreeMap<KafkaStr, KafkaStr>,
    targets: BTreeMap<KafkaStr, BTreeSet<TopicPartition>>,
    owners: BTreeMap<TopicPartition, KafkaStr>,
    regexes: BTreeMap<KafkaStr, ResolvedRegex>,
}

pub(super) fn lasting(group: &ConsumerGroup) -> Lasting {
    Lasting {
        epochs: (group.epoch, group.metadata_hash, group.assignment_epoch),
        members: group.members.clone(),
        static_members: group.static_members.clone().into_iter().collect(),
        targets: group.targets.clone(),
        owners: group.owners.clone().into_iter().collect(),
        regexes: group.regexes.clone(),
    }
}

pub(super) fn settings() -> GroupSettings {
    GroupSettings {
        session_timeout_ms_min: 6_000,
        session_timeout_ms_max: 1_800_000,
        initial_rebalance_delay_ms: 0,
        members_max: usize::MAX,
        offset_metadata_bytes_max: 4096,
        offsets_retention_ms: i64::MAX,
        offsets_retention_check_interval_ms: 600_000,
        offsets_topic_partitions: 1,
        offsets_topic_replication_factor: 1,
        offsets_topic_segment_bytes: 1 << 20,
        consumer: ConsumerSettings { assignment_interval_ms: 0, ..ConsumerSettings::default() },
    }
}

impl World {
    /// A group without members, and topics with so many partitions.
    pub(super) fn new(topics: &[(&str, usize)]) -> World {
        let mut world = World {
            group: ConsumerGroup::new("g".into()),
            image: Image::of_brokers([1]),
            log: Log::default(),
            now_ms: 1_000,
            settings: settings(),
        };
        for (name, partitions) in topics {
            world.create_topic(name, *partitions);
        }
        world
    }

    fn command(&mut self, command: &Command) {
        let (image, outcome) = apply(&self.image, self.image.applied + 1, command);
        outcome.unwrap();
        self.image = image;
    }

    pub(super) fn create_topic(&mut self, name: &str, partitions: usize) {
        self.command(&Command::CreateTopic {
            name: name.to_owned(),
            id: Uuid::from_u128(u128::from(self.image.applied) + 1),
            partitions: vec![Assignment::new(vec![1]); partitions],
            configs: BTreeMap::new(),
        });
    }

    pub(super) fn delete_topic(&mut self, name: &str) {
        let id = self.image.topic(name).unwrap().id;
        self.command(&Command::DeleteTopic { id });
    }

    pub(super) fn add_partitions(&mut self, name: &str, count: usize) {
        let id = self.image.topic(name).unwrap().id;
        let partitions = vec![Assignment::new(vec![1]); count];
        self.command(&Command::AddPartitions { id, first: None, partitions });
    }

    pub(super) fn at(&self, topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic_id: self.image.topic(topic).unwrap().id, partition }
    }

    pub(super) fn turn<T>(
        &mut self,
        call: impl FnOnce(&mut ConsumerGroup, &mut Turn<'_>) -> T,
    ) -> T {
        let mut turn = Turn {
            now_ms: self.now_ms,
            wall_ms: 1_700_000_000_000,
            settings: &self.settings,
            image: &self.image,
            journal: &mut self.log,
            answers: Vec::new(),
        };
        call(&mut self.group, &mut turn)
    }

    /// One request at version 1, as it is.
    pub(super) fn send(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let heartbeat = Heartbeat {
            version: 1,
            request,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            new_member_id: "made-up".into(),
        };
        heartbeat.check(&self.settings.consumer)?;
        self.turn(|group, turn| group.heartbeat(&heartbeat, turn))
    }

    /// Time passes, and does what it does.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.turn(|group, turn| group.on_time(turn));
    }

    /// The group as a coordinator finds it that takes over: from bytes.
    pub(super) fn reloaded(&self) -> ConsumerGroup {
        replayed(&self.log.records)
    }

    /// Likewise, after compaction has left the last record of each key.
    pub(super) fn reloaded_from_compacted(&self) -> ConsumerGroup {
        let mut seen = HashSet::new();
        let latest = self.log.records.iter().rev();
        let mut last: Vec<Record> = latest
            .filter(|record| seen.insert(record.key_bytes().unwrap()) && !record.is_tombstone())
            .cloned()
            .collect();
        last.reverse();
        replayed(&last)
    }

    /// Nobody occupies what somebody else occupies.
    pub(super) fn assert_disjoint(&self) {
        let mut seen = BTreeMap::new();
        for (id, member) in &self.group.members {
            for at in member.current.occupied() {
                let other = seen.insert(*at, id);
                assert!(other.is_none(), "{at:?} is with {id} and {other:?}: {:#?}", self.group);
                assert_eq!(self.group.owners.get(at), Some(id));
            }
        }
        assert_eq!(seen.len(), self.group.owners.len());
    }
}

fn replayed(records: &[Record]) -> ConsumerGroup {
    let mut group = ConsumerGroup::new("g".into());
    for record in records {
        let (key, value) = (record.key_bytes().unwrap(), record.value_bytes().unwrap());
        group.replay(&Record::parse(key, value).unwrap().unwrap());
    }
    group
}

/// A client that does what it is told at once: it uses what it was assigned and nothing else, and
/// says what it uses.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: KafkaStr,
    pub(super) instance_id: Option<KafkaStr>,
    pub(super) epoch: i32,
    pub(super) topics: Vec<KafkaStr>,
    pub(super) regex: Option<KafkaStr>,
    pub(super) assignor: Option<KafkaStr>,
    pub(super) used: BTreeSet<TopicPartition>,
    /// What changed since the last answer is told in full.
    pub(super) tells_all: bool,
}

impl Client {
    pub(super) fn new(id: &'static str, topics: &[&'static str]) -> Client {
        Client {
            id: id.into(),
            instance_id: None,
            epoch: 0,
            topics: topics.iter().map(|topic| KafkaStr::from(*topic)).collect(),
            regex: None,
            assignor: None,
            used: BTreeSet::new(),
            tells_all: true,
        }
    }

    pub(super) fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if self.tells_all || self.epoch == 0 {
            request.rebalance_timeout_ms = 60_000;
            request.subscribed_topic_names = Some(self.topics.clone());
            request.subscribed_topic_regex = self.regex.clone();
            request.server_assignor = self.assignor.clone();
        }
        let mut topics = BTreeMap::<Uuid, Vec<i32>>::new();
        for at in &self.used {
            topics.entry(at.topic_id).or_default().push(at.partition);
        }
        let topic = |(topic_id, partitions)| {
            thalweg_protocol::messages::consumer_group_heartbeat::TopicPartitions {
                topic_id,
                partitions,
                ..Default::default()
            }
        };
        request.topic_partitions = Some(topics.into_iter().map(topic).collect());
        request
    }

    /// Takes in an answer.
    pub(super) fn learn(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        self.tells_all = false;
        if let Some(assignment) = &response.assignment {
            self.used = from_heartbeat(&assignment.topic_partitions);
        }
    }

    /// One heartbeat with its answer; one who is fenced gives up everything and joins next time.
    pub(super) fn beat(&mut self, world: &mut World) -> Result<(), ErrorCode> {
        match world.send(self.request()) {
            Ok(response) => self.learn(&response),
            Err(refusal) => {
                self.epoch = 0;
                self.used.clear();
                self.tells_all = true;
                return Err(refusal.code);
            }
        }
        Ok(())
    }

    /// The numbers of the partitions it uses, whatever the topic.
    pub(super) fn numbers(&self) -> Vec<i32> {
        self.used.iter().map(|at| at.partition).collect()
    }
}
