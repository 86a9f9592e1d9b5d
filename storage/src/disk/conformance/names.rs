//! Names and directories: what open, rename and remove mean for those who hold a name, and for
//! those who hold a file.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::create;
use crate::disk::{DirEntry, Disk, OpenMode};

pub(super) async fn open_modes_decide_about_missing_and_existing_files(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let path = root.join("file");
    let missing = disk.open(&path, OpenMode::Existing).await.err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    let file = disk.open(&path, OpenMode::CreateIfMissing).await.unwrap();
    file.write_at(0, vec![Bytes::from_static(b"kept")]).await.unwrap();
    let exists = disk.open(&path, OpenMode::CreateNew).await.err().unwrap();
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);

    for mode in [OpenMode::Existing, OpenMode::CreateIfMissing] {
        let file = disk.open(&path, mode).await.unwrap();
        assert_eq!(file.read_at(0, 10).await.unwrap(), "kept");
    }
}

pub(super) async fn directories_are_no_files(disk: Rc<dyn Disk>, root: PathBuf) {
    let dir = root.join("dir");
    disk.create_dir_all(&dir).await.unwrap();
    let opened = disk.open(&dir, OpenMode::Existing).await.err().unwrap();
    assert_eq!(opened.kind(), ErrorKind::IsADirectory);
    let removed = disk.remove_file(&dir).await.unwrap_err();
    assert_eq!(removed.kind(), ErrorKind::IsADirectory);

    create(&disk, &root.join("file")).await;
    let below = disk.open(&root.join("file/below"), OpenMode::CreateNew).await.err().unwrap();
    assert_eq!(below.kind(), ErrorKind::NotADirectory);
    let listed = disk.list_dir(&root.join("file")).await.unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::NotADirectory);
}

pub(super) async fn create_dir_all_makes_every_parent_and_may_be_repeated(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let deep = root.join("a/b/c/d");
    for _ in 0..2 {
        disk.create_dir_all(&deep).await.unwrap();
        create(&disk, &deep.join("file")).await;
        disk.remove_file(&deep.join("file")).await.unwrap();
    }
}

pub(super) async fn create_dir_all_may_run_many_times_at_once(disk: Rc<dyn Disk>, root: PathBuf) {
    let dirs = (0..40).map(|index| root.join(format!("x/y/{}", index % 8)));
    try_join_all(dirs.map(|dir| disk.create_dir_all(&dir))).await.unwrap();
    assert_eq!(disk.list_dir(&root.join("x/y")).await.unwrap().len(), 8);
}

pub(super) async fn create_dir_all_stops_at_a_file(disk: Rc<dyn Disk>, root: PathBuf) {
    create(&disk, &root.join("file")).await;
    for path in ["file", "file/below", "file/far/below"] {
        let error = disk.create_dir_all(&root.join(path)).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::AlreadyExists),
            "{path}: {error}"
        );
    }
}

