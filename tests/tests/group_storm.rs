//! Made-up requests of every kind to the group coordinator: all are answered, a group that they
//! are not about notices nothing, and what they left behind survives a restart.
//!
//! STORM_SECONDS and STORM_SEED make it longer and other:
//! `STORM_SECONDS=600 cargo test -p thalweg-tests --test group_storm -- --nocapture`.

use std::env;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use thalweg_tests::broker::LocalBroker;
use thalweg_tests::bystander::{Bystander, offsets};
use thalweg_tests::storm::{GROUPS, Storm, TOPICS};
use thalweg_tests::topic::create;

const STORMS: u64 = 8;
/// Without STORM_SECONDS.
const STEPS_EACH: u64 = 300;

#[test]
fn made_up_requests_are_answered_and_disturb_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("group.initial.rebalance.delay.ms", "0")];
    let broker = LocalBroker::start(dir.path(), &settings);
    for topic in TOPICS {
        create(&mut broker.connect(), topic, 3, &[]);
    }
    let seconds: Option<u64> = setting("STORM_SECONDS");
    let seed: u64 = setting("STORM_SEED").unwrap_or(1);
    let (sent, answered) = rage(broker.address(), seconds.map(Duration::from_secs), seed);
    println!("seed {seed}: {sent} requests, {answered} answered at once");
    assert!(answered > sent / 4, "only {answered} of {sent} requests were answered at once");

    let before = all_offsets(&broker);
    assert!(before.iter().any(|offsets| !offsets.is_empty()), "no commit was taken");
    broker.stop();
    let broker = LocalBroker::start(dir.path(), &settings);
    assert_eq!(all_offsets(&broker), before, "after a restart");
    broker.stop();
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}

/// Runs storms and a bystander side by side; returns the requests sent and answered.
fn rage(address: SocketAddr, limit: Option<Duration>, seed: u64) -> (u64, u64) {
    let until = limit.map(|limit| Instant::now() + limit);
    let is_over = |steps| until.map_or(steps >= STEPS_EACH, |until| Instant::now() >= until);
    let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let calm = AtomicBool::new(false);
    // Its group has a coordinator before anybody asks for one: then all have.
    let mut bystander = Bystander::join(address, "calm", TOPICS[0]);
    thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            while !calm.load(Ordering::Relaxed) {
                bystander.step();
            }
        });
        let storm = |number| {
            let mut storm = Storm::new(address, seed.wrapping_mul(STORMS) + number);
            let mut steps = 0;
            while !is_over(steps) {
                storm.step();
                steps += 1;
            }
            sent.fetch_add(storm.sent, Ordering::Relaxed);
            answered.fetch_add(storm.answered, Ordering::Relaxed);
        };
        let storms: Vec<_> = (0..STORMS).map(|number| scope.spawn(move || storm(number))).collect();
        let ended: Vec<_> = storms.into_iter().map(|storm| storm.join()).collect();
        calm.store(true, Ordering::Relaxed);
        bystander.join().expect("the bystander is not disturbed");
        assert!(ended.iter().all(Result::is_ok), "seed {seed}: a storm has found something");
    });
    (sent.into_inner(), answered.into_inner())
}

fn all_offsets(broker: &LocalBroker) -> Vec<Vec<(String, i32, i64, String)>> {
    let mut wire = broker.connect();
    GROUPS.iter().chain(&["calm"]).map(|group| offsets(&mut wire, group)).collect()
}
