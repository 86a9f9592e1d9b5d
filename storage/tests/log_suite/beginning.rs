//! Beginning a log elsewhere, and losing power at every operation of it.
//!
//! Until the call returns the directory opens as the log it was, whole, or as the new one, empty;
//! never as anything between, and never as damage.

use std::path::Path;
use std::time::Duration;

use thalweg_storage::disk::sim::{Operation, SimDisk};
use thalweg_storage::{BeginError, Beginning, LogConfig, OpenError, begin_at};

use crate::harness::*;

const BEGINNING: Beginning = Beginning { index: 20, prev_term: 7, offset: 1_000 };

/// How long each operation of the disk takes: longer than the steps by which the cut moves on.
const OPERATION: Duration = Duration::from_millis(2);

/// What lay in the directory before.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// Segments on both sides of the new beginning, one of which holds it.
    Closed,
    /// The same with a log start of its own, as a killed process left it.
    Trimmed,
    /// A log that ends before the new beginning.
    Short,
    /// A segment with the very name that the new log's first will have.
    Namesake,
}

const ALL: [Before; 5] =
    [Before::Nothing, Before::Closed, Before::Trimmed, Before::Short, Before::Namesake];

/// A disk with a log on it, and what the log holds.
async fn prepare(before: Before, seed: u64) -> (SimDisk, Rig, Model) {
    let disk = SimDisk::new(seed);
    let mut rig = Rig::new(disk.clone());
    rig.config = LogConfig { segment_bytes_max: 1_500, ..small_config() };
    let mut model = Model::default();
    let batches = match before {
        Before::Nothing => return (disk, rig, model),
        Before::Short => 3,
        Before::Closed | Before::Trimmed | Before::Namesake => 30,
    };
    if matches!(before, Before::Namesake) {
        begin_at(&rig.disk, &rig.dir, IDENTITY, BEGINNING).await.unwrap();
        model.log_start_offset = BEGINNING.offset;
    }
    let OpenRig { log, .. } = rig.open().await;
    let mut feed = Feed::of(&log, log.last_term() + 1);
    let mut entries = vec![feed.internal(b"a new leader")];
    entries.extend((0..batches).map(|n| feed.batch(&[n, n], 60)));
    model.append(&entries);
    log.append(entries).unwrap();
    log.flush().await.unwrap();
    if matches!(before, Before::Trimmed) {
        log.applied_to(12);
        log.advance_log_start(15).await.unwrap();
        model.log_start_offset = 15;
    } else {
        log.close().await.unwrap();
    }
    disk.kill(seed);
    rig.disk = std::rc::Rc::new(disk.reopen());
    (disk, rig, model)
}

/// Asserts that the log is a new one without entries.
async fn assert_begins(open: &OpenRig, beginning: Beginning, what: &str) {
    let Beginning { index, prev_term, offset } = beginning;
    let log = &open.log;
    assert_eq!(open.report.damaged, [], "{what}");
    assert_eq!((log.first_index(), log.last_index()), (index, index - 1), "{what}");
    assert_eq!((log.log_start_offset(), log.next_offset()), (offset, offset), "{what}");
    assert_eq!((log.term(index - 1), log.last_term()), (Some(prev_term), prev_term), "{what}");
    assert_eq!((log.term(index), log.latest_epoch()), (None, None), "{what}");
    assert_eq!((log.size_bytes(), log.stable_index()), (0, index - 1), "{what}");
    assert_eq!(log.read(offset, 100, offset, true).await.unwrap().bytes, 0, "{what}");
    assert!(log.read(offset - 1, 100, offset, true).await.is_err(), "{what}");
}

/// The new log takes entries, and finds them again.
async fn assert_goes_on(rig: &Rig, beginning: Beginning, what: &str) {
    let open = rig.open().await;
    assert_begins(&open, beginning, what).await;
    let mut feed = Feed::of(&open.log, beginning.prev_term + 1);
    let mut entries = vec![feed.internal(b"a new leader")];
    entries.extend((0..9).map(|n| feed.batch(&[n, n], 60)));
    let mut model = Model { log_start_offset: beginning.offset, ..Model::default() };
    model.append(&entries);
    open.log.append(entries).unwrap();
    assert_holds(&open.log, &model).await;
    open.log.close().await.unwrap();
    let again = rig.open().await;
    assert_eq!(again.report.damaged, [], "{what}");
    assert_holds(&again.log, &model).await;
    assert_eq!(again.log.term(beginning.index - 1), Some(beginning.prev_term), "{what}");
}

#[test]
fn a_log_begins_where_it_is_told_to() {
    run(async {
        for before in ALL {
            let (_, rig, _) = prepare(before, 1).await;
            begin_at(&rig.disk, &rig.dir, IDENTITY, BEGINNING).await.unwrap();
            assert_eq!(rig.names().await, ["log-start"], "{before:?}");
            assert_goes_on(&rig, BEGINNING, &format!("{before:?}")).await;
            // As often as it takes, also backwards.
            let lower = Beginning { index: 1, prev_term: 0, offset: 0 };
            begin_at(&rig.disk, &rig.dir, IDENTITY, lower).await.unwrap();
            let open = rig.open().await;
            assert_eq!((open.log.first_index(), open.log.last_index()), (1, 0), "{before:?}");
            assert_eq!((open.log.next_offset(), open.log.term(0)), (0, Some(0)), "{before:?}");
        }
    });
}

