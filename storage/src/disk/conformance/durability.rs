//! Syncing. What it buys is tested where power can be cut: in simulation and on loop devices.

use std::path::PathBuf;
use std::rc::Rc;

use futures_util::future::try_join_all;

use super::{create, pattern};
use crate::disk::Disk;

pub(super) async fn syncs_succeed_on_files_and_directories(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    file.sync_data().await.unwrap();
    file.write_at(0, vec![pattern(1, 10_000)]).await.unwrap();
    file.sync_data().await.unwrap();
    file.sync_all().await.unwrap();
    disk.sync_dir(&root).await.unwrap();
    assert_eq!(file.read_at(0, 10_000).await.unwrap(), pattern(1, 10_000));
}

pub(super) async fn syncs_may_overlap_writes(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let operations = (0..20u64).flat_map(|index| {
        [file.write_at(index * 1_000, vec![pattern(index, 1_000)]), file.sync_data()]
    });
    try_join_all(operations.collect::<Vec<_>>()).await.unwrap();
    for index in 0..20 {
        assert_eq!(file.read_at(index * 1_000, 1_000).await.unwrap(), pattern(index, 1_000));
    }
}
