//! Reading, writing and sizing one file.

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;

use super::{create, pattern};
use crate::disk::{Disk, OpenMode};

pub(super) async fn written_bytes_are_read_back_through_any_handle(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let path = root.join("file");
    let writer = create(&disk, &path).await;
    let reader = disk.open(&path, OpenMode::Existing).await.unwrap();
    let content = pattern(1, 10_000);
    let buffers = vec![content.slice(..61), content.slice(61..61), content.slice(61..)];
    writer.write_at(0, buffers).await.unwrap();
    for file in [&writer, &reader] {
        assert_eq!(file.len().await.unwrap(), 10_000);
        assert_eq!(file.read_at(0, 10_000).await.unwrap(), content);
        assert_eq!(file.read_at(4_090, 20).await.unwrap(), content.slice(4_090..4_110));
    }
}

pub(super) async fn writes_replace_what_they_cover_and_nothing_else(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let file = create(&disk, &root.join("file")).await;
    let mut expected = pattern(1, 20_000).to_vec();
    file.write_at(0, vec![Bytes::from(expected.clone())]).await.unwrap();
    for (position, len) in [(0, 1), (511, 2), (4_095, 2), (8_192, 4_096), (19_990, 10)] {
        let piece = pattern(7, len);
        expected[position..position + len].copy_from_slice(&piece);
        file.write_at(position as u64, vec![piece]).await.unwrap();
    }
    assert_eq!(file.read_at(0, 30_000).await.unwrap(), expected);
}

pub(super) async fn reads_are_short_only_at_the_end(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    assert_eq!(file.read_at(0, 10).await.unwrap(), "");
    let content = pattern(2, 5_000);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    assert_eq!(file.read_at(4_990, 100).await.unwrap(), content.slice(4_990..));
    assert_eq!(file.read_at(5_000, 100).await.unwrap(), "");
    assert_eq!(file.read_at(1 << 40, 100).await.unwrap(), "");
    assert_eq!(file.read_at(100, 0).await.unwrap(), "");
}

pub(super) async fn a_write_beyond_the_end_leaves_zeroes_before_it(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let file = create(&disk, &root.join("file")).await;
    file.write_at(0, vec![Bytes::from_static(b"start")]).await.unwrap();
    file.write_at(9_000, vec![Bytes::from_static(b"end")]).await.unwrap();
    let mut expected = vec![0; 9_003];
    expected[..5].copy_from_slice(b"start");
    expected[9_000..].copy_from_slice(b"end");
    assert_eq!(file.read_at(0, 10_000).await.unwrap(), expected);
}

pub(super) async fn more_buffers_than_one_call_takes_are_all_written(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let file = create(&disk, &root.join("file")).await;
    // A kernel call takes 1024; lengths vary and some are empty.
    let buffers: Vec<Bytes> = (0..3_000).map(|index| pattern(index, index as usize % 50)).collect();
    let expected = buffers.concat();
    file.write_at(17, buffers).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 17 + expected.len() as u64);
    assert_eq!(file.read_at(17, expected.len() + 1).await.unwrap(), expected);
}

pub(super) async fn empty_writes_change_nothing(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    file.write_at(100, Vec::new()).await.unwrap();
    file.write_at(100, vec![Bytes::new(), Bytes::new()]).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
}

pub(super) async fn a_large_write_arrives_whole(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(3, 3 * 1024 * 1024 + 5);
    file.write_at(3, vec![content.slice(..1_000_000), content.slice(1_000_000..)]).await.unwrap();
    assert!(file.read_at(3, content.len()).await.unwrap() == content);
}

pub(super) async fn allocate_adds_zeroes_and_never_shortens(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    file.write_at(0, vec![Bytes::from_static(b"data")]).await.unwrap();
    file.allocate(10_000).await.unwrap();
    let mut expected = vec![0; 10_000];
    expected[..4].copy_from_slice(b"data");
    assert_eq!(file.read_at(0, 20_000).await.unwrap(), expected);
    file.allocate(100).await.unwrap();
    file.allocate(0).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 10_000);
}

pub(super) async fn truncate_cuts_and_extends_with_zeroes(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(4, 9_000);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    file.truncate(5_000).await.unwrap();
    assert_eq!(file.read_at(0, 9_000).await.unwrap(), content.slice(..5_000));
    file.truncate(9_000).await.unwrap();
    let mut expected = content[..5_000].to_vec();
    expected.resize(9_000, 0);
    assert_eq!(file.read_at(0, 9_000).await.unwrap(), expected, "what was cut does not return");
    file.truncate(0).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
}
