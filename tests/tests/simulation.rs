//! Simulated clusters, a few of them: seeds that once found something, and that a seed is a run.
//!
//! The binary `sim` runs any number of them; it is a process for each run, as here.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.arg("--quiet").args(arguments).output().expect("the simulation runs")
}

fn holds(seed: u64) {
    let output = sim(&["--seed", &seed.to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    let died = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{died}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (once, again) = (sim(&["--seed", "1"]), sim(&["--seed", "1"]));
    let said = String::from_utf8_lossy(&once.stdout);
    assert!(said.contains("trace "), "{said}{}", String::from_utf8_lossy(&once.stderr));
    assert_eq!(once.stdout, again.stdout, "{said}");
    let other = sim(&["--seed", "6"]);
    assert_ne!(once.stdout, other.stdout);
}

/// A vote that had found no room was tried again after a newer one had been saved.
#[test]
fn votes_on_a_full_disk() {
    holds(0);
}

/// Replicas that had been moved away came back empty from an older image, and elected each other.
#[test]
fn replicas_that_were_moved_away_stay_away() {
    holds(17);
}

/// A follower that had the whole offsets topic in memory could not load its groups as the leader.
#[test]
fn groups_follow_their_partition() {
    holds(3);
}

/// A replica that could not be opened on a full disk was not tried again.
#[test]
fn a_replica_that_found_no_room_is_opened_later() {
    holds(47);
}

/// Nothing was sent on a connection whose other end had lost its power, so nobody noticed.
#[test]
fn connections_to_who_lost_power_are_noticed() {
    holds(74);
}

/// One of the runs finds the mistake that all of their brokers make.
fn finds(bug: &str) {
    let output = sim(&["--seeds", "0..2", "--bug", bug]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains(" of 2 seeds failed: ["), "{said}");
}

#[test]
fn a_skipped_fsync_is_found() {
    finds("skip-fsync");
}

#[test]
fn an_acknowledgement_before_the_quorum_is_found() {
    finds("ack-before-quorum");
}
