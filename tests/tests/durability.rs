//! What survives: clean stops, kills under load, and another number of shards.

use std::fs;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::batch::BatchOptions;
use thalweg_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::load::{self, Load};
use thalweg_tests::process::BrokerProcess;
use thalweg_tests::topic::{self, batch_with, now_ms, produce};
use thalweg_tests::wire::Wire;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";

/// An idempotent producer with its own idea of the next sequence number.
struct Idempotent {
    id: i64,
    epoch: i16,
}

impl Idempotent {
    fn new(wire: &mut Wire) -> Idempotent {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let given = wire.call(&request, 4).unwrap();
        assert_eq!(given.error_code, 0);
        Idempotent { id: given.producer_id, epoch: given.producer_epoch }
    }

    /// Three records that begin with `sequence`: the error code and the offset it got.
    fn send(&self, wire: &mut Wire, sequence: i32) -> (ErrorCode, i64) {
        let options = BatchOptions {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        let records = batch_with(&["a", "b", "c"], now_ms(), &options);
        let outcome = produce(wire, TOPIC, 0, records).unwrap();
        (outcome.error_code.into(), outcome.base_offset)
    }
}

/// Sends what an idempotent producer may send again, and what it must not.
fn check_sequences(wire: &mut Wire, producer: &Idempotent) {
    for (sequence, offset) in [(3, 3), (12, 12), (0, 0), (6, 6)] {
        let outcome = producer.send(wire, sequence);
        assert_eq!(outcome, (ErrorCode::None, offset), "sequence {sequence} again");
    }
    assert_eq!(producer.send(wire, 21).0, ErrorCode::OutOfOrderSequenceNumber);
    let fenced = Idempotent { epoch: producer.epoch - 1, ..*producer };
    assert_ne!(fenced.send(wire, 15).0, ErrorCode::None);
    assert_eq!(topic::offset_at(wire, TOPIC, 0, topic::LATEST), 15, "nothing was appended");
}

#[test]
fn a_duplicate_after_a_restart_gets_the_offset_of_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let producer = Idempotent::new(&mut wire);
    for sequence in [0, 3, 6, 9, 12] {
        let offset = i64::from(sequence);
        assert_eq!(producer.send(&mut wire, sequence), (ErrorCode::None, offset));
    }
    check_sequences(&mut wire, &producer);
    drop(wire);
    broker.stop();

    let broker = LocalBroker::start(dir.path(), &[]);
    let mut wire = broker.connect();
    check_sequences(&mut wire, &producer);
    let other = Idempotent::new(&mut wire);
    assert_ne!(other.id, producer.id, "an id is given once");
    assert_eq!(producer.send(&mut wire, 15), (ErrorCode::None, 15));
    drop(wire);
    broker.stop();
}

#[test]
fn a_duplicate_after_a_kill_gets_the_offset_of_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let producer = Idempotent::new(&mut wire);
    for sequence in [0, 3, 6, 9, 12] {
        assert_eq!(producer.send(&mut wire, sequence).0, ErrorCode::None);
    }
    broker.kill();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    check_sequences(&mut broker.connect(), &producer);
}

#[test]
fn kills_under_load_lose_nothing_that_was_acknowledged() {
    const PARTITIONS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    let settings = [("shards", "2")];
    let mut broker = BrokerProcess::start(BINARY, dir.path(), &settings).unwrap();
    // Small segments, so that a kill meets a roll now and then.
    let configs = [("internal.segment.bytes", "4096")];
    topic::create(&mut broker.connect(), TOPIC, 4, &configs);
    let mut counts = vec![0; PARTITIONS];
    for _round in 0..4 {
        let load = Load::resume(broker.address(), TOPIC, &counts);
        load.go_on_for(100);
        broker.kill();
        let acknowledged = load.finish();
        assert_eq!(acknowledged.failures.len(), PARTITIONS, "{:?}", acknowledged.failures);
        broker = BrokerProcess::start(BINARY, dir.path(), &settings).unwrap();
        counts = load::verify(&mut broker.connect(), TOPIC, &acknowledged);
    }
}

#[test]
fn a_stop_under_load_answers_what_it_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    topic::create(&mut broker.connect(), TOPIC, 2, &[]);
    let load = Load::start(broker.address(), TOPIC, 2);
    load.go_on_for(50);
    assert!(broker.terminate().success());
    let acknowledged = load.finish();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let counts = load::verify(&mut broker.connect(), TOPIC, &acknowledged);
    assert!(counts.iter().all(|count| *count >= 50));
    assert!(broker.terminate().success());
}

#[test]
fn a_long_poll_does_not_hold_up_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let mut request = topic::fetch_request(TOPIC, 0, 0);
    (request.max_wait_ms, request.min_bytes) = (300_000, 1);
    let fetched = wire.send(&request, 12).unwrap();
    // The request must be under way: a later one on another connection is answered.
    topic::offset_at(&mut broker.connect(), TOPIC, 0, topic::LATEST);
    assert!(broker.terminate().success());
    if let Ok(answer) = wire.receive::<thalweg_protocol::messages::FetchRequest>(fetched, 12) {
        assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    }
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let refusal = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap_err();
    assert!(refusal.contains("is in use"), "{refusal}");
    assert!(refusal.contains(&broker.id().to_string()), "{refusal}");
    // The first one has not noticed, and after it anybody may have the directory.
    topic::create(&mut broker.connect(), TOPIC, 1, &[]);
    broker.kill();
    BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
}

