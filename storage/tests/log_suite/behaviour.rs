//! What a log does when nothing goes wrong.

use std::time::Duration;

use thalweg_storage::disk::OpenMode;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{LogConfig, LogEvent, OpenError, ReadError, SharedConfig, WriteError};

use crate::harness::*;

#[test]
fn entries_are_read_before_and_after_they_are_written() {
    run(async {
        let rig = Rig::new(SimDisk::new(1));
        let OpenRig { log, report, events } = rig.open().await;
        assert!(report.segments.is_empty());
        let mut model = Model::default();
        let mut feed = Feed::of(&log, 1);
        let entries = vec![feed.internal(b"blank"), feed.batch(&[5, 6], 40), feed.batch(&[7], 10)];
        model.append(&entries);
        log.append(entries).unwrap();
        assert_eq!(log.written_index(), 0);
        assert_holds(&log, &model).await;
        log.flush().await.unwrap();
        assert_eq!(*events.borrow(), [LogEvent::Written(3), LogEvent::Stable(3)]);
        assert_holds(&log, &model).await;
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_holds(&reopened.log, &model).await;
    });
}

/// A log of `batches` batches in several segments, flushed.
async fn filled(rig: &Rig, batches: u64) -> (OpenRig, Model) {
    let open = rig.open().await;
    let mut model = Model::default();
    let mut feed = Feed::of(&open.log, 1);
    let mut entries = vec![feed.internal(b"blank")];
    entries.extend((0..batches).map(|n| feed.batch(&[n as i64, n as i64 + 1], 80)));
    model.append(&entries);
    open.log.append(entries).unwrap();
    open.log.flush().await.unwrap();
    (open, model)
}

#[test]
fn cold_reads_cross_segments() {
    run(async {
        let rig = Rig::new(SimDisk::new(2)).without_tail_cache();
        let (OpenRig { log, .. }, model) = filled(&rig, 40).await;
        assert!(rig.names().await.len() > 8, "{:?}", rig.names().await);
        assert_holds(&log, &model).await;
        assert!(rig.shared.stats().cold_reads.get() > 0);
    });
}

#[test]
fn the_tail_cache_answers_without_waiting() {
    run(async {
        let rig = Rig::new(SimDisk::new(2));
        let (OpenRig { log, .. }, model) = filled(&rig, 5).await;
        let fetched = log.try_read_cached(3, 1, log.next_offset(), true).unwrap().unwrap();
        let batch = model.batches().nth(1).unwrap();
        assert_eq!(
            fetched.records.concat(),
            *batch.bytes(),
            "offset 3 lies within the second batch"
        );
        assert_eq!(fetched.next_offset, 4);
        let nothing = log.try_read_cached(3, 1, log.next_offset(), false).unwrap().unwrap();
        assert_eq!((nothing.bytes, nothing.next_offset), (0, 3));
        let below_upper = log.try_read_cached(2, 1 << 20, 4, true).unwrap().unwrap();
        assert_eq!(below_upper.next_offset, 4);
        assert_eq!(rig.shared.stats().cold_reads.get(), 0);
    });
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    run(async {
        let rig = Rig::new(SimDisk::new(2));
        let (OpenRig { log, .. }, _) = filled(&rig, 5).await;
        let at_end = log.read(10, 1, 10, true).await.unwrap();
        assert_eq!((at_end.bytes, at_end.next_offset), (0, 10));
        for offset in [-1, 11] {
            let refused = log.read(offset, 1, 10, true).await.unwrap_err();
            assert!(matches!(
                refused,
                ReadError::OutOfRange { log_start_offset: 0, next_offset: 10, .. }
            ));
        }
    });
}

#[test]
fn one_slice_for_batches_that_lie_together() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(3)).without_tail_cache();
        rig.config =
            LogConfig { segment_bytes_max: 1 << 20, window_bytes_max: 1 << 20, ..rig.config };
        let (OpenRig { log, .. }, model) = filled(&rig, 20).await;
        let fetched = log.read(0, 1 << 20, log.next_offset(), true).await.unwrap();
        // One window holds them all.
        assert_eq!(fetched.records.len(), 1);
        let all: Vec<u8> = model.batches().flat_map(|batch| batch.bytes().to_vec()).collect();
        assert_eq!(fetched.records.concat(), all);
    });
}

