//! Power cuts on real filesystems: after each, every acknowledged record is there.
//!
//! The filesystem's shutdown request drops whatever has not been flushed, so a broker that answers
//! before its `fdatasync` has returned is found out here. That a cut is one,
//! `a_cut_really_loses_what_was_not_flushed` shows.

use std::fs::{self, File};
use std::io::Write;

use thalweg_tests::load::{self, Load};
use thalweg_tests::mount::{Filesystem, LoopMount};
use thalweg_tests::process::BrokerProcess;
use thalweg_tests::topic;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";
const PARTITIONS: usize = 4;
const ROUNDS: usize = 3;

/// A filesystem, or a word on why this machine cannot have one.
fn mounted(filesystem: Filesystem) -> Option<LoopMount> {
    LoopMount::new(filesystem, 512)
        .inspect_err(|missing| eprintln!("skipped on {filesystem:?}: {missing}"))
        .ok()
}

fn cut_power_under_load(filesystem: Filesystem, settings: &[(&str, &str)]) {
    let Some(mut mount) = mounted(filesystem) else { return };
    let data_dir = mount.path().join("data");
    let mut broker = BrokerProcess::start(BINARY, &data_dir, settings).unwrap();
    let configs = [("internal.segment.bytes", "8192")];
    topic::create(&mut broker.connect(), TOPIC, 4, &configs);
    let mut counts = vec![0; PARTITIONS];
    for round in 0..ROUNDS {
        let load = Load::resume(broker.address(), TOPIC, &counts);
        load.go_on_for(100);
        mount.cut_power();
        // Whatever the broker makes of its failing disk, it must not acknowledge anything now.
        broker.kill();
        let acknowledged = load.finish();
        mount.restore_power();
        broker = BrokerProcess::start(BINARY, &data_dir, settings)
            .unwrap_or_else(|stderr| panic!("round {round}: {stderr}"));
        counts = load::verify(&mut broker.connect(), TOPIC, &acknowledged);
    }
    broker.kill();
}

#[test]
fn ext4_keeps_what_was_acknowledged() {
    cut_power_under_load(Filesystem::Ext4, &[("shards", "2")]);
}

#[test]
fn xfs_keeps_what_was_acknowledged() {
    cut_power_under_load(Filesystem::Xfs, &[("shards", "2")]);
}

#[test]
fn ext4_without_io_uring_keeps_what_was_acknowledged() {
    cut_power_under_load(Filesystem::Ext4, &[("shards", "1"), ("disk", "std")]);
}

#[test]
fn xfs_without_io_uring_keeps_what_was_acknowledged() {
    cut_power_under_load(Filesystem::Xfs, &[("shards", "1"), ("disk", "std")]);
}

/// The first seconds of a broker's life create most of its files and directories.
#[test]
fn a_new_topic_survives_from_its_first_acknowledged_record() {
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs] {
        let Some(mut mount) = mounted(filesystem) else { continue };
        let data_dir = mount.path().join("data");
        for round in 0..ROUNDS {
            let topic = format!("topic-{round}");
            let broker = BrokerProcess::start(BINARY, &data_dir, &[]).unwrap();
            let mut wire = broker.connect();
            topic::create(&mut wire, &topic, 1, &[]);
            let outcome = topic::produce(&mut wire, &topic, 0, topic::batch(&["first"])).unwrap();
            assert_eq!(outcome.error_code, 0);
            mount.cut_power();
            broker.kill();
            mount.restore_power();
            let broker = BrokerProcess::start(BINARY, &data_dir, &[])
                .unwrap_or_else(|stderr| panic!("{filesystem:?}, round {round}: {stderr}"));
            for topic in (0..=round).map(|round| format!("topic-{round}")) {
                let values = topic::read_all(&mut broker.connect(), &topic, 0, 0);
                assert_eq!(values, ["first"], "{filesystem:?}, {topic}");
            }
            broker.kill();
        }
    }
}

/// What the tests above would see of a broker that answers too early.
#[test]
fn a_topic_that_waives_the_flush_loses_what_was_acknowledged() {
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs] {
        let Some(mut mount) = mounted(filesystem) else { continue };
        let data_dir = mount.path().join("data");
        let broker = BrokerProcess::start(BINARY, &data_dir, &[]).unwrap();
        let configs = [("write.caching", "true"), ("flush.ms", "3600000")];
        topic::create(&mut broker.connect(), TOPIC, 1, &configs);
        let load = Load::start(broker.address(), TOPIC, 1);
        load.go_on_for(100);
        mount.cut_power();
        broker.kill();
        let acknowledged = load.finish().counts[0];
        mount.restore_power();
        let broker = BrokerProcess::start(BINARY, &data_dir, &[]).unwrap();
        let end = topic::offset_at(&mut broker.connect(), TOPIC, 0, topic::LATEST);
        broker.kill();
        assert!(u64::try_from(end).unwrap() < acknowledged, "{filesystem:?}: {end} are left");
    }
}

#[test]
fn a_cut_really_loses_what_was_not_flushed() {
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs] {
        let Some(mut mount) = mounted(filesystem) else { continue };
        let (flushed, unflushed) = (mount.path().join("flushed"), mount.path().join("unflushed"));
        let mut file = File::create(&flushed).unwrap();
        file.write_all(b"kept").unwrap();
        file.sync_all().unwrap();
        File::open(mount.path()).unwrap().sync_all().unwrap();
        let mut lost = File::create(&unflushed).unwrap();
        lost.write_all(b"lost").unwrap();
        drop((file, lost));
        mount.cut_power();
        mount.restore_power();
        assert_eq!(fs::read(&flushed).unwrap(), b"kept", "{filesystem:?}");
        assert!(fs::read(&unflushed).unwrap_or_default().is_empty(), "{filesystem:?}");
    }
}