#[test]
fn partitions_move_when_the_number_of_shards_changes() {
    const PARTITIONS: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let mut counts = vec![0; PARTITIONS];
    for (round, shards) in ["1", "3", "2", "1"].into_iter().enumerate() {
        let broker = LocalBroker::start(dir.path(), &[("shards", shards)]);
        let mut wire = broker.connect();
        if round == 0 {
            topic::create(&mut wire, TOPIC, 8, &[]);
        }
        let load = Load::resume(broker.address(), TOPIC, &counts);
        load.go_on_for(10);
        let acknowledged = load.finish();
        assert_eq!(acknowledged.failures, [""; 0], "{shards} shards");
        counts = load::verify(&mut wire, TOPIC, &acknowledged);
        drop(wire);
        broker.stop();
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let dirs = entries.filter(|name| name.to_string_lossy().starts_with("shard-"));
        assert_eq!(dirs.count().to_string(), shards, "directories of former shards are gone");
    }
}

#[test]
fn topics_and_their_settings_survive_and_deleted_ones_stay_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[("max.message.bytes", "500")]);
    let doomed = topic::create(&mut wire, "doomed", 1, &[]);
    assert_eq!(produce(&mut wire, "doomed", 0, topic::batch(&["old"])).unwrap().error_code, 0);
    let request = thalweg_protocol::messages::DeleteTopicsRequest {
        topic_names: vec!["doomed".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(wire.call(&request, 5).unwrap().responses[0].error_code, 0);
    broker.kill();

    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    let large = topic::batch(&["x".repeat(600)]);
    let outcome = produce(&mut wire, TOPIC, 0, large).unwrap();
    assert_eq!(ErrorCode::from(outcome.error_code), ErrorCode::MessageTooLarge);
    let outcome = produce(&mut wire, "doomed", 0, topic::batch(&["new"])).unwrap();
    assert_eq!(ErrorCode::from(outcome.error_code), ErrorCode::UnknownTopicOrPartition);
    // A topic of the same name is another topic, which begins empty.
    assert_ne!(topic::create(&mut wire, "doomed", 1, &[]), doomed);
    assert!(topic::read_all(&mut wire, "doomed", 0, 0).is_empty());
}

#[test]
fn an_unanswered_batch_is_all_there_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    topic::create(&mut wire, TOPIC, 1, &[]);
    let values: Vec<String> = (0..50).map(|number| format!("{number:04}").repeat(500)).collect();
    for _ in 0..20 {
        let request: ProduceRequest = topic::produce_request(TOPIC, 0, topic::batch(&values), -1);
        wire.send(&request, 9).unwrap();
    }
    broker.kill();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let found = topic::read_all(&mut broker.connect(), TOPIC, 0, 0);
    assert_eq!(found.len() % values.len(), 0, "{} records", found.len());
    for (found, sent) in found.iter().zip(values.iter().cycle()) {
        assert_eq!(found, sent.as_bytes());
    }
}

/// Copies of the cluster's image that cannot be read cost no topic, and no data.
#[test]
fn a_damaged_snapshot_of_the_image_loses_no_topic() {
    const TOPICS: i32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let forgetful = [("metadata.log.max.record.bytes.between.snapshots", "2048")];
    let start = || BrokerProcess::start(BINARY, dir.path(), &forgetful);
    let broker = start().unwrap();
    let mut wire = broker.connect();
    for n in 0..TOPICS {
        let name = format!("topic-{n}");
        topic::create(&mut wire, &name, 1, &[]);
        let records = batch_with(&["kept"], now_ms(), &BatchOptions::default());
        assert_eq!(produce(&mut wire, &name, 0, records).unwrap().error_code, 0);
    }
    broker.kill();
    let check = || {
        let broker = start().unwrap();
        let mut wire = broker.connect();
        for n in 0..TOPICS {
            let end = topic::offset_at(&mut wire, &format!("topic-{n}"), 0, topic::LATEST);
            assert_eq!(end, 1, "topic-{n}");
        }
        broker.kill();
    };

    let files =
        ["image-0.snap", "image-1.snap"].map(|name| dir.path().join("controller").join(name));
    let whole = files.each_ref().map(|file| fs::read(file).unwrap());
    let damage = |at: usize| {
        let mut damaged = whole[at].clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&files[at], damaged).unwrap();
    };
    for at in 0..files.len() {
        damage(at);
        check();
        fs::write(&files[at], &whole[at]).unwrap();
    }

    // Without either nothing tells which topics there are: the broker leaves everything alone.
    (0..files.len()).for_each(damage);
    let said = start().map(|_| ()).unwrap_err();
    assert!(said.contains("the controller's snapshot cannot be used"), "{said}");
    for (file, whole) in files.iter().zip(&whole) {
        fs::write(file, whole).unwrap();
    }
    check();
}