#[test]
fn flushes_gather_what_arrives_meanwhile() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(4));
        rig.config =
            LogConfig { segment_bytes_max: 1 << 20, window_bytes_max: 1 << 20, ..rig.config };
        let OpenRig { log, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        log.append(vec![feed.internal(b"")]).unwrap();
        for n in 0..100 {
            log.append(vec![feed.batch(&[n], 10)]).unwrap();
            if n == 50 {
                tokio::task::yield_now().await;
            }
        }
        log.flush().await.unwrap();
        assert!(rig.shared.stats().flushes.get() <= 3, "{:?}", rig.shared.stats());
    });
}

#[test]
fn segments_roll_by_size_time_and_ledger() {
    run(async {
        let roll = |config: LogConfig, timestamps: Vec<i64>| async move {
            let mut rig = Rig::new(SimDisk::new(5));
            rig.config = config;
            let OpenRig { log, .. } = rig.open().await;
            let mut feed = Feed::of(&log, 1);
            let mut entries = vec![feed.internal(b"")];
            entries.extend(timestamps.iter().map(|at| feed.batch(&[*at], 100)));
            log.append(entries).unwrap();
            log.flush().await.unwrap();
            let names = rig.names().await.into_iter();
            let logs = names.filter(|name| name.ends_with(".log"));
            logs.map(|name| name[..20].parse::<i64>().unwrap()).collect::<Vec<_>>()
        };
        let roomy = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
        assert_eq!(roll(roomy.clone(), vec![0; 6]).await, [0]);
        // A batch takes 173 bytes, its mark 128 more when it comes alone.
        let by_size = LogConfig { segment_bytes_max: 600, ..roomy.clone() };
        assert_eq!(roll(by_size, vec![0; 6]).await, [0, 2, 4]);
        let by_time = LogConfig { segment_ms_max: 10, ..roomy.clone() };
        assert_eq!(roll(by_time, vec![100, 105, 110, 111, 90, 122]).await, [0, 3, 5]);
        let by_ledger = LogConfig { ledger_bytes_max: 1024 + 3 * 48, ..roomy };
        assert_eq!(roll(by_ledger, vec![0; 6]).await, [0, 2, 5]);
    });
}

#[test]
fn a_suffix_is_replaced_while_the_disk_is_behind() {
    run(async {
        let rig = Rig::new(SimDisk::new(6)).without_tail_cache();
        let (OpenRig { log, events, .. }, mut model) = filled(&rig, 40).await;
        for (from, term) in [(30, 2), (30, 3), (12, 4), (41, 5)] {
            let from = from.min(log.last_index() + 1);
            events.borrow_mut().clear();
            let cut = log.truncate_suffix(from);
            model.truncate(from);
            assert_eq!(log.last_index(), from - 1);
            assert!(log.stable_index() < from);
            let mut feed = Feed::of(&log, term);
            let entries =
                vec![feed.internal(b"new leader"), feed.batch(&[99], 300), feed.batch(&[98], 9)];
            model.append(&entries);
            log.append(entries).unwrap();
            cut.await.unwrap();
            log.flush().await.unwrap();
            let last = log.last_index();
            assert!(events.borrow().contains(&LogEvent::Stable(last)), "{:?}", events.borrow());
            assert_holds(&log, &model).await;
        }
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_holds(&reopened.log, &model).await;
    });
}

#[test]
fn a_whole_log_can_be_replaced() {
    run(async {
        let rig = Rig::new(SimDisk::new(7)).without_tail_cache();
        let (OpenRig { log, .. }, _) = filled(&rig, 20).await;
        log.truncate_suffix(1).await.unwrap();
        assert_eq!((log.last_index(), log.next_offset(), log.last_term()), (0, 0, 0));
        let mut feed = Feed::of(&log, 3);
        let entries = vec![feed.internal(b"")];
        let model = Model { entries: entries.clone(), ..Model::default() };
        log.append(entries).unwrap();
        log.close().await.unwrap();
        assert_holds(&rig.open().await.log, &model).await;
    });
}

#[test]
#[should_panic(expected = "entry 5 is applied")]
fn an_applied_entry_is_never_truncated() {
    run(async {
        let rig = Rig::new(SimDisk::new(8));
        let (OpenRig { log, .. }, _) = filled(&rig, 20).await;
        log.applied_to(5);
        drop(log.truncate_suffix(5));
    });
}

#[test]
#[should_panic(expected = "offsets have no holes")]
fn a_hole_in_the_offsets_is_a_broken_invariant() {
    run(async {
        let rig = Rig::new(SimDisk::new(8));
        let (OpenRig { log, .. }, _) = filled(&rig, 2).await;
        let mut feed = Feed::of(&log, 1);
        feed.next_offset += 1;
        let _ = log.append(vec![feed.batch(&[1], 1)]);
    });
}

