//! Clients at work: idempotent producers that retry until they are heard, readers, committers of
//! offsets, and somebody who creates and deletes topics. Each tells the book what it was told.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use thalweg_protocol::batch::{BatchBuilder, BatchOptions, Batches};
use thalweg_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use thalweg_protocol::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use thalweg_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, InitProducerIdRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::time::sleep;

use super::book::{Book, Existence, Place};
use super::client::Client;
use super::network::Host;
use crate::topic::{fetch_request, produce_request};

/// The last versions in which topics go by name.
const PRODUCE_BY_NAME: i16 = 12;
const FETCH_BY_NAME: i16 = 12;
const BODY_BYTES_MAX: usize = 16 << 20;

/// What all actors share.
#[derive(Clone)]
pub struct Stage {
    /// What they were told.
    pub book: Rc<Book>,
    /// Whether they are to finish.
    pub over: Rc<Cell<bool>>,
}

/// A topic of three replicas, created however often it has to be asked for. Returns whether the
/// first answer was the last: otherwise an attempt may still be under way.
pub async fn create(client: &mut Client, stage: &Stage, name: &str, partitions: i32) -> bool {
    stage.book.topic(name, Existence::Unknown);
    let config = |name: &str, value: &str| CreatableTopicConfig {
        name: KafkaStr::copied_from(name),
        value: Some(KafkaStr::copied_from(value)),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: KafkaStr::copied_from(name),
        num_partitions: partitions,
        replication_factor: 3,
        configs: vec![config("internal.segment.bytes", "16384")],
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 3000, ..Default::default() };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let to = client.any();
        let answer = client.call(to, &request, 7).await;
        let outcome = answer.ok().and_then(|mut answer| answer.topics.pop());
        match outcome.map(|outcome| ErrorCode::from(outcome.error_code)) {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => break,
            _ => sleep(client.dice().millis(100, 500)).await,
        }
    }
    stage.book.topic(name, Existence::There);
    attempts == 1
}

/// Deletes a topic, however often it has to be asked for. `for_good` if nobody creates it again.
async fn delete(client: &mut Client, stage: &Stage, name: &str, for_good: bool) {
    stage.book.topic(name, Existence::Unknown);
    let request = DeleteTopicsRequest {
        topic_names: vec![KafkaStr::copied_from(name)],
        timeout_ms: 3000,
        ..Default::default()
    };
    let mut asked = false;
    loop {
        let to = client.any();
        let answer = client.call(to, &request, 5).await;
        let outcome = answer.as_ref().ok().and_then(|answer| answer.responses.first());
        match outcome.map(|outcome| ErrorCode::from(outcome.error_code)) {
            Some(ErrorCode::None) => break,
            // An earlier attempt may have come through, or this broker may not know of the topic
            // yet: it answers from its own image.
            Some(ErrorCode::UnknownTopicOrPartition) if asked => return,
            _ => sleep(client.dice().millis(100, 500)).await,
        }
        asked = true;
    }
    if for_good {
        stage.book.topic(name, Existence::Gone);
    }
}

/// One producer of one partition.
pub struct Producer {
    client: Client,
    stage: Stage,
    place: Place,
    id: i64,
    epoch: i16,
    next: i32,
}

impl Producer {
    /// A producer with an id of its own.
    pub async fn new(mut client: Client, stage: &Stage, place: Place) -> Producer {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        loop {
            let to = client.any();
            if let Ok(answer) = client.call(to, &request, 4).await
                && ErrorCode::from(answer.error_code) == ErrorCode::None
            {
                let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                return Producer { client, stage: stage.clone(), place, id, epoch, next: 0 };
            }
            sleep(client.dice().millis(50, 300)).await;
        }
    }

    /// Produces until it is over; everything begun is finished.
    pub async fn work(mut self) {
        while !self.stage.over.get() {
            self.one_batch().await;
            let pause = if self.client.dice().one_in(4) { 400 } else { 20 };
            sleep(self.client.dice().millis(0, pause)).await;
        }
    }

