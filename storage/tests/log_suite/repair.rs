//! Damage that scrubbing finds and that a peer's entries repair.
//!
//! The peer is the model: whatever is damaged, it has the entries. Afterwards the log holds exactly
//! what the model does, says that nothing is damaged, and says so again when it is opened again.

use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::disk::OpenMode;
use thalweg_storage::disk::sim::{Operation, SimDisk};
use thalweg_storage::{DamagedRange, Entry, Log, LogConfig, ReadError, RepairError, ScrubPosition};

use crate::damage::{rig_with, sample};
use crate::harness::*;

/// Scrubs the whole log in small pieces; gives what it found.
async fn scrub(log: &Log) -> Vec<DamagedRange> {
    let (mut from, mut found) = (ScrubPosition::START, Vec::new());
    loop {
        let (next, damaged) = log.scrub(from, 300).await.expect("the disk is sound");
        found.extend(damaged);
        if next == ScrubPosition::START {
            return found;
        }
        assert!(next > from, "a scrub makes progress");
        from = next;
    }
}

/// Reads every entry, so that damage in the segment being written is met as well.
async fn read_every_entry(log: &Log, what: &str) {
    for index in log.first_index()..=log.last_index() {
        match log.entries(index, index + 1, 1).await {
            Ok(_) | Err(ReadError::Damaged(_)) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// What the peer gives for a range: all of it, or what it has room for.
fn asked(model: &Model, range: &DamagedRange, count_max: usize) -> Vec<Entry> {
    let wanted = model.entries.iter().filter(|entry| range.indexes.contains(&entry.index));
    wanted.take(count_max).cloned().collect()
}

/// Repairs all that is known to be damaged.
async fn repair_all(log: &Log, model: &Model, what: &str) {
    for _ in 0..100 {
        let Some(range) = log.damage().into_iter().next() else { return };
        let entries = asked(model, &range, usize::MAX);
        let repaired = log.repair(range.clone(), entries).await;
        assert_eq!(repaired, Ok(()), "{what}: {range}");
        assert!(!log.damage().contains(&range), "{what}: {range}");
    }
    panic!("{what}: there is no end of damage: {:?}", log.damage());
}

/// Opens what is in the rig, finds what is damaged, repairs it, and compares all with the model.
async fn heal(rig: &Rig, model: &Model, what: &str) -> usize {
    let open = rig.open().await;
    let log = &open.log;
    // A tail that was never acknowledged may be cut.
    let mut model = model.clone();
    model.truncate(log.last_index() + 1);
    scrub(log).await;
    read_every_entry(log, what).await;
    let damaged = log.damage().len();
    repair_all(log, &model, what).await;
    assert_holds(log, &model).await;
    assert_eq!(scrub(log).await, [], "{what}");
    log.close().await.unwrap();
    let again = rig.open().await;
    assert_eq!(again.report.damaged, [], "{what}: after a restart");
    assert_holds(&again.log, &model).await;
    assert_eq!(again.log.damage(), [], "{what}: after a restart");
    // It takes entries as any log does.
    let mut feed = Feed::of(&again.log, again.log.last_term() + 1);
    let more = vec![feed.internal(b"next"), feed.batch(&[50], 10)];
    model.append(&more);
    again.log.append(more).unwrap();
    again.log.flush().await.unwrap();
    assert_holds(&again.log, &model).await;
    damaged
}

#[test]
fn every_flipped_byte_is_found_and_repaired() {
    run(async {
        for close in [true, false] {
            let (files, model) = sample(close).await;
            let mut repaired = 0;
            for (name, bytes) in &files {
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                for at in (0..used).step_by(if close { 1 } else { 5 }) {
                    let mut flipped = bytes.to_vec();
                    flipped[at] ^= 1 << (at % 8);
                    let mut files = files.clone();
                    files.insert(name.clone(), flipped.into());
                    let what = format!("{name} flipped at {at}, closed: {close}");
                    let mut rig = rig_with(&files).await;
                    rig.applied = [0, u64::MAX][at % 2];
                    repaired += heal(&rig, &model, &what).await;
                }
            }
            assert!(repaired > 200, "{repaired}");
        }
    });
}

#[test]
fn files_that_are_cut_or_gone_are_repaired() {
    run(async {
        let (files, model) = sample(true).await;
        for (name, bytes) in files.iter().filter(|(name, _)| *name != "log-start") {
            for len in (0..bytes.len()).step_by(7) {
                let mut files = files.clone();
                files.insert(name.clone(), bytes.slice(..len));
                let rig = rig_with(&files).await;
                let what = format!("{name} cut to {len}");
                let open = rig.open().await;
                // What nothing knows of any more is for Raft to send again.
                let whole = open.log.last_index() == model.last_index();
                open.log.close().await.unwrap();
                if whole {
                    heal(&rig, &model, &what).await;
                }
            }
        }
        let logs = files.keys().filter(|name| name.ends_with(".log"));
        for name in logs {
            let mut files = files.clone();
            files.remove(name);
            let rig = rig_with(&files).await;
            assert!(heal(&rig, &model, &format!("{name} removed")).await > 0);
        }
    });
}

/// A whole segment is gone; the peer gives it back in pieces.
#[test]
fn a_missing_segment_is_filled() {
    run(async {
        let (files, model) = sample(true).await;
        let stems: Vec<_> = files.keys().filter_map(|name| name.strip_suffix(".log")).collect();
        for stem in &stems[1..stems.len() - 1] {
            for count_max in [1, 2, usize::MAX] {
                for reopen in [false, true] {
                    let mut files = files.clone();
                    files.retain(|name, _| !name.starts_with(stem));
                    let mut rig = rig_with(&files).await;
                    rig.applied = u64::MAX;
                    let mut open = rig.open().await;
                    while let [range, ..] = &open.log.damage()[..] {
                        let entries = asked(&model, range, count_max);
                        open.log.repair(range.clone(), entries).await.unwrap();
                        if reopen {
                            open.log.close().await.unwrap();
                            open = rig.open().await;
                        }
                    }
                    open.log.close().await.unwrap();
                    let what = format!("{stem}, {count_max} at a time, reopened: {reopen}");
                    assert_eq!(heal(&rig, &model, &what).await, 0, "{what}");
                }
            }
        }
    });
}

/// An entry is damaged, and so is what the ledger knew of it.
#[test]
fn an_entry_whose_place_is_lost_gets_a_new_one() {
    run(async {
        let (files, model) = sample(true).await;
        let (mut repaired, mut total) = (0, 0);
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".log")) {
            let ledger = name.replace(".log", ".idx");
            for slot in 0..(files[&ledger].len() - 1_024) / 48 {
                for at in (0..bytes.len()).step_by(31) {
                    let mut files = files.clone();
                    let mut flipped = bytes.to_vec();
                    flipped[at] ^= 4;
                    files.insert(name.clone(), flipped.into());
                    let mut flipped = files[&ledger].to_vec();
                    flipped[1_024 + 48 * slot + 20] ^= 4;
                    files.insert(ledger.clone(), flipped.into());
                    let what = format!("{name} at {at} and slot {slot}");
                    let rig = rig_with(&files).await;
                    let open = rig.open().await;
                    scrub(&open.log).await;
                    read_every_entry(&open.log, &what).await;
                    total += 1;
                    let mut placed = true;
                    for range in open.log.damage() {
                        let entries = asked(&model, &range, usize::MAX);
                        placed &= open.log.repair(range, entries).await.is_ok();
                    }
                    open.log.close().await.unwrap();
                    if placed && open.log.damage().is_empty() {
                        repaired += 1;
                        heal(&rig, &model, &what).await;
                    }
                }
            }
        }
        assert!(repaired * 10 > total * 9, "{repaired} of {total}");
    });
}

/// What is repaired in a test that interrupts it.
#[derive(Clone, Copy, Debug)]
enum Wound {
    /// Found by a reader: the ledger is whole and knows nothing of it.
    Body,
    /// Found by recovery, which has flagged it.
    Flagged,
    /// The last entry of the log.
    Tail,
    /// A `.log` without its file.
    NoLog,
    /// A segment without its files.
    Gap,
}

const WOUNDS: [Wound; 5] = [Wound::Body, Wound::Flagged, Wound::Tail, Wound::NoLog, Wound::Gap];

/// The files of the sample, wounded.
async fn wounded(wound: Wound) -> (Files, Model) {
    let (mut files, model) = sample(true).await;
    let logs: Vec<_> = files.keys().filter(|name| name.ends_with(".log")).cloned().collect();
    let ledger = |log: &str| log.replace(".log", ".idx");
    let (middle, last) = (&logs[1], &logs[logs.len() - 1]);
    let flip = |files: &mut Files, name: &str, at: usize| {
        let mut bytes = files[name].to_vec();
        bytes[at] ^= 1;
        files.insert(name.to_string(), bytes.into());
    };
    match wound {
        Wound::Body => flip(&mut files, middle, 100),
        Wound::Flagged => {
            flip(&mut files, middle, 100);
            // Without its footer the segment is examined.
            let cut = files[&ledger(middle)].len() - 1;
            files.insert(ledger(middle), files[&ledger(middle)].slice(..cut));
        }
        Wound::Tail => {
            let before_marks = files[last].len() - 2 * 128 - 2;
            flip(&mut files, last, before_marks);
        }
        Wound::NoLog => drop(files.remove(middle)),
        Wound::Gap => {
            let gone = ledger(middle);
            files.retain(|name, _| name != middle && *name != gone);
        }
    }
    (files, model)
}

/// Begins to repair, loses power after `cut`, then repairs for good. Returns whether the first
/// repair was done by then.
async fn lose_power(wound: Wound, cut: Duration, seed: u64) -> bool {
    let what = format!("{wound:?}, cut after {cut:?}, seed {seed}");
    let (files, model) = wounded(wound).await;
    let disk = disk_with(&files, std::path::Path::new("topics/t/3")).await;
    let mut rig = Rig::new(disk.clone()).without_tail_cache();
    rig.config = LogConfig { segment_bytes_max: 700, ..small_config() };
    let open = rig.open().await;
    read_every_entry(&open.log, &what).await;
    assert!(!open.log.damage().is_empty(), "{what}");
    let slow = Duration::from_millis(2);
    disk.set_latency(Some(slow..=slow));
    let repair = repair_all(&open.log, &model, &what);
    let finished = tokio::time::timeout(cut, repair).await.is_ok();
    disk.power_cut(seed);
    disk.set_latency(None);
    rig.disk = Rc::new(disk.reopen());
    let damaged = heal(&rig, &model, &what).await;
    assert!(!finished || damaged == 0, "{what}: what was repaired is damaged again");
    finished
}

#[test]
fn power_may_go_at_any_moment_of_a_repair() {
    for wound in WOUNDS {
        for seed in 0..8 {
            let cuts = (0..1_000).map(|n| Duration::from_millis(1 + 2 * n));
            let finished = cuts.into_iter().any(|cut| run(lose_power(wound, cut, seed)));
            assert!(finished, "{wound:?}: it ends");
        }
    }
}

#[test]
fn other_entries_are_refused() {
    run(async {
        for wound in WOUNDS {
            let (files, model) = wounded(wound).await;
            let rig = rig_with(&files).await;
            let open = rig.open().await;
            let log = &open.log;
            read_every_entry(log, "before").await;
            let range = log.damage().remove(0);
            let right = asked(&model, &range, usize::MAX);
            let first = right[0].index;
            let others = asked(&model, &DamagedRange { indexes: 1..4, ..range.clone() }, 3);
            let refused = log.repair(range.clone(), others).await;
            assert_eq!(refused, Err(RepairError::OtherEntries), "{wound:?}");
            assert_eq!(log.repair(range.clone(), vec![]).await, Err(RepairError::OtherEntries));
            let mut torn = right.clone();
            let mut body = torn[0].body.to_vec();
            *body.last_mut().unwrap() ^= 1;
            torn[0].body = body.into();
            let refused = log.repair(range.clone(), torn).await;
            assert_eq!(refused, Err(RepairError::Invalid(first)), "{wound:?}");
            // Intact, of the same index and offset, but never written here.
            let base_offset = view(&right[0]).header().base_offset;
            let mut feed = Feed { next_index: first, next_offset: base_offset, term: 1 };
            let mut forged = right.clone();
            forged[0] = feed.batch(&[7, 7, 7], 20);
            let refused = log.repair(range.clone(), forged).await;
            assert!(matches!(refused, Err(RepairError::Contradicted(_))), "{wound:?}: {refused:?}");
            assert!(log.damage().contains(&range), "{wound:?}");
            log.repair(range.clone(), right.clone()).await.unwrap();
            assert_eq!(log.repair(range, right).await, Err(RepairError::NotDamaged));
            log.close().await.unwrap();
            heal(&rig, &model, &format!("{wound:?}")).await;
        }
    });
}

/// The segment is being written, and cut, while an entry of it is repaired.
#[test]
fn the_active_segment_is_repaired_beside_its_writer() {
    for seed in 0..120 {
        run(async {
            let what = format!("seed {seed}");
            let mut dice = Dice::new(seed);
            let disk = SimDisk::new(seed);
            let mut rig = Rig::new(disk.clone()).without_tail_cache();
            rig.config = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
            let OpenRig { log, .. } = rig.open().await;
            let mut feed = Feed::of(&log, 1);
            let mut entries = vec![feed.internal(b"a leader")];
            entries.extend((0..12).map(|n| feed.batch(&[n, n], 200)));
            let mut model = Model { entries: entries.clone(), ..Model::default() };
            log.append(entries).unwrap();
            log.flush().await.unwrap();
            let name = rig.names().await.into_iter().find(|name| name.ends_with(".log")).unwrap();
            disk.flip_bit(&rig.dir.join(name), 1_000 + dice.below(900), 3).unwrap();
            read_every_entry(&log, &what).await;
            // A mark may have been hit, which no reader minds.
            let Some(range) = log.damage().pop() else { return };
            disk.set_latency(Some(Duration::ZERO..=Duration::from_millis(8)));
            let given = asked(&model, &range, usize::MAX);
            let (log_too, range_too) = (Rc::clone(&log), range.clone());
            let repair =
                tokio::task::spawn_local(async move { log_too.repair(range_too, given).await });
            tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
            let from = range.indexes.start - 2 + dice.below(5);
            let cut = log.truncate_suffix(from);
            model.truncate(from);
            let mut feed = Feed::of(&log, 2);
            let more = vec![feed.internal(b"another"), feed.batch(&[3], 400)];
            model.append(&more);
            log.append(more).unwrap();
            cut.await.unwrap();
            let repaired = repair.await.unwrap();
            let is_gone = from <= range.indexes.start;
            assert!(repaired.is_ok() || is_gone, "{what}: {repaired:?}");
            log.flush().await.unwrap();
            assert_eq!(log.damage(), [], "{what}");
            assert_holds(&log, &model).await;
            disk.set_latency(None);
            disk.power_cut(seed);
            rig.disk = Rc::new(disk.reopen());
            assert_eq!(heal(&rig, &model, &what).await, 0, "{what}");
        });
    }
}

/// A sector that the disk cannot read any more costs the entries on it, not the scrub.
#[test]
fn a_scrub_takes_an_unreadable_sector_for_damage() {
    run(async {
        let (files, model) = sample(true).await;
        let disk = disk_with(&files, std::path::Path::new("topics/t/3")).await;
        let rig = Rig::new(disk.clone()).without_tail_cache();
        let OpenRig { log, .. } = rig.open().await;
        assert_eq!(scrub(&log).await, []);
        // The piece cannot be read, and then neither can its first entry.
        let before = log.scrub(ScrubPosition::START, 1).await.unwrap().0;
        disk.fail_next(Operation::Read, libc::EIO, 2);
        let (next, found) = log.scrub(before, 300).await.unwrap();
        assert!(next.index > before.index + 1, "the others were looked at");
        let firsts: Vec<_> = found.iter().map(|range| range.indexes.start).collect();
        assert_eq!(firsts, [before.index]);
        assert_eq!(log.damage(), found);
        repair_all(&log, &model, "unreadable").await;
        assert_holds(&log, &model).await;
    });
}

/// Scrubbing goes on while segments are trimmed away beneath it, and while the log grows.
#[test]
fn a_scrub_follows_the_log() {
    run(async {
        let (files, model) = sample(true).await;
        let mut rig = rig_with(&files).await;
        rig.applied = u64::MAX;
        let OpenRig { log, .. } = rig.open().await;
        let (from, _) = log.scrub(ScrubPosition::START, 1).await.unwrap();
        log.advance_log_start(model.next_offset() - 1).await.unwrap();
        let (next, _) = log.scrub(from, 1).await.unwrap();
        assert!(next == ScrubPosition::START || next.index > log.first_index());
        // A ledger that has lost its footer is made whole by the way.
        let mut feed = Feed::of(&log, 3);
        let mut entries = vec![feed.internal(b"")];
        entries.extend((0..9).map(|n| feed.batch(&[n], 300)));
        log.append(entries).unwrap();
        log.flush().await.unwrap();
        let sealed = rig.names().await.into_iter().find(|name| name.ends_with(".idx")).unwrap();
        let whole = rig.contents(&sealed).await;
        let file = rig.disk.open(&rig.dir.join(&sealed), OpenMode::Existing).await.unwrap();
        file.truncate(whole.len() as u64 - 1).await.unwrap();
        assert_eq!(scrub(&log).await, []);
        assert_eq!(rig.contents(&sealed).await.len(), whole.len());
    });
}