#[test]
#[should_panic(expected = "a term begins with an internal entry")]
fn a_term_begins_with_an_internal_entry() {
    run(async {
        let rig = Rig::new(SimDisk::new(8));
        let (OpenRig { log, .. }, _) = filled(&rig, 2).await;
        let _ = log.append(vec![Feed::of(&log, 2).batch(&[1], 1)]);
    });
}

#[test]
fn metadata_leaves_memory_once_applied_and_is_found_on_disk() {
    run(async {
        let rig = Rig::new(SimDisk::new(9)).without_tail_cache();
        let (OpenRig { log, .. }, model) = filled(&rig, 40).await;
        assert!(log.meta(1).is_some(), "nothing is applied yet");
        log.applied_to(20);
        assert_eq!((log.meta(20), log.meta(21).is_some()), (None, true));
        assert_holds(&log, &model).await;
        log.close().await.unwrap();
        let reopened = Rig { applied: 30, ..rig }.open().await.log;
        assert_eq!(reopened.meta(30), None);
        let metas: Vec<_> =
            (31..=41).map(|index| reopened.meta(index).unwrap().base_offset).collect();
        assert_eq!(metas, (58..=78).step_by(2).collect::<Vec<_>>());
    });
}

#[test]
fn with_write_caching_written_is_stable_and_flushes_follow() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(10));
        rig.config = LogConfig { write_caching: true, flush_ms_max: 500, ..small_config() };
        let OpenRig { log, events, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        log.append(vec![feed.internal(b""), feed.batch(&[1], 10)]).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(*events.borrow(), [LogEvent::Written(2), LogEvent::Stable(2)]);
        assert_eq!(log.flushed_index(), 0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(log.flushed_index(), 2);
        log.append(vec![feed.batch(&[1], 10)]).unwrap();
        log.flush().await.unwrap();
        assert_eq!(log.flushed_index(), 3);
        // By count.
        log.set_config(LogConfig {
            flush_messages_max: 2,
            flush_ms_max: 1 << 30,
            ..rig.config.clone()
        });
        log.append(vec![feed.batch(&[1], 10), feed.batch(&[1], 10)]).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(log.flushed_index(), 5);
        // Without write caching what is not flushed yet is flushed at once.
        log.append(vec![feed.batch(&[1], 10)]).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((log.stable_index(), log.flushed_index()), (6, 5));
        log.set_config(small_config());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(log.flushed_index(), 6);
    });
}

#[test]
fn an_idle_log_needs_no_verification() {
    run(async {
        let disk = SimDisk::new(11);
        let mut rig = Rig::new(disk.clone());
        let (OpenRig { log, .. }, model) = filled(&rig, 3).await;
        disk.kill(1);
        rig.disk = std::rc::Rc::new(disk.reopen());
        let reopened = rig.open().await;
        assert!(reopened.report.segments[0].entries_verified > 0, "nothing proves the last window");
        drop(log);
        // Now it falls idle, and a mark proves the last window.
        let mut feed = Feed::of(&reopened.log, 1);
        let more = feed.batch(&[9], 9);
        reopened.log.append(vec![more.clone()]).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        disk.kill(2);
        rig.disk = std::rc::Rc::new(disk.reopen());
        let again = rig.open().await;
        assert_eq!(again.report.segments[0].entries_verified, 0, "{:?}", again.report);
        let mut model = model;
        model.append(&[more]);
        assert_holds(&again.log, &model).await;
    });
}

#[test]
fn a_closed_log_is_opened_without_verification_and_takes_no_writes() {
    run(async {
        let rig = Rig::new(SimDisk::new(12));
        let (OpenRig { log, .. }, model) = filled(&rig, 30).await;
        log.close().await.unwrap();
        assert_eq!(log.append(vec![Feed::of(&log, 1).batch(&[1], 1)]), Err(WriteError::Closed));
        let files = snapshot(&rig).await;
        let reopened = rig.open().await;
        assert!(reopened.report.segments.iter().all(|segment| segment.entries_verified == 0));
        assert_holds(&reopened.log, &model).await;
        reopened.log.close().await.unwrap();
        assert_eq!(snapshot(&rig).await, files, "opening and closing changes nothing");
    });
}

#[test]
fn a_deleted_log_leaves_nothing() {
    run(async {
        let rig = Rig::new(SimDisk::new(13));
        let (OpenRig { log, .. }, _) = filled(&rig, 30).await;
        log.append(vec![Feed::of(&log, 1).batch(&[1], 1)]).unwrap();
        log.delete().await.unwrap();
        assert!(rig.disk.list_dir(&rig.dir).await.is_err());
        assert_eq!(rig.shared.mappings(), 0);
    });
}

