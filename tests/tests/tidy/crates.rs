//! Which crate may depend on which, and which part of the broker may name which crate.
//!
//! Dependencies point one way: `broker → storage → protocol` and `client → protocol`.

use std::process::Command;

use serde_json::Value;

use super::source::{Source, find_word};
use super::{Complaint, check, found, report, root};

/// A crate, and those it may use in what it ships.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("thalweg-protocol", &[]),
    ("thalweg-storage", &["thalweg-protocol"]),
    ("thalweg-client", &["thalweg-protocol"]),
    ("thalweg", &["thalweg-protocol", "thalweg-storage", "thalweg-client"]),
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

/// Below `broker/src`: a crate, the only places that may name it, and why.
const NAMED_ONLY_IN: [(&str, &[&str], &str); 4] = [
    ("raft::", &["replication/"], "the rest of the broker speaks to replication/"),
    ("thalweg_client::", &["cli/", "bench/"], "a broker is no client of itself"),
    ("anyhow::", &["cli/", "bench/", "main.rs"], "return a typed error"),
    ("clap::", &["cli/", "bench/", "main.rs", "config/flags.rs"], "flags end in Config"),
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
    let Some(path) = source.path.strip_prefix("broker/src/") else { return Vec::new() };
    let mut complaints = Vec::new();
    for (krate, places, why) in NAMED_ONLY_IN {
        if source.is_test() || places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for (index, line) in source.lines.iter().enumerate() {
            let is_named =
                find_word(&line.code, krate).any(|column| !line.code[..column].ends_with("::"));
            if is_named {
                let places = places.join(", ");
                complaints.push((index, format!("`{krate}` belongs into {places}; {why}")));
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
}