/// Opens what a power cut left: the old log or the new one.
async fn check_either(rig: &Rig, old: &Model, before: Before, what: &str) -> bool {
    let open = rig.open().await;
    let is_new =
        open.log.last_index() == BEGINNING.index - 1 && open.log.next_offset() == BEGINNING.offset;
    if is_new {
        assert_begins(&open, BEGINNING, what).await;
    } else {
        assert_eq!(open.report.damaged, [], "{what}");
        if !matches!(before, Before::Nothing) {
            assert_holds(&open.log, old).await;
        }
    }
    open.log.close().await.unwrap();
    is_new
}

/// Begins, loses power after `cut`, perhaps opens and loses power again, and begins once more.
async fn lose_power(before: Before, cut: Duration, seed: u64) -> bool {
    let what = format!("{before:?}, cut after {cut:?}, seed {seed}");
    let (disk, mut rig, old) = prepare(before, seed).await;
    disk.set_latency(Some(OPERATION..=OPERATION));
    let begin = begin_at(&rig.disk, &rig.dir, IDENTITY, BEGINNING);
    let finished = tokio::time::timeout(cut, begin).await.map(Result::unwrap).is_ok();
    disk.power_cut(seed);
    rig.disk = std::rc::Rc::new(disk.reopen());
    if seed.is_multiple_of(3) {
        // The open that finishes it is interrupted as well.
        let moment = Duration::from_millis(1 + seed * 5 % 40);
        let _ = tokio::time::timeout(moment, rig.try_open()).await;
        disk.power_cut(seed + 1);
        rig.disk = std::rc::Rc::new(disk.reopen());
    }
    disk.set_latency(None);
    if seed.is_multiple_of(2) {
        let is_new = check_either(&rig, &old, before, &what).await;
        assert!(is_new || !finished, "{what}: what had returned was lost");
    }
    let elsewhere = Beginning { index: 33 - seed % 3, ..BEGINNING };
    begin_at(&rig.disk, &rig.dir, IDENTITY, elsewhere).await.unwrap();
    assert_goes_on(&rig, elsewhere, &what).await;
    finished
}

#[test]
fn power_may_go_at_any_moment() {
    for before in ALL {
        for seed in 0..6 {
            let cuts = (0..).map(|n| OPERATION / 2 + OPERATION * n);
            let finished = cuts.take(1_000).any(|cut| run(lose_power(before, cut, seed)));
            assert!(finished, "{before:?}: it ends");
        }
    }
}

/// A killed process may leave in the page cache what the disk has never seen. Acting on that must
/// not be more durable than itself.
#[test]
fn a_kill_and_then_a_power_cut() {
    for before in ALL {
        for seed in 0..240 {
            run(async {
                let (n, what) = (seed as u32 % 60, format!("{before:?}, seed {seed}"));
                let (disk, mut rig, old) = prepare(before, seed).await;
                disk.set_latency(Some(OPERATION..=OPERATION));
                let cut = OPERATION / 2 + OPERATION * n;
                let begin = begin_at(&rig.disk, &rig.dir, IDENTITY, BEGINNING);
                let _ = tokio::time::timeout(cut, begin).await;
                disk.kill(seed);
                rig.disk = std::rc::Rc::new(disk.reopen());
                let moment = OPERATION * (1 + seed as u32 * 7 % 41);
                let _ = tokio::time::timeout(moment, rig.try_open()).await;
                disk.power_cut(seed);
                rig.disk = std::rc::Rc::new(disk.reopen());
                disk.set_latency(None);
                check_either(&rig, &old, before, &what).await;
            });
        }
    }
}

/// The files of another partition are not this log's to remove.
#[test]
fn other_logs_are_left_alone() {
    run(async {
        let (_, rig, old) = prepare(Before::Closed, 1).await;
        let files = snapshot(&rig).await;
        let other = thalweg_storage::LogIdentity { partition: 4, ..IDENTITY };
        let refused = begin_at(&rig.disk, &rig.dir, other, BEGINNING).await.unwrap_err();
        assert!(matches!(refused, BeginError::Files(OpenError::Foreign { .. })), "{refused}");
        assert_eq!(snapshot(&rig).await, files);
        assert_holds(&rig.open().await.log, &old).await;
    });
}

#[test]
fn there_is_no_log_at_nowhere() {
    run(async {
        let rig = Rig::new(SimDisk::new(1));
        let nowhere = [
            Beginning { index: 0, ..BEGINNING },
            Beginning { offset: -1, ..BEGINNING },
            Beginning { prev_term: u32::MAX, ..BEGINNING },
        ];
        for beginning in nowhere {
            let refused = begin_at(&rig.disk, &rig.dir, IDENTITY, beginning).await.unwrap_err();
            assert!(matches!(refused, BeginError::Nowhere(at) if at == beginning), "{refused}");
        }
        assert!(rig.disk.list_dir(Path::new("topics")).await.is_err(), "nothing was made");
    });
}

/// A disk that fails is an error, and the log is what it was or what it was to be.
#[test]
fn a_failing_disk_is_reported() {
    run(async {
        for before in ALL {
            for operation in [Operation::Write, Operation::Sync, Operation::SyncDir] {
                let (disk, rig, old) = prepare(before, 1).await;
                disk.fail_next(operation, libc::EIO, 1);
                let failed = begin_at(&rig.disk, &rig.dir, IDENTITY, BEGINNING).await;
                assert!(failed.is_err(), "{before:?}, {operation:?}");
                disk.clear_faults();
                check_either(&rig, &old, before, &format!("{before:?}, {operation:?}")).await;
            }
        }
    });
}
