//! One process owns a data directory, and only the node it was made for.

use std::process::{Command, Stdio};

use super::*;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
const OTHER_ID: Uuid = Uuid::from_u128(1);

fn founders() -> Vec<Founder> {
    let founder = |node, disk| Founder { node, disk, address: format!("broker-{node}:9192") };
    vec![founder(1, OTHER_ID), founder(3, ID)]
}

#[test]
fn a_new_directory_is_made_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("var/lib/thalweg");
    let mut dir = DataDir::open(&path, 3, ID).unwrap();
    assert_eq!((dir.path(), dir.cluster_id(), dir.directory_id()), (&*path, None, ID));
    dir.join_cluster("first", &founders()).unwrap();
    drop(dir);

    let mut dir = DataDir::open(&path, 3, OTHER_ID).unwrap();
    assert_eq!((dir.cluster_id(), dir.directory_id()), (Some("first"), ID));
    assert_eq!(dir.voters(), founders());
    dir.join_cluster("first", &[]).unwrap();
    assert_eq!(dir.voters(), founders(), "what was recorded stays");
    let other = dir.join_cluster("second", &[]).unwrap_err();
    assert!(matches!(other, DataDirError::OtherCluster { .. }), "{other}");
    assert_eq!(dir.cluster_id(), Some("first"));
}

#[test]
fn node_json_is_for_people_too() {
    let root = tempfile::tempdir().unwrap();
    drop(DataDir::open(root.path(), 3, ID).unwrap());
    let text = std::fs::read_to_string(root.path().join(NODE_NAME)).unwrap();
    let expected = concat!(
        "{\n",
        "  \"format\": 1,\n",
        "  \"node_id\": 3,\n",
        "  \"cluster_id\": null,\n",
        "  \"directory_id\": \"01234567-89ab-4def-8123-456789abcdef\"\n",
        "}\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_directory_from_before_founders_were_recorded_is_read() {
    let root = tempfile::tempdir().unwrap();
    let before =
        format!(r#"{{"format": 1, "node_id": 3, "cluster_id": "first", "directory_id": "{ID}"}}"#);
    std::fs::write(root.path().join(NODE_NAME), before).unwrap();
    let dir = DataDir::open(root.path(), 3, OTHER_ID).unwrap();
    assert_eq!((dir.cluster_id(), dir.voters()), (Some("first"), &[][..]));
}

#[test]
fn a_second_owner_is_told_who_has_it() {
    let root = tempfile::tempdir().unwrap();
    let first = DataDir::open(root.path(), 3, ID).unwrap();
    let error = DataDir::open(root.path(), 3, ID).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    assert!(message.contains(&root.path().display().to_string()), "{message}");
    drop(first);
    DataDir::open(root.path(), 3, ID).unwrap();
}

/// The lock is the kernel's: what the holder leaves behind does not keep anyone out.
#[test]
fn the_lock_ends_with_its_process() {
    let root = tempfile::tempdir().unwrap();
    let lock = root.path().join(LOCK_NAME);
    // flock(1) takes the lock, says so, and waits until its input ends.
    let holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut holder) = holder else {
        eprintln!("skipped: no flock(1) here");
        return;
    };
    let mut said = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let error = DataDir::open(root.path(), 3, ID).unwrap_err();
    assert!(matches!(error, DataDirError::InUse { holder: Holder::Unknown, .. }), "{error}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(holder);
    std::fs::write(&lock, "4242").unwrap();
    DataDir::open(root.path(), 3, ID).unwrap();
}

#[test]
fn another_nodes_directory_is_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(DataDir::open(root.path(), 3, ID).unwrap());
    let error = DataDir::open(root.path(), 4, ID).unwrap_err();
    assert!(matches!(error, DataDirError::OtherNode { found: 3, configured: 4, .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused_whatever_else_it_says() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join(NODE_NAME), r#"{"format": 2, "nodes": [3, 4]}"#).unwrap();
    let error = DataDir::open(root.path(), 3, ID).unwrap_err();
    assert!(matches!(error, DataDirError::NewerFormat { format: 2, .. }), "{error}");
    assert!(error.to_string().contains("reads up to 1"), "{error}");
}

/// Why the directory is refused, once nobody has it. A child that another test forks in this
/// process holds a copy of every descriptor, and with it the lock, until it is another program.
fn refusal(path: &Path) -> DataDirError {
    loop {
        match DataDir::open(path, 3, ID).unwrap_err() {
            DataDirError::InUse { .. } => std::thread::yield_now(),
            error => return error,
        }
    }
}

#[test]
fn a_damaged_identity_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(root.path(), 3, ID).unwrap();
    dir.join_cluster("first", &founders()).unwrap();
    drop(dir);
    let path = root.path().join(NODE_NAME);
    let whole = std::fs::read(&path).unwrap();
    for len in 0..whole.len() - 2 {
        std::fs::write(&path, &whole[..len]).unwrap();
        let error = refusal(root.path());
        assert!(matches!(error, DataDirError::Unreadable { .. }), "{len}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), &whole[..len]);
    }
}

#[test]
fn what_cannot_be_a_directory_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = DataDir::open(&file, 3, ID).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
