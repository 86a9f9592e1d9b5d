//! What only the ring promises: one submission a turn, and an answer for every operation.

use bytes::Bytes;
use futures_util::future::try_join_all;
use proptest::prelude::*;

use super::operation::{Next, Operation, Read, Write};
use super::*;
use crate::disk::conformance::{on_a_shard, pattern, uring_or_skip};

#[test]
fn the_writes_of_one_turn_cost_one_submission() {
    let dir = tempfile::tempdir().unwrap();
    on_a_shard(async {
        let Some(disk) = uring_or_skip(256) else { return };
        let opens = (0..100)
            .map(|index| disk.open(&dir.path().join(format!("{index}")), OpenMode::CreateNew));
        let files = try_join_all(opens).await.unwrap();
        let before = disk.stats().submissions();
        // A hundred tasks that become ready together, as a hundred partitions do in a turn.
        let (go, _) = tokio::sync::broadcast::channel::<()>(1);
        let tasks: Vec<_> = files
            .into_iter()
            .map(|file| {
                let mut going = go.subscribe();
                tokio::task::spawn_local(async move {
                    let _ = going.recv().await;
                    file.write_at(0, vec![Bytes::from_static(b"together")]).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(go);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(disk.stats().submissions() - before, 1);
        assert_eq!(disk.stats().in_flight(), 0);
    });
}

#[test]
fn a_disk_dropped_with_operations_in_flight_finishes_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |index: u64| dir.path().join(index.to_string());
    for leave_the_runtime in [false, true] {
        let runtime = on_a_shard(async {
            let disk = uring_or_skip(8)?;
            for index in 0..64 {
                let file = disk.open(&path(index), OpenMode::CreateIfMissing).await.unwrap();
                file.truncate(0).await.unwrap();
                drop(file.write_at(0, vec![pattern(index, 100_000)]));
                drop(file.sync_data());
            }
            let kept = leave_the_runtime.then(|| disk.clone());
            drop(disk);
            Some(kept)
        });
        if runtime.is_none() {
            return; // no io_uring here
        }
        drop(runtime);
        for index in 0..64 {
            let found = std::fs::read(path(index)).unwrap();
            assert!(found == pattern(index, 100_000), "file {index} has {} bytes", found.len());
        }
    }
}

#[test]
fn flushes_are_observed() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let observer = Arc::clone(&seen);
    let stats =
        DiskStats::with_sync_observer(Box::new(move |took| observer.lock().unwrap().push(took)));
    on_a_shard(async {
        let Ok(disk) = UringDisk::new(8, 1, Arc::new(stats)) else { return };
        let file = disk.open(&dir.path().join("file"), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![pattern(1, 4_096)]).await.unwrap();
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|took| !took.is_zero()));
    });
}

#[test]
fn errors_of_the_kernel_arrive_with_their_errno() {
    let dir = tempfile::tempdir().unwrap();
    on_a_shard(async {
        let Some(disk) = uring_or_skip(8) else { return };
        let file = disk.open(&dir.path().join("file"), OpenMode::CreateNew).await.unwrap();
        let far = 1 << 62;
        let written = file.write_at(far, vec![Bytes::from_static(b"x")]).await.unwrap_err();
        assert_eq!(written.raw_os_error(), Some(libc::EFBIG));
        let allocated = file.allocate(far).await.unwrap_err();
        assert!(allocated.raw_os_error().is_some(), "{allocated}");
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

fn some_file() -> Arc<std::fs::File> {
    Arc::new(std::fs::File::open("/dev/null").unwrap())
}

proptest! {
    /// Whatever the kernel takes at a time, the slices it is shown add up to the buffers.
    #[test]
    fn short_writes_go_on_where_they_stopped(
        lens in prop::collection::vec(0usize..50, 0..40),
        steps in prop::collection::vec(1usize..60, 1..2_000),
    ) {
        let buffers: Vec<Bytes> = lens.iter().map(|&len| pattern(len as u64, len)).collect();
        let expected = buffers.concat();
        prop_assume!(!expected.is_empty());
        let (mut write, mut done) = Write::new(some_file(), 7, buffers);
        let mut taken = Vec::new();
        let mut steps = steps.into_iter().cycle();
        loop {
            let (position, shown) = write.remaining();
            prop_assert_eq!(position, 7 + taken.len() as u64);
            let step = steps.next().unwrap().min(shown.len());
            taken.extend_from_slice(&shown[..step]);
            if write.on_completion(Ok(step)) == Next::Done {
                break;
            }
        }
        prop_assert_eq!(taken, expected);
        prop_assert!(done.try_recv().unwrap().is_ok());
    }
}

#[test]
fn a_write_that_gets_nowhere_fails() {
    let (mut write, mut done) = Write::new(some_file(), 0, vec![Bytes::from_static(b"x")]);
    assert!(write.on_completion(Ok(0)) == Next::Done);
    assert_eq!(done.try_recv().unwrap().unwrap_err().kind(), io::ErrorKind::WriteZero);
}

#[test]
fn a_failed_flush_is_not_tried_again() {
    let (sync, _) = Sync::data(some_file(), Arc::new(DiskStats::default()));
    assert!(!sync.may_retry());
    let (read, _) = Read::new(some_file(), 0, 1);
    assert!(read.may_retry());
}
