//! What documents and decisions must keep to, and what nobody writes into a file of the repository.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{read, report, root, tracked_files};

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for path in markdown() {
        let text = read(&path);
        complaints.extend(broken_links(&path, &text, |target| root().join(target).exists()));
        complaints.extend(gone_paths(&path, &text, |target| root().join(target).exists()));
    }
    report(complaints);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let names: Vec<String> = tracked_files()
        .into_iter()
        .filter_map(|path| path.strip_prefix("docs/adr/").map(str::to_owned))
        .collect();
    assert!(!names.is_empty(), "docs/adr is empty");
    let mut complaints = misnumbered(&names);
    for name in &names {
        let path = format!("docs/adr/{name}");
        let title = format!("# {} — ", name.get(..4).unwrap_or_default());
        if !read(&path).starts_with(&title) {
            complaints.push(format!("{path}:1: the title must begin with `{title}`"));
        }
    }
    report(complaints);
}

#[test]
fn files_speak_of_the_project_alone() {
    let mut complaints = Vec::new();
    for path in tracked_files() {
        complaints.extend(strays(&path, &read(&path)));
    }
    report(complaints);
}

fn markdown() -> Vec<String> {
    let files: Vec<String> =
        tracked_files().into_iter().filter(|path| path.ends_with(".md")).collect();
    assert!(files.contains(&"README.md".to_owned()), "{files:?}");
    files
}

fn broken_links(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let headings: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with('#')).map(heading_anchor).collect();
    let mut complaints = Vec::new();
    for (number, line) in numbered(text) {
        for link in line.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let gone = if file.is_empty() {
                !headings.contains(anchor)
            } else {
                !exists(&resolve(Path::new(path).parent().unwrap_or(Path::new("")), file))
            };
            if gone {
                complaints.push(format!("{path}:{number}: `{target}` is not there; mend the link"));
            }
        }
    }
    complaints
}

/// The fragment that a heading can be reached by.
fn heading_anchor(line: &str) -> String {
    let title = line.trim_start_matches('#').trim().to_lowercase();
    let letters =
        title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    letters.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Code moves, and the pages that name its files must move with it.
fn gone_paths(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    const FOLDERS: [&str; 7] =
        ["protocol/", "storage/", "broker/", "client/", "tests/", "benches/", "docs/"];
    let plain =
        |word: &str| word.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
    let mut complaints = Vec::new();
    for (number, line) in numbered(text) {
        for word in line.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder)) && plain(word);
            if is_path && !exists(Path::new(word)) {
                complaints.push(format!("{path}:{number}: `{word}` is gone; say where it is now"));
            }
        }
    }
    complaints
}

fn resolve(folder: &Path, target: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
    }
    resolved
}

fn misnumbered(names: &[String]) -> Vec<String> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    let mut complaints = Vec::new();
    for (number, name) in (1..).zip(names) {
        let is_plain =
            name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
        if !name.starts_with(&format!("{number:04}-")) || !name.ends_with(".md") || !is_plain {
            complaints.push(format!("docs/adr/{name}: number {number:04} should stand here"));
        }
    }
    complaints
}

/// Words that mean something on one machine or to one person only. They are spelt here in two
/// parts, since this file is in the repository too.
fn strays(path: &str, text: &str) -> Vec<String> {
    let words = [
        (concat!("/wo", "rk/"), "name the path in the repository"),
        (concat!("/ro", "ot/"), "use $HOME, or a temporary folder"),
        (concat!("/ho", "me/"), "use $HOME, or a temporary folder"),
        (concat!("/tmp/ta", "rget"), "let cargo choose, or use $CARGO_TARGET_DIR"),
        (concat!("suba", "gent"), "say what the code does, not who wrote it"),
        (concat!("help", "er-"), "say what it does"),
        (concat!("regi", "stry.npmjs"), "let the package manager know its registry"),
        (concat!("pythonho", "sted"), "let the package manager know its registry"),
        (concat!("proxy.gol", "ang"), "let the package manager know its registry"),
        (concat!("repo1.ma", "ven"), "let the package manager know its registry"),
    ];
    let mut complaints = Vec::new();
    for (number, line) in numbered(text) {
        for (word, advice) in words {
            if line.contains(word) {
                complaints.push(format!("{path}:{number}: `{word}`; {advice}"));
            }
        }
        if names_a_ticket(line) {
            complaints.push(format!("{path}:{number}: a ticket's number; say what it was about"));
        }
    }
    complaints
}

/// Whether the line points to a number in some tracker of our own.
fn names_a_ticket(line: &str) -> bool {
    let lower = line.to_lowercase();
    let ours = !lower.contains("://") && !lower.contains("rustsec");
    ours && lower.split(concat!("iss", "ue ")).skip(1).any(|rest| {
        rest.trim_start_matches('#').starts_with(|letter: char| letter.is_ascii_digit())
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

#[test]
fn planted_links_are_found() {
    let text = "# One idea\n[a](b.md) [c](#one-idea)\n[d](../e.rs#L3) [f](#two)\n[g](https://h)";
    let there = |target: &Path| target == Path::new("docs/b.md");
    let complaints = broken_links("docs/page.md", text, there);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].starts_with("docs/page.md:3: `../e.rs#L3`"), "{complaints:?}");
    assert!(complaints[1].starts_with("docs/page.md:3: `#two`"), "{complaints:?}");
    let complaints = gone_paths("README.md", "`storage/src/x.rs` `storage/<n>` `docs/b.md`", there);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
}

#[test]
fn planted_gaps_are_found() {
    let names = ["0001-a.md", "0002-b.md", "0004-c.md"].map(str::to_owned);
    assert_eq!(misnumbered(&names).len(), 1);
    assert!(misnumbered(&names[..2]).is_empty());
}

#[test]
fn planted_strays_are_found() {
    let path = concat!("cd /wo", "rk/main");
    assert_eq!(strays("a.sh", path).len(), 1);
    assert_eq!(strays("a.rs", concat!("// see iss", "ue #12")).len(), 1);
    assert_eq!(strays("a.rs", "// the issue is that 3 brokers disagree").len(), 0);
}