    /// One batch, sent until it is acknowledged.
    pub async fn one_batch(&mut self) {
        let count = 1 + i32::try_from(self.client.dice().below(4)).unwrap_or(0);
        let values: Vec<String> =
            (self.next..self.next + count).map(|n| format!("p{}#{n}", self.id)).collect();
        let padding = usize::try_from(self.client.dice().below(600)).unwrap_or(0);
        let mut builder = BatchBuilder::with_capacity(0);
        for value in &values {
            self.stage.book.sending(&self.place, value);
            let key = "k".repeat(padding);
            builder
                .append(1_800_000_000_000, Some(key.as_bytes()), Some(value.as_bytes()), &[])
                .expect("it is small");
        }
        let options = BatchOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: self.next,
            ..BatchOptions::default()
        };
        let records = builder.finish(&options).expect("it is small");
        let (topic, partition) = self.place.clone();
        let mut request = produce_request(&topic, partition, records, -1);
        request.timeout_ms = 2000;
        loop {
            let led = self.client.leader(&topic, partition).await;
            let answer = self.client.call(led.by, &request, PRODUCE_BY_NAME).await;
            let outcome =
                answer.ok().and_then(|mut it| it.responses.pop()?.partition_responses.pop());
            match outcome.map(|outcome| (ErrorCode::from(outcome.error_code), outcome)) {
                Some((ErrorCode::None, outcome)) => {
                    for (offset, value) in (outcome.base_offset..).zip(&values) {
                        self.stage.book.acknowledge(&self.place, offset, value);
                    }
                    self.next += count;
                    return;
                }
                Some((code, outcome)) if !code.is_retriable() => {
                    self.stage.book.violation(format!(
                        "{:?}: {values:?} refused for good by broker {}: {code:?} {:?}",
                        self.place, led.by, outcome.error_message
                    ));
                    return;
                }
                _ => self.client.forget_leader(&topic, partition).await,
            }
        }
    }
}

/// What a reader got at once.
pub struct Fetched {
    /// Values by offset.
    pub values: BTreeMap<i64, String>,
    /// The end of what is committed, as the leader said.
    pub high_watermark: i64,
}

