//! A full disk is a state: records are refused with a code, reads go on, and once there is room the
//! broker takes records again by itself. In a cluster those lead meanwhile that have room.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use thalweg_protocol::ErrorCode;
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::cluster::Cluster;
use thalweg_tests::cluster_load::ClusterLoad;
use thalweg_tests::mount::{Filesystem, LoopMount};
use thalweg_tests::topic::{batch, create, create_replicated, produce_request, read_all};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";

/// A filesystem, or a word on why this machine cannot have one.
fn mounted() -> Option<LoopMount> {
    LoopMount::new(Filesystem::Ext4, 64).inspect_err(|missing| eprintln!("skipped: {missing}")).ok()
}

/// Writes a file until there is no room for more of it, and then gives `left` bytes back.
fn fill(ballast: &Path, left: u64) {
    let mut file = File::create(ballast).unwrap();
    let mut piece = vec![0; 1 << 20];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                piece.truncate(piece.len() / 2);
            }
            Err(error) => panic!("{error}"),
        }
    }
    file.set_len(file.metadata().unwrap().len() - left).unwrap();
    file.sync_all().unwrap();
}

/// Numbered records, and which of them the broker has not answered for.
#[derive(Default)]
struct Sent {
    next: usize,
    /// Those that met the full disk: they may be committed once there is room, or never.
    unanswered: BTreeSet<usize>,
}

impl Sent {
    /// Sends the next record, and gives the broker half a second to make up its mind.
    fn send(&mut self, wire: &mut Wire) -> ErrorCode {
        let padding = "x".repeat(2000);
        let records = batch(&[format!("{} {padding}", self.next)]);
        let mut request = produce_request(TOPIC, 0, records, -1);
        request.timeout_ms = 500;
        let response = wire.call(&request, 9).unwrap();
        let code = ErrorCode::from(response.responses[0].partition_responses[0].error_code);
        match code {
            ErrorCode::None => self.next += 1,
            ErrorCode::RequestTimedOut => {
                self.unanswered.insert(self.next);
                self.next += 1;
            }
            // Nothing was appended, so the number is still free.
            _ => {}
        }
        code
    }

    /// Sends until the broker refuses.
    fn send_until_refused(&mut self, wire: &mut Wire) -> ErrorCode {
        eventually("the disk is full", || {
            let mut codes = (0..100).map(|_| self.send(wire));
            codes.find(|code| !matches!(code, ErrorCode::None | ErrorCode::RequestTimedOut))
        })
    }

    /// Everything acknowledged is there, in order, and nothing that was refused.
    fn check(&self, wire: &mut Wire) {
        let number = |value: &bytes::Bytes| {
            let text = String::from_utf8_lossy(value);
            text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let found: Vec<usize> = read_all(wire, TOPIC, 0, 0).iter().map(number).collect();
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        assert!(found.iter().all(|number| *number < self.next), "{found:?}");
        let found = BTreeSet::from_iter(found);
        let missing = (0..self.next).filter(|number| !found.contains(number));
        let missing = BTreeSet::from_iter(missing);
        assert!(missing.is_subset(&self.unanswered), "{missing:?} of {}", self.next);
    }
}

fn fill_and_free(settings: &[(&str, &str)]) {
    let Some(mount) = mounted() else { return };
    let ballast = mount.path().join("ballast");
    let data_dir = mount.path().join("data");
    let broker = LocalBroker::start(&data_dir, settings);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[("internal.segment.bytes", "1048576")]);
    let mut sent = Sent::default();
    for round in 0..2 {
        fill(&ballast, 0);
        let code = sent.send_until_refused(&mut wire);
        assert_eq!(code, ErrorCode::KafkaStorageError, "round {round}");
        // Reads go on.
        sent.check(&mut wire);

        fs::remove_file(&ballast).unwrap();
        eventually("the broker takes records again", || {
            (sent.send(&mut wire) == ErrorCode::None).then_some(())
        });
        sent.check(&mut wire);
    }
    drop(wire);
    broker.stop();

    let broker = LocalBroker::start(&data_dir, settings);
    sent.check(&mut broker.connect());
    broker.stop();
}

#[test]
fn below_the_reserve_records_are_refused_until_there_is_room() {
    fill_and_free(&[("limits.disk_reserve_bytes", "2MiB")]);
}

/// Without a reserve it is the write that fails.
#[test]
fn a_write_that_finds_no_room_is_refused_until_there_is_some() {
    fill_and_free(&[("limits.disk_reserve_bytes", "0")]);
}

#[test]
fn a_broker_starts_and_reads_on_a_full_disk() {
    let Some(mount) = mounted() else { return };
    let data_dir = mount.path().join("data");
    let settings = [("limits.disk_reserve_bytes", "2MiB")];
    let broker = LocalBroker::start(&data_dir, &settings);
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 1, &[]);
    let mut sent = Sent::default();
    for _ in 0..10 {
        assert_eq!(sent.send(&mut wire), ErrorCode::None);
    }
    drop(wire);
    broker.stop();
    // To lead again, a partition writes an entry: that is what the reserve is for.
    fill(&mount.path().join("ballast"), 1 << 20);
    let broker = LocalBroker::start(&data_dir, &settings);
    sent.check(&mut broker.connect());
    assert_eq!(sent.send_until_refused(&mut broker.connect()), ErrorCode::KafkaStorageError);
    broker.stop();
}

#[test]
fn a_full_broker_makes_way_for_those_that_have_room() {
    let Some(mount) = mounted() else { return };
    let settings = [("shards", "1"), ("limits.disk_reserve_bytes", "2MiB")];
    let mut cluster = Cluster::planned(BINARY, &settings);
    for node in 1..=3 {
        let mut site = cluster.site(node);
        if node == 1 {
            site.data_dir = mount.path().join("data");
        }
        cluster.plan(site);
    }
    cluster.start_all();
    create_replicated(&mut cluster.wire(2), TOPIC, 3, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    let leaders = cluster.leaders(TOPIC);
    assert!(leaders.contains(&1), "each leads one of three: {leaders:?}");
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 3);
    load.go_on_for(20);

    let ballast = mount.path().join("ballast");
    fill(&ballast, 1 << 20);
    eventually("the full broker leads nothing", || {
        (!cluster.leaders(TOPIC).contains(&1)).then_some(())
    });
    // Every partition goes on.
    load.go_on_for(50);
    fs::remove_file(&ballast).unwrap();
    cluster.wait_in_sync(TOPIC);
    load.go_on_for(20);
    load.finish();
    cluster.assert_well();
}
