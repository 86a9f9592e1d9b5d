//! Retention, and deleting what is old.

use std::time::Duration;

use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{LogConfig, ReadError};

use crate::harness::*;

/// Ten batches, two to a segment, record timestamps 0, 10, 20, …
async fn ten(rig: &Rig) -> (OpenRig, Model) {
    let open = rig.open().await;
    let mut feed = Feed::of(&open.log, 1);
    let mut entries = vec![feed.internal(b"")];
    entries.extend((0..10).map(|n| feed.batch(&[n * 10], 700)));
    let model = Model { entries: entries.clone(), ..Model::default() };
    open.log.append(entries).unwrap();
    open.log.flush().await.unwrap();
    open.log.applied_to(11);
    (open, model)
}

#[test]
fn retention_by_time_and_by_size() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(1));
        rig.config = LogConfig { retention_ms: Some(100), ..small_config() };
        let (OpenRig { log, .. }, _) = ten(&rig).await;
        assert_eq!(log.retention_start(110, 10), None, "the first segment's newest is 10");
        assert_eq!(log.retention_start(111, 10), Some(2));
        assert_eq!(log.retention_start(151, 10), Some(6));
        assert_eq!(log.retention_start(151, 5), Some(4), "only what is committed");
        let size = log.size_bytes();
        log.set_config(LogConfig {
            retention_bytes: Some(size - 1),
            retention_ms: None,
            ..small_config()
        });
        assert_eq!(log.retention_start(1_000, 10), None, "less than a segment too much");
        log.set_config(LogConfig {
            retention_bytes: Some(size / 2),
            retention_ms: None,
            ..small_config()
        });
        assert_eq!(log.retention_start(1_000, 10), Some(4));
        log.set_config(LogConfig { retention_bytes: None, retention_ms: None, ..small_config() });
        assert_eq!(log.retention_start(i64::MAX, 10), None);
    });
}

#[test]
fn an_expired_active_segment_is_sealed_and_goes_later() {
    run(async {
        let mut rig = Rig::new(SimDisk::new(2));
        rig.config = LogConfig { retention_ms: Some(100), ..small_config() };
        let (OpenRig { log, .. }, _) = ten(&rig).await;
        assert_eq!(log.retention_start(1_000, 10), Some(8));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(log.retention_start(1_000, 10), Some(10));
        log.advance_log_start(10).await.unwrap();
        assert_eq!((log.log_start_offset(), log.next_offset(), log.first_index()), (10, 10, 12));
        assert_eq!(log.term(11), Some(1), "the term before the first index is known");
        assert_eq!(log.size_bytes(), 0);
        let more = Feed::of(&log, 1).batch(&[2_000], 10);
        let model = Model { entries: vec![more.clone()], log_start_offset: 10 };
        log.append(vec![more]).unwrap();
        assert_holds(&log, &model).await;
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_eq!((reopened.log.first_index(), reopened.log.term(11)), (12, Some(1)));
        assert_holds(&reopened.log, &model).await;
    });
}

#[test]
fn the_log_start_holds_within_a_segment_and_over_restarts() {
    run(async {
        let rig = Rig::new(SimDisk::new(3)).without_tail_cache();
        let (OpenRig { log, .. }, mut model) = ten(&rig).await;
        for start in [1, 3, 3, 2, 7] {
            log.advance_log_start(start).await.unwrap();
            model.log_start_offset = model.log_start_offset.max(start);
            model.entries.retain(|entry| entry.index >= log.first_index());
            assert_holds(&log, &model).await;
            let below = log.read(model.log_start_offset - 1, 1, 10, true).await;
            assert!(matches!(below, Err(ReadError::OutOfRange { .. })));
        }
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_holds(&reopened.log, &model).await;
        reopened.log.advance_log_start(99).await.unwrap();
        assert_eq!(reopened.log.log_start_offset(), 10, "the end, at most");
    });
}

#[test]
fn what_is_not_applied_stays() {
    run(async {
        let rig = Rig::new(SimDisk::new(4));
        let open = rig.open().await;
        let mut feed = Feed::of(&open.log, 1);
        let mut entries = vec![feed.internal(b"")];
        entries.extend((0..10).map(|n| feed.batch(&[n], 700)));
        open.log.append(entries).unwrap();
        open.log.flush().await.unwrap();
        open.log.applied_to(4);
        open.log.advance_log_start(9).await.unwrap();
        assert_eq!((open.log.log_start_offset(), open.log.first_index()), (9, 4));
    });
}

#[test]
fn readers_keep_what_is_deleted_under_them() {
    run(async {
        let disk = SimDisk::new(5);
        let rig = Rig::new(disk.clone()).without_tail_cache();
        let (OpenRig { log, .. }, model) = ten(&rig).await;
        let before = log.read(0, 1 << 20, 10, true).await.unwrap();
        // Reads that are under way while the segment goes either succeed or say that it is gone.
        disk.set_latency(Some(Duration::from_millis(1)..=Duration::from_millis(9)));
        let (fetched, deleted) = tokio::join!(log.read(1, 1, 10, true), log.advance_log_start(6));
        deleted.unwrap();
        match fetched {
            Ok(fetched) => {
                assert_eq!(fetched.records.concat(), *model.batches().nth(1).unwrap().bytes());
            }
            Err(error) => assert!(matches!(error, ReadError::OutOfRange { .. }), "{error}"),
        }
        let all: Vec<u8> = model.batches().flat_map(|batch| batch.bytes().to_vec()).collect();
        assert_eq!(before.records.concat(), all);
    });
}

#[test]
fn a_crash_while_segments_are_deleted_leaves_a_readable_log() {
    for seed in 0..200 {
        run(async {
            let disk = SimDisk::new(seed);
            let mut rig = Rig::new(disk.clone());
            let (OpenRig { log, .. }, mut model) = ten(&rig).await;
            {
                let trim = log.advance_log_start(7);
                tokio::pin!(trim);
                for _ in 0..Dice::new(seed).below(60) {
                    tokio::select! {
                        biased;
                        _ = &mut trim => break,
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            disk.power_cut(seed);
            rig.disk = std::rc::Rc::new(disk.reopen());
            let reopened = rig.open().await;
            assert_eq!(reopened.report.damaged, [], "seed {seed}");
            let start = reopened.log.log_start_offset();
            assert!(start == 0 || start == 7, "seed {seed}: {start}");
            model.log_start_offset = start;
            model.entries.retain(|entry| entry.index >= reopened.log.first_index());
            assert_holds(&reopened.log, &model).await;
        });
    }
}
