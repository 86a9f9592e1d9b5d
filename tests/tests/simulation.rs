//! Simulated clusters, a few of them: seeds that once found something, and that a seed is a run.
//!
//! The binary `sim` runs any number of them; it is a process for each run, as here.

use std::process::{Command, Output};

use thalweg_tests::sim::toll::{Misfortune, Toll};

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.arg("--quiet").args(arguments).output().expect("the simulation runs")
}

fn holds(seed: u64, more: &[&str]) {
    let output = sim(&[&["--seed", &seed.to_string()], more].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    let died = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{died}");
}

/// Found before there was wear, which makes another run of a seed.
const WITHOUT_WEAR: &[&str] = &["--no-wear"];

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
    holds(0, WITHOUT_WEAR);
}

/// Replicas that had been moved away came back empty from an older image, and elected each other.
#[test]
fn replicas_that_were_moved_away_stay_away() {
    holds(17, WITHOUT_WEAR);
}

/// A follower that had the whole offsets topic in memory could not load its groups as the leader.
#[test]
fn groups_follow_their_partition() {
    holds(3, WITHOUT_WEAR);
}

/// A replica that could not be opened on a full disk was not tried again.
#[test]
fn a_replica_that_found_no_room_is_opened_later() {
    holds(47, WITHOUT_WEAR);
}

/// Nothing was sent on a connection whose other end had lost its power, so nobody noticed.
#[test]
fn connections_to_who_lost_power_are_noticed() {
    holds(74, WITHOUT_WEAR);
}

/// Whose removal another had begun became the leader, lost its vote, and led on without being able
/// to.
#[test]
fn a_leader_without_a_vote_makes_way() {
    holds(155, WITHOUT_WEAR);
}

/// Every misfortune that there is strikes in two dozen runs.
#[test]
fn no_misfortune_is_left_out() {
    let output = sim(&["--seeds", "0..24"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let toll = said.lines().find_map(|line| line.strip_prefix("  struck: "));
    let toll: Toll = toll.expect("it says").parse().expect("it says it well");
    for (misfortune, name) in Misfortune::ALL {
        assert!(toll.of(misfortune) > 0, "no {name} in {said}");
    }
}

/// A topic was deleted, and created again by the command that had created it, sent twice.
#[test]
fn a_deleted_topic_stays_deleted() {
    holds(67, &[]);
}

/// One of the runs finds the mistake that all of their brokers make. They begin with one that did
/// when this was written; what brokers do differently makes other runs, and others may have to.
fn finds(bug: &str, from: u64) {
    let seeds = format!("{from}..{}", from + 60);
    let output = sim(&["--seeds", &seeds, "--first", "--bug", bug]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains(" seeds failed: ["), "{said}");
}

#[test]
fn a_skipped_fsync_is_found() {
    finds("skip-fsync", 0);
}

#[test]
fn an_acknowledgement_before_the_quorum_is_found() {
    finds("ack-before-quorum", 0);
}

#[test]
fn a_log_cut_at_its_first_bad_crc_is_found() {
    finds("cut-at-first-bad-crc", 8);
}