/// Reads once from broker `from`; an error if it would not answer for the partition.
pub async fn fetch(
    client: &mut Client,
    from: Host,
    (topic, partition): &Place,
    epoch: i32,
    offset: i64,
) -> Result<Fetched, Option<ErrorCode>> {
    let mut request = fetch_request(topic, *partition, offset);
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    let answer = client.call(from, &request, FETCH_BY_NAME).await.map_err(|_| None)?;
    let data = answer.responses.into_iter().next().and_then(|mut it| it.partitions.pop());
    let data = data.ok_or(None)?;
    match ErrorCode::from(data.error_code) {
        ErrorCode::None => {}
        code => return Err(Some(code)),
    }
    let mut values = BTreeMap::new();
    let high_watermark = data.high_watermark;
    let records = data.records.map(thalweg_protocol::Records::into_bytes).unwrap_or_default();
    for batch in Batches::new(records) {
        let batch = batch.unwrap_or_else(|error| panic!("a batch of {topic}-{partition}: {error}"));
        batch.verify_crc().unwrap_or_else(|error| panic!("{topic}-{partition}: {error}"));
        for record in batch.records(BODY_BYTES_MAX).expect("a readable batch") {
            let record = record.expect("a readable record");
            if record.offset >= offset {
                let value = record.value.unwrap_or_default();
                values.insert(record.offset, String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    Ok(Fetched { values, high_watermark })
}

/// Reads partitions again and again, from anywhere in them.
pub async fn read_on(mut client: Client, stage: Stage, places: Vec<Place>) {
    // The highest watermark that a leader has shown, by epoch.
    let mut shown: BTreeMap<Place, BTreeMap<i32, i64>> = BTreeMap::new();
    let mut ends: BTreeMap<Place, i64> = BTreeMap::new();
    while !stage.over.get() {
        let place = client.dice().pick(&places).clone();
        let led = client.leader(&place.0, place.1).await;
        let end = ends.get(&place).copied().unwrap_or(0);
        let from = match client.dice().below(3) {
            0 => i64::try_from(client.dice().below(u64::try_from(end).unwrap_or(0))).unwrap_or(0),
            _ => end,
        };
        match fetch(&mut client, led.by, &place, led.epoch, from).await {
            Ok(fetched) => {
                for ((offset, value), due) in fetched.values.iter().zip(from..) {
                    if *offset != due {
                        stage
                            .book
                            .violation(format!("{place:?}: {offset} read where {due} is next"));
                    }
                    stage.book.read(&place, *offset, value);
                }
                let last = fetched.values.keys().next_back().copied();
                let read_to = last.map_or(from, |last| last + 1);
                if read_to > fetched.high_watermark {
                    stage.book.violation(format!(
                        "{place:?}: {last:?} read, high watermark {}",
                        fetched.high_watermark
                    ));
                }
                ends.insert(place.clone(), end.max(read_to));
                let by_epoch = shown.entry(place.clone()).or_default();
                let before = by_epoch.range(..=led.epoch).map(|(_, shown)| *shown).max();
                if before.is_some_and(|before| before > fetched.high_watermark) {
                    stage.book.violation(format!(
                        "{place:?}: high watermark {} in epoch {}, after {before:?}",
                        fetched.high_watermark, led.epoch
                    ));
                }
                let own = by_epoch.entry(led.epoch).or_default();
                *own = (*own).max(fetched.high_watermark);
            }
            Err(Some(ErrorCode::OffsetOutOfRange)) => {
                let text = format!("{place:?}: offset {from} of {end} is out of range at {led:?}");
                stage.book.violation(text);
            }
            Err(_) => client.forget_leader(&place.0, place.1).await,
        }
        sleep(client.dice().millis(5, 150)).await;
    }
}

/// Commits ever higher offsets for a group, and looks now and then where it stands.
pub async fn commit_on(mut client: Client, stage: Stage, group: String, place: Place) {
    let mut offset = 0;
    while !stage.over.get() {
        offset += 1;
        stage.book.committing(&group, offset);
        let partition = OffsetCommitRequestPartition {
            partition_index: place.1,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: KafkaStr::copied_from(&place.0),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: KafkaStr::copied_from(&group),
            topics: vec![topic],
            ..Default::default()
        };
        loop {
            let to = client.coordinator(&group).await;
            let answer = client.call(to, &request, 8).await;
            let outcome = answer.ok().and_then(|mut it| it.topics.pop()?.partitions.pop());
            match outcome.map(|outcome| ErrorCode::from(outcome.error_code)) {
                Some(ErrorCode::None) => break,
                _ => client.forget_coordinator(&group).await,
            }
        }
        stage.book.commit(&group, offset);
        if client.dice().one_in(2) {
            look_up(&mut client, &stage.book, &group, &place).await;
        }
        sleep(client.dice().millis(20, 400)).await;
    }
}

/// Asks where a group stands, until somebody says.
pub async fn look_up(client: &mut Client, book: &Book, group: &str, place: &Place) {
    let topic = OffsetFetchRequestTopics {
        name: KafkaStr::copied_from(&place.0),
        partition_indexes: vec![place.1],
        ..Default::default()
    };
    let wanted = OffsetFetchRequestGroup {
        group_id: KafkaStr::copied_from(group),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![wanted], ..Default::default() };
    loop {
        let to = client.coordinator(group).await;
        let before = book.committed(group);
        let answer = client.call(to, &request, 8).await;
        let found = answer.ok().and_then(|mut it| it.groups.pop());
        let found = found.filter(|found| ErrorCode::from(found.error_code) == ErrorCode::None);
        let found = found.and_then(|mut it| it.topics.pop()?.partitions.pop());
        match found {
            Some(found) if ErrorCode::from(found.error_code) == ErrorCode::None => {
                return book.check_commit(group, before, found.committed_offset);
            }
            _ => client.forget_coordinator(group).await,
        }
    }
}

/// Creates topics, writes a record into each, and deletes some again.
pub async fn come_and_go(mut client: Client, stage: Stage, producing: Client) {
    let mut number = 0;
    let place = |number: u32| (format!("passing-{number}"), 0);
    let mut producing = Some(producing);
    while !stage.over.get() {
        let topic = place(number);
        let for_good = create(&mut client, &stage, &topic.0, 1).await;
        if let Some(with) = producing.take() {
            let mut producer = Producer::new(with, &stage, topic.clone()).await;
            producer.one_batch().await;
            producing = Some(producer.client);
        }
        if number > 0 && client.dice().one_in(2) {
            delete(&mut client, &stage, &topic.0, for_good).await;
        }
        number += 1;
        sleep(client.dice().millis(500, 3000)).await;
    }
}
