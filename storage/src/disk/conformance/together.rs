//! Many operations at once, and futures that are dropped.

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};

use super::{create, pattern};
use crate::disk::{Disk, DiskFile, OpenMode};

pub(super) async fn operations_start_when_called(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let write = file.write_at(0, vec![pattern(1, 5_000)]);
    let created = disk.open(&root.join("other"), OpenMode::CreateNew);
    if disk.name() != "sim" {
        // On a real disk it also runs to its end unpolled; the simulation waits for its future.
        wait_for_len(&file, 5_000).await;
        while disk.open(&root.join("other"), OpenMode::Existing).await.is_err() {}
    }
    write.await.unwrap();
    created.await.unwrap();
    assert_eq!(file.read_at(0, 5_000).await.unwrap(), pattern(1, 5_000));
}

pub(super) async fn dropped_futures_do_not_cancel(disk: Rc<dyn Disk>, root: PathBuf) {
    let path = root.join("file");
    let file = create(&disk, &path).await;
    let buffers: Vec<Bytes> = (0..5_000).map(|index| pattern(index, 1_000)).collect();
    let expected = buffers.concat();
    drop(file.write_at(0, buffers));
    drop(disk.open(&root.join("created"), OpenMode::CreateNew));
    let mut polled = file.allocate(8_000_000);
    let _ = (&mut polled).now_or_never();
    drop(polled);
    drop(file);

    let file = disk.open(&path, OpenMode::Existing).await.unwrap();
    wait_for_len(&file, 8_000_000).await;
    while disk.open(&root.join("created"), OpenMode::Existing).await.is_err() {}
    // Every byte of the pattern is there in the end, in whatever order the pieces arrived.
    while file.read_at(0, expected.len()).await.unwrap() != expected {}
}

pub(super) async fn a_dropped_read_leaves_the_file_usable(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(1, 1 << 20);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    for _ in 0..50 {
        drop(file.read_at(0, 1 << 20));
        let mut polled = file.read_at(0, 1 << 20);
        let _ = (&mut polled).now_or_never();
    }
    assert!(file.read_at(0, 1 << 20).await.unwrap() == content);
}

pub(super) async fn a_thousand_operations_at_once(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let writes = (0..1_000u64).map(|index| {
        let file = Rc::clone(&file);
        async move {
            file.write_at(index * 100, vec![pattern(index, 100)]).await?;
            if index % 100 == 0 {
                file.sync_data().await?;
            }
            file.read_at(index * 100, 100).await
        }
    });
    let read = try_join_all(writes).await.unwrap();
    for (index, found) in read.into_iter().enumerate() {
        assert_eq!(found, pattern(index as u64, 100));
    }
    assert_eq!(file.len().await.unwrap(), 100_000);
}

pub(super) async fn results_go_to_those_who_asked(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(5, 100_000);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    let reads = (0..500).map(|index| file.read_at(index * 250, 1_000));
    let opens = (0..50).map(|index| disk.open(&root.join(format!("{index}")), OpenMode::Existing));
    let (reads, opens) = tokio::join!(join_all(reads), join_all(opens));
    for (index, found) in reads.into_iter().enumerate() {
        let start = (index * 250).min(content.len());
        let end = (start + 1_000).min(content.len());
        assert_eq!(found.unwrap(), content.slice(start..end));
    }
    assert!(opens.iter().all(Result::is_err));
}

async fn wait_for_len(file: &Rc<dyn DiskFile>, len: u64) {
    while file.len().await.unwrap() != len {
        tokio::task::yield_now().await;
    }
}
