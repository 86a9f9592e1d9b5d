//! Maps and their residency.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;

use super::{create, pattern};
use crate::disk::Disk;

pub(super) async fn a_map_shows_the_first_bytes(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(1, 10_000);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    let map = file.map(9_000).await.unwrap();
    assert_eq!((map.len(), map.is_empty()), (9_000, false));
    map.make_resident(0..9_000).await.unwrap();
    assert_eq!(map.bytes(0..9_000), content.slice(..9_000));
    assert_eq!(map.bytes(4_095..4_097), content.slice(4_095..4_097));
    assert_eq!(map.bytes(9_000..9_000), "");
}

pub(super) async fn a_map_ends_with_the_file(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    assert!(file.map(0).await.unwrap().is_empty());
    file.map(0).await.unwrap().make_resident(0..0).await.unwrap();
    file.write_at(0, vec![pattern(1, 100)]).await.unwrap();
    let beyond = file.map(101).await.err().unwrap();
    assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof);
}

pub(super) async fn a_map_taken_again_shows_later_writes(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    file.allocate(8_192).await.unwrap();
    let before = file.map(8_192).await.unwrap();
    assert_eq!(before.bytes(5_000..5_010), [0; 10][..]);
    file.write_at(5_000, vec![pattern(9, 10)]).await.unwrap();
    let after = file.map(8_192).await.unwrap();
    assert_eq!(after.bytes(5_000..5_010), pattern(9, 10));
}

pub(super) async fn slices_outlive_the_name_the_file_and_the_map(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let path = root.join("file");
    let file = create(&disk, &path).await;
    let content = pattern(2, 50_000);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    let map = file.map(50_000).await.unwrap();
    disk.remove_file(&path).await.unwrap();
    disk.sync_dir(&root).await.unwrap();
    drop(file);
    map.make_resident(10..50_000).await.unwrap();
    let slice = map.bytes(10..50_000);
    drop((map, disk));
    assert_eq!(slice, content.slice(10..));
}

pub(super) async fn any_range_can_be_made_resident(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    let content = pattern(3, 100_001);
    file.write_at(0, vec![content.clone()]).await.unwrap();
    let map = file.map(100_001).await.unwrap();
    for range in [0..0, 0..1, 4_095..4_097, 99_000..100_001, 5_000..5_000, 0..100_001] {
        map.make_resident(range.clone()).await.unwrap();
        assert_eq!(map.bytes(range.clone()), content.slice(range));
    }
}

pub(super) async fn pages_beyond_the_end_are_an_error(disk: Rc<dyn Disk>, root: PathBuf) {
    let file = create(&disk, &root.join("file")).await;
    file.write_at(0, vec![pattern(4, 40_000)]).await.unwrap();
    let map = file.map(40_000).await.unwrap();
    // No caller of ours cuts below a map; a failing disk or another process may.
    file.truncate(10_000).await.unwrap();
    map.make_resident(0..10_000).await.unwrap();
    let error = map.make_resident(0..40_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}
