//! Disks that are full, and disks that fail.

use std::time::Duration;

use thalweg_storage::disk::sim::{Operation, SimDisk};
use thalweg_storage::{LogConfig, LogEvent, WriteError};

use crate::harness::*;

#[test]
fn a_full_disk_is_waited_out() {
    run(async {
        let disk = SimDisk::new(1);
        let rig = Rig::new(disk.clone());
        let OpenRig { log, events, .. } = rig.open().await;
        let mut model = Model::default();
        let mut feed = Feed::of(&log, 1);
        disk.set_capacity(Some(40_000));
        for n in 0..60 {
            let entries = match n {
                0 => vec![feed.internal(b""), feed.batch(&[n], 900)],
                _ => vec![feed.batch(&[n], 900)],
            };
            model.append(&entries);
            log.append(entries).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(log.is_full());
        assert!(log.stable_index() > 2 && log.stable_index() < log.last_index());
        assert_eq!(rig.shared.stats().full_logs.get(), 1);
        // Reads go on, and so does waiting.
        assert_holds(&log, &model).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(log.is_full());
        disk.set_capacity(None);
        log.flush().await.unwrap();
        assert!(!log.is_full());
        assert_eq!(log.stable_index(), log.last_index());
        assert_eq!(rig.shared.stats().full_logs.get(), 0);
        let turns: Vec<_> = events.borrow().iter().copied().filter(is_about_space).collect();
        assert_eq!(turns, [LogEvent::Full, LogEvent::Roomy]);
        log.close().await.unwrap();
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert_holds(&reopened.log, &model).await;
    });
}

fn is_about_space(event: &LogEvent) -> bool {
    matches!(event, LogEvent::Full | LogEvent::Roomy)
}

/// A log with old segments on a disk without a free page.
async fn full(disk: &SimDisk, rig: &Rig) -> OpenRig {
    let open = rig.open().await;
    let mut feed = Feed::of(&open.log, 1);
    open.log.append(vec![feed.internal(b"")]).unwrap();
    for n in 0..20 {
        open.log.append(vec![feed.batch(&[n], 900)]).unwrap();
    }
    open.log.flush().await.unwrap();
    open.log.applied_to(open.log.last_index());
    open.log.advance_log_start(1).await.unwrap();
    disk.set_capacity(Some(0));
    for n in 0..20 {
        open.log.append(vec![feed.batch(&[n], 900)]).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(open.log.is_full());
    open
}

#[test]
fn old_segments_can_be_deleted_from_a_full_disk() {
    run(async {
        let disk = SimDisk::new(2);
        let rig = Rig::new(disk.clone());
        let OpenRig { log, .. } = full(&disk, &rig).await;
        let names = rig.names().await.len();
        log.advance_log_start(15).await.unwrap();
        assert!(rig.names().await.len() < names);
        disk.set_capacity(None);
        log.flush().await.unwrap();
    });
}

#[test]
fn a_full_disk_stops_neither_delete_nor_close() {
    run(async {
        let disk = SimDisk::new(3);
        let rig = Rig::new(disk.clone());
        let OpenRig { log, .. } = full(&disk, &rig).await;
        let stable = log.stable_index();
        assert_eq!(log.close().await, Err(WriteError::Full));
        disk.set_capacity(None);
        let reopened = rig.open().await;
        assert_eq!(reopened.report.damaged, []);
        assert!(reopened.log.last_index() >= stable);
        reopened.log.close().await.unwrap();

        let disk = SimDisk::new(4);
        let rig = Rig::new(disk.clone());
        let OpenRig { log, .. } = full(&disk, &rig).await;
        log.delete().await.unwrap();
        assert!(rig.disk.list_dir(&rig.dir).await.is_err());
        assert_eq!(rig.shared.stats().full_logs.get(), 0);
    });
}

#[test]
fn any_other_failure_is_final() {
    for (operation, write_caching) in [
        (Operation::Write, false),
        (Operation::Sync, false),
        (Operation::Write, true),
        (Operation::Sync, true),
    ] {
        run(async {
            let disk = SimDisk::new(5);
            let mut rig = Rig::new(disk.clone());
            rig.config = LogConfig { write_caching, ..small_config() };
            let OpenRig { log, events, .. } = rig.open().await;
            let mut feed = Feed::of(&log, 1);
            log.append(vec![feed.internal(b"")]).unwrap();
            log.flush().await.unwrap();
            disk.fail_next(operation, libc::EIO, 1);
            log.append(vec![feed.batch(&[1], 10)]).unwrap();
            assert_eq!(log.flush().await, Err(WriteError::Failed));
            assert_eq!(events.borrow().last(), Some(&LogEvent::Failed), "{operation:?}");
            assert!(log.flushed_index() == 1);
            let more = vec![feed.batch(&[1], 10)];
            assert_eq!(log.append(more), Err(WriteError::Failed));
            assert_eq!(log.close().await, Err(WriteError::Failed));
            log.delete().await.unwrap();
        });
    }
}

/// A log start that could not be noted is noted when it is asked for again.
#[test]
fn a_log_start_that_found_no_room_is_tried_again() {
    run(async {
        let disk = SimDisk::new(1);
        let rig = Rig::new(disk.clone());
        let OpenRig { log, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        let entries = vec![feed.internal(b""), feed.batch(&[1, 2, 3], 10)];
        log.append(entries).unwrap();
        log.flush().await.unwrap();
        log.applied_to(2);
        disk.fail_next(Operation::Write, libc::ENOSPC, 1);
        assert_eq!(log.advance_log_start(2).await, Err(WriteError::Full));
        log.advance_log_start(2).await.unwrap();
        log.close().await.unwrap();
        assert_eq!(rig.open().await.log.log_start_offset(), 2);
    });
}
