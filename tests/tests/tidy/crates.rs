//! Which crate may depend on which, and which part of a crate may name what it depends on.
//!
//! Dependencies point one way: `broker → storage → protocol` and `client → protocol`.

use std::process::Command;

use serde_json::Value;

use super::source::{Source, find_word};
use super::{Complaint, check, found, report, root};

/// A crate, and those it may use in what it ships.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("thalweg-protocol", &[]),
    ("thalweg-storage", &["thalweg-protocol"]),
    ("thalweg-client", &["thalweg-protocol"]),
    ("thalweg", &["thalweg-protocol", "thalweg-storage", "thalweg-client"]),
    ("thalweg-testing", &["thalweg", "thalweg-client"]),
    ("thalweg-tests", &["thalweg", "thalweg-protocol", "thalweg-storage", "thalweg-client"]),
    ("thalweg-benches", &["thalweg", "thalweg-protocol", "thalweg-storage", "thalweg-client"]),
];

/// A crate, what it may not use, and why.
const MAY_NOT_USE: [(&str, &[&str], &str); 3] = [
    (
        "thalweg-protocol",
        &["tokio", "mio", "futures-util", "libc", "io-uring", "memmap2", "anyhow", "tracing"],
        "the wire does no I/O, has no clock and no runtime",
    ),
    ("thalweg-storage", &["anyhow", "raft", "axum", "clap"], "a log knows batches, not brokers"),
    ("thalweg-client", &["anyhow", "raft", "axum", "clap"], "applications link this"),
];

/// In a crate's sources: a name, the only places that may use it, and why.
const NAMED_ONLY_IN: [(&str, &str, &[&str], &str); 8] = [
    ("broker/src/", "raft::", &["replication/"], "the rest of the broker asks replication/"),
    ("broker/src/", "thalweg_client::", &["cli/"], "a broker is no client of itself"),
    ("broker/src/", "anyhow::", &["cli/", "main.rs"], "return a typed error"),
    ("broker/src/", "clap::", &["cli/", "main.rs", "config/flags.rs"], "flags end in Config"),
    // Before the shards start, or on a thread that is none of theirs.
    (
        "broker/src/",
        "fs::",
        &["admin/metrics/process.rs", "broker.rs", "cli/", "config/load.rs"],
        "files block the shard and escape the simulation; use the shard's Disk",
    ),
    (
        "storage/src/",
        "fs::",
        &["data_dir.rs", "disk/", "mmap.rs", "offline.rs", "offline/"],
        "files block the shard and escape the simulation; use Disk",
    ),
    ("client/src/", "fs::", &[], "a client has no files"),
    ("protocol/src/", "fs::", &[], "the wire has no files"),
];

#[test]
fn dependencies_point_one_way() {
    let mut complaints = Vec::new();
    for package in packages() {
        let name = text(&package["name"]);
        let Some((_, allowed)) = MAY_USE.iter().find(|(of, _)| *of == name) else {
            complaints.push(format!("{name}: a new crate; give it a place in MAY_USE"));
            continue;
        };
        let shipped = shipped_dependencies(&package);
        for dependency in &shipped {
            if dependency.starts_with("thalweg") && !allowed.contains(&dependency.as_str()) {
                complaints.push(format!("{name} uses {dependency}; turn the arrow round"));
            }
        }
        for (_, forbidden, why) in MAY_NOT_USE.iter().filter(|(of, ..)| *of == name) {
            for dependency in
                forbidden.iter().filter(|name| shipped.iter().any(|used| used == *name))
            {
                complaints.push(format!("{name} uses {dependency}; do without: {why}"));
            }
        }
    }
    report(complaints);
}

#[test]
fn crates_are_named_only_by_those_who_own_them() {
    check(named_in_the_wrong_place);
}

fn named_in_the_wrong_place(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (root, name, places, why) in NAMED_ONLY_IN {
        let Some(path) = source.path.strip_prefix(root) else { continue };
        if source.is_test() || places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for (index, line) in source.product_lines().iter().enumerate() {
            // Whatever follows `::` is somebody else's, but for std's own.
            let is_named = find_word(&line.code, name).any(|column| {
                let before = &line.code[..column];
                !before.ends_with("::") || before.ends_with("std::")
            });
            if is_named {
                let places =
                    if places.is_empty() { "nowhere here".into() } else { places.join(", ") };
                complaints.push((index, format!("`{name}` belongs: {places}; {why}")));
            }
        }
    }
    complaints
}

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a workspace").clone();
    assert_eq!(packages.len(), MAY_USE.len(), "crates of the workspace");
    packages
}

/// Without those of its tests.
fn shipped_dependencies(package: &Value) -> Vec<String> {
    let all = package["dependencies"].as_array().expect("a list").iter();
    all.filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| text(&dependency["name"]).to_owned())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a name")
}

#[test]
fn planted_crates_are_found() {
    let text = "use raft::Config;\nuse crate::raft::X;\n// raft::Y\nlet a = thalweg_client::B;";
    let path = "broker/src/partition/mod.rs";
    assert_eq!(found(named_in_the_wrong_place, path, text), [1, 4]);
    let path = "broker/src/replication/group.rs";
    assert_eq!(found(named_in_the_wrong_place, path, text), [4]);
    let text = "use std::fs::File;\nuse std::os::unix::fs::FileExt;\nfs::read(path)";
    assert_eq!(found(named_in_the_wrong_place, "storage/src/log.rs", text), [1, 3]);
    assert_eq!(found(named_in_the_wrong_place, "storage/src/disk/std.rs", text), [0_usize; 0]);
}