pub(super) async fn list_dir_names_files_and_directories(disk: Rc<dyn Disk>, root: PathBuf) {
    assert_eq!(disk.list_dir(&root).await.unwrap(), []);
    disk.create_dir_all(&root.join("b-dir/inner")).await.unwrap();
    create(&disk, &root.join("a-file")).await;
    let mut entries = disk.list_dir(&root).await.unwrap();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    let expected = [("a-file", false), ("b-dir", true)]
        .map(|(name, is_dir)| DirEntry { name: name.to_owned(), is_dir });
    assert_eq!(entries, expected);
    let missing = disk.list_dir(&root.join("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

pub(super) async fn rename_replaces_the_target(disk: Rc<dyn Disk>, root: PathBuf) {
    let (from, to) = (root.join("from"), root.join("to"));
    create(&disk, &from).await.write_at(0, vec![Bytes::from_static(b"new")]).await.unwrap();
    let replaced = create(&disk, &to).await;
    replaced.write_at(0, vec![Bytes::from_static(b"old")]).await.unwrap();

    disk.rename(&from, &to).await.unwrap();
    let there = disk.open(&to, OpenMode::Existing).await.unwrap();
    assert_eq!(there.read_at(0, 10).await.unwrap(), "new");
    assert_eq!(replaced.read_at(0, 10).await.unwrap(), "old", "the old file stays readable");
    assert!(disk.open(&from, OpenMode::Existing).await.is_err());
    assert_eq!(disk.list_dir(&root).await.unwrap().len(), 1);

    let missing = disk.rename(&from, &to).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(disk.list_dir(&root).await.unwrap().len(), 1, "a failed rename changes nothing");
}

pub(super) async fn rename_leaves_the_target_readable_at_every_moment(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let target = root.join("target");
    create(&disk, &target).await.write_at(0, vec![Bytes::from_static(b"0000")]).await.unwrap();
    let replace = async {
        for round in 1..50u32 {
            let next = root.join("next");
            let content = Bytes::from(format!("{round:04}"));
            create(&disk, &next).await.write_at(0, vec![content]).await.unwrap();
            disk.rename(&next, &target).await.unwrap();
        }
    };
    let watch = async {
        let mut last = Bytes::new();
        while last != "0049" {
            let file = disk.open(&target, OpenMode::Existing).await.unwrap();
            let found = file.read_at(0, 10).await.unwrap();
            assert_eq!(found.len(), 4, "a whole version, never none and never a part");
            assert!(found >= last, "{found:?} after {last:?}");
            last = found;
        }
    };
    tokio::join!(replace, watch);
}

pub(super) async fn rename_moves_directories_whole(disk: Rc<dyn Disk>, root: PathBuf) {
    disk.create_dir_all(&root.join("from/inner")).await.unwrap();
    create(&disk, &root.join("from/inner/file")).await;
    disk.rename(&root.join("from"), &root.join("to")).await.unwrap();
    disk.open(&root.join("to/inner/file"), OpenMode::Existing).await.unwrap();
    assert!(disk.list_dir(&root.join("from")).await.is_err());

    disk.create_dir_all(&root.join("other")).await.unwrap();
    let error = disk.rename(&root.join("other"), &root.join("to")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
}

pub(super) async fn removed_names_are_gone_and_open_handles_stay_readable(
    disk: Rc<dyn Disk>,
    root: PathBuf,
) {
    let path = root.join("file");
    let file = create(&disk, &path).await;
    file.write_at(0, vec![Bytes::from_static(b"before")]).await.unwrap();
    disk.remove_file(&path).await.unwrap();
    disk.sync_dir(&root).await.unwrap();

    file.write_at(6, vec![Bytes::from_static(b" and after")]).await.unwrap();
    assert_eq!(file.read_at(0, 100).await.unwrap(), "before and after");
    let again = create(&disk, &path).await;
    assert_eq!(again.len().await.unwrap(), 0, "the name stands for a new file");
    disk.remove_file(&path).await.unwrap();
    let gone = disk.remove_file(&path).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

pub(super) async fn remove_dir_all_removes_all_below(disk: Rc<dyn Disk>, root: PathBuf) {
    let dir = root.join("dir");
    disk.create_dir_all(&dir.join("a/b")).await.unwrap();
    let kept = create(&disk, &dir.join("a/b/file")).await;
    kept.write_at(0, vec![Bytes::from_static(b"kept")]).await.unwrap();
    create(&disk, &root.join("beside")).await;

    disk.remove_dir_all(&dir).await.unwrap();
    assert_eq!(kept.read_at(0, 10).await.unwrap(), "kept");
    assert_eq!(disk.list_dir(&root).await.unwrap().len(), 1);
    let gone = disk.remove_dir_all(&dir).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

pub(super) async fn errors_carry_the_errno(disk: Rc<dyn Disk>, root: PathBuf) {
    let missing = root.join("missing");
    let errors = [
        disk.open(&missing, OpenMode::Existing).await.err().unwrap(),
        disk.open(&missing.join("below"), OpenMode::CreateNew).await.err().unwrap(),
        disk.rename(&missing, &root.join("to")).await.unwrap_err(),
        disk.remove_file(&missing).await.unwrap_err(),
        disk.list_dir(&missing).await.unwrap_err(),
        disk.sync_dir(&missing).await.unwrap_err(),
        disk.space(&missing).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
    }
}

pub(super) async fn space_is_reported(disk: Rc<dyn Disk>, root: PathBuf) {
    let space = disk.space(&root).await.unwrap();
    assert!(space.available > 0);
    assert!(space.available <= space.total);
}