#[test]
fn mappings_are_bounded_and_readers_keep_theirs() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(14));
        let limits = SharedConfig { tail_cache_bytes_max: 0, mappings_max: 3 };
        rig.shared = std::rc::Rc::new(thalweg_storage::LogShared::new(limits));
        let (OpenRig { log, .. }, model) = filled(&rig, 60).await;
        let first = log.read(0, 1, log.next_offset(), true).await.unwrap();
        assert_holds(&log, &model).await;
        assert!(rig.shared.mappings() <= 3);
        assert_eq!(first.records.concat(), *model.batches().next().unwrap().bytes());
    });
}

#[test]
fn a_log_of_internal_entries_rolls_and_is_trimmed_by_index() {
    run(async {
        let rig = Rig::new(SimDisk::new(15)).without_tail_cache();
        let OpenRig { log, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        let entries: Vec<_> = (0..50).map(|n| feed.internal(&[n; 100])).collect();
        let mut model = Model { entries: entries.clone(), ..Model::default() };
        log.append(entries).unwrap();
        log.flush().await.unwrap();
        assert_holds(&log, &model).await;
        log.applied_to(50);
        log.advance_first_index(25).await.unwrap();
        let first = log.first_index();
        assert!((11..=25).contains(&first), "{first}");
        assert_eq!(log.term(first - 1), Some(1));
        model.entries.retain(|entry| entry.index >= first);
        assert_holds(&log, &model).await;
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_eq!(reopened.log.first_index(), first);
        assert_holds(&reopened.log, &model).await;
    });
}

#[test]
fn files_of_another_log_or_a_newer_version_are_refused_and_kept() {
    run(async {
        let rig = Rig::new(SimDisk::new(16));
        let (OpenRig { log, .. }, _) = filled(&rig, 3).await;
        log.close().await.unwrap();
        let files = snapshot(&rig).await;
        let moved = Rig::new(disk_with(&files, std::path::Path::new("topics/t/4")).await);
        let other = thalweg_storage::LogIdentity { partition: 4, ..IDENTITY };
        let opened = moved.open_as(other, std::path::Path::new("topics/t/4")).await;
        assert!(matches!(opened, Err(OpenError::Foreign { .. })));

        let ledger = files.keys().find(|name| name.ends_with(".idx")).unwrap();
        let file = rig.disk.open(&rig.dir.join(ledger), OpenMode::Existing).await.unwrap();
        let mut header = files[ledger][..64].to_vec();
        header[9] = 9;
        let crc = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&crc.to_be_bytes());
        file.write_at(0, vec![header.into()]).await.unwrap();
        let opened = rig.try_open().await;
        assert!(matches!(opened, Err(OpenError::NewerFormat { found: 9, supported: 1, .. })));
    });
}

#[test]
fn epochs_follow_the_terms() {
    run(async {
        let rig = Rig::new(SimDisk::new(17)).without_tail_cache();
        let OpenRig { log, .. } = rig.open().await;
        // Offsets 0..3 in term 2, none in 3, 3..9 in 5.
        for (term, batches) in [(2, 3), (3, 0), (5, 6)] {
            let mut feed = Feed::of(&log, term);
            let mut entries = vec![feed.internal(b"")];
            entries.extend((0..batches).map(|n| feed.batch(&[n], 300)));
            log.append(entries).unwrap();
        }
        log.close().await.unwrap();
        let check = |log: &thalweg_storage::Log| {
            let ends: Vec<_> = (0..=6).map(|epoch| log.epoch_end_offset(epoch)).collect();
            let expected = [(0, 0), (1, 0), (2, 3), (3, 3), (3, 3), (5, 9)].map(Some);
            assert_eq!(ends, [&expected[..], &[None]].concat());
            assert_eq!(log.latest_epoch(), Some(5));
            assert_eq!([0, 2, 3, 8].map(|offset| log.epoch_at(offset)), [2, 2, 5, 5].map(Some));
        };
        check(&log);
        let reopened = rig.open().await.log;
        check(&reopened);
        reopened.truncate_suffix(5).await.unwrap();
        assert_eq!(reopened.last_term(), 2);
        assert_eq!(reopened.epoch_end_offset(2), Some((2, 3)));
        assert_eq!(reopened.epoch_end_offset(3), None);
    });
}
