//! The rules of the house that a compiler does not know, as tests over the repository's files.
//!
//! Every complaint reads `file:line: what is wrong; what to do`. Each rule is a function from a
//! file to complaints, and has a planted offence below that it must find.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Source, find_word};

/// Product code may have `unsafe` only here.
const UNSAFE_OWNERS: [&str; 6] = [
    "broker/src/cli/dev/child.rs",
    "broker/src/cli/file_limit.rs",
    "protocol/src/primitives/string.rs",
    "storage/src/disk/syscall.rs",
    "storage/src/disk/uring/",
    "storage/src/mmap.rs",
];

/// Names that say nothing about what they name.
const EMPTY_NAMES: [&str; 11] = [
    "base",
    "common",
    "helper",
    "helpers",
    "impl",
    "manager",
    "misc",
    "types",
    "util",
    "utils",
    "utilities",
];

/// From this length on, a file opens with more than one line.
const SHORT_FILE_LINES: usize = 150;
const OPENING_LINES_MAX: usize = 40;
const PRODUCT_LINES_MAX: usize = 600;
const WIDTH_MAX: usize = 100;

/// What a rule finds in a file: the line, counted from 0, and what to do about it.
type Complaint = (usize, String);

#[test]
fn files_open_by_saying_what_they_own() {
    check(opening);
}

#[test]
fn names_say_something() {
    check(names);
    let files = tracked_files();
    let complaints = files.iter().filter_map(|path| Some(format!("{path}: {}", path_name(path)?)));
    report(complaints.collect());
}

#[test]
fn nothing_is_left_unfinished() {
    check(unfinished);
}

#[test]
fn lints_are_silenced_with_a_reason() {
    check(silenced);
}

#[test]
fn unsafe_stays_with_its_owners() {
    check(unsafe_code);
}

#[test]
fn lines_fit_the_page() {
    check(width);
}

#[test]
fn files_have_one_idea() {
    check(length);
}

fn opening(source: &Source) -> Vec<Complaint> {
    let lines = source.lines.iter().take_while(|line| line.comment.starts_with("//!")).count();
    let product_lines = source.product_lines().len();
    let what = "open with `//!`: what it owns, who calls it, what always holds";
    let complaint = match lines {
        0 => format!("the file does not say what it is; {what}"),
        1 if product_lines > SHORT_FILE_LINES && !source.is_test() => {
            format!("one line opens {product_lines} lines of code; {what}")
        }
        OPENING_LINES_MAX.. => "the opening is an essay; move it to docs/internals".to_owned(),
        _ => return Vec::new(),
    };
    vec![(0, complaint)]
}

fn names(source: &Source) -> Vec<Complaint> {
    let keywords = ["mod ", "struct ", "enum ", "trait ", "union ", "type "];
    let mut complaints = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for keyword in keywords {
            for column in find_word(&line.code, keyword) {
                let name = line.code[column + keyword.len()..]
                    .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .next()
                    .unwrap_or_default();
                if EMPTY_NAMES.contains(&last_word(name).as_str()) {
                    complaints.push((index, format!("`{name}` says nothing; name what it does")));
                }
            }
        }
    }
    complaints
}

fn path_name(path: &str) -> Option<String> {
    let stem = |part: &str| part.split('.').next().map(last_word).unwrap_or_default();
    let part = path.split('/').find(|part| EMPTY_NAMES.contains(&stem(part).as_str()))?;
    Some(format!("`{part}` says nothing; name what it holds"))
}

/// The last word of a name, be it `snake_case` or `CamelCase`.
fn last_word(name: &str) -> String {
    let start = name.rfind(['_', '-']).map_or(0, |at| at + 1);
    let word = &name[start..];
    let hump = word.rfind(|letter: char| letter.is_uppercase()).unwrap_or(0);
    word[hump..].to_lowercase()
}

fn unfinished(source: &Source) -> Vec<Complaint> {
    let words = [
        ("todo!", "write it, or return an error that says it is not supported"),
        ("unimplemented!", "write it, or return an error that says it is not supported"),
        ("dbg!", "remove it, or trace!"),
        ("#[ignore", "a test that does not run proves nothing: make it quick, or delete it"),
    ];
    let mut complaints = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        for (word, advice) in words {
            if find_word(&line.code, word).next().is_some() {
                complaints.push((index, format!("`{word}`; {advice}")));
            }
        }
        if ["TODO", "FIXME", "XXX"]
            .iter()
            .any(|word| find_word(&line.comment, word).next().is_some())
            && !line.comment.contains("docs/adr/")
        {
            let advice = "do it, or write an ADR and name it here";
            complaints.push((index, format!("a note to do something; {advice}")));
        }
    }
    complaints
}

fn silenced(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let is_attribute = line.code.contains("#[") || line.code.contains("#![");
        for word in ["allow(", "expect("] {
            let found = find_word(&line.code, word).filter(|_| is_attribute);
            for column in found {
                let inside = source.parenthesised(index, column + word.len() - 1);
                if find_word(&inside, "reason").next().is_none() {
                    complaints
                        .push((index, "silenced without a word; add `reason = \"…\"`".into()));
                }
            }
        }
    }
    complaints
}

fn unsafe_code(source: &Source) -> Vec<Complaint> {
    // A test can do no harm to anybody's data.
    let is_test = source.is_test() || source.path.starts_with("benches/");
    let is_owner = UNSAFE_OWNERS.iter().any(|owner| source.path.starts_with(owner));
    let mut complaints = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let Some(column) = find_word(&line.code, "unsafe").next() else { continue };
        if !is_owner && !is_test {
            let advice =
                "do it in safe Rust, or have the file made an owner in tests/tests/tidy.rs";
            complaints.push((index, format!("`unsafe`; {advice}")));
        }
        let is_signature = line.code[column..].starts_with("unsafe fn");
        let above = &source.lines[index.saturating_sub(6)..=index];
        if !is_signature && !above.iter().any(|line| line.comment.contains("SAFETY:")) {
            let advice = "say above it, after `// SAFETY:`, why this is sound";
            complaints.push((index, format!("`unsafe` without its proof; {advice}")));
        }
    }
    complaints
}

/// rustfmt breaks code. It leaves comments alone, and strings and tables cannot be broken.
fn width(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let content = line.comment.trim_start_matches(['/', '!', ' ']);
        let unbreakable = line.has_string || content.starts_with('|') || content.contains("://");
        if line.width > WIDTH_MAX && !unbreakable {
            let what = format!("{} characters; break the line before {WIDTH_MAX}", line.width);
            complaints.push((index, what));
        }
    }
    complaints
}

fn length(source: &Source) -> Vec<Complaint> {
    let lines = source.product_lines().len();
    if lines <= PRODUCT_LINES_MAX || source.is_test() {
        return Vec::new();
    }
    let what = "find its second idea and give that a file of its own";
    vec![(PRODUCT_LINES_MAX, format!("{lines} lines without the tests; {what}"))]
}

fn check(rule: fn(&Source) -> Vec<Complaint>) {
    let mut complaints = Vec::new();
    for source in rust_sources() {
        for (line, what) in rule(&source) {
            complaints.push(format!("{}:{}: {what}", source.path, line + 1));
        }
    }
    report(complaints);
}

#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
fn report(complaints: Vec<String>) {
    let count = complaints.len();
    assert!(complaints.is_empty(), "{count} complaints:\n{}", complaints.join("\n"));
}

fn rust_sources() -> Vec<Source> {
    let files = tracked_files().into_iter().filter(|path| path.ends_with(".rs"));
    let sources: Vec<Source> = files.map(|path| Source::parse(&path, &read(&path))).collect();
    assert!(sources.len() > 100, "{} Rust files are not the whole repository", sources.len());
    sources
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the repository").to_owned()
}

fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The repository's files, by their paths in it.
fn tracked_files() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.expect("git is installed");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let files = listed.split_terminator('\0').map(str::to_owned);
    // A file deleted but not yet committed is on its way out.
    files.filter(|path| root().join(path).exists()).collect()
}

/// The lines, counted from 1, in which `rule` finds the planted offences.
fn found(rule: fn(&Source) -> Vec<Complaint>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::parse(path, text)).into_iter().map(|(line, _)| line + 1).collect()
}

const NONE: [usize; 0] = [];

#[test]
fn planted_openings_are_found() {
    let code = "fn f() {}\n".repeat(SHORT_FILE_LINES + 1);
    assert_eq!(found(opening, "broker/src/a.rs", "fn f() {}"), [1]);
    assert_eq!(found(opening, "broker/src/a.rs", &format!("//! One.\n{code}")), [1]);
    assert_eq!(found(opening, "broker/src/a.rs", &format!("//! One.\n//! Two.\n{code}")), NONE);
    assert_eq!(found(opening, "broker/src/a/tests.rs", &format!("//! One.\n{code}")), NONE);
    assert_eq!(found(opening, "broker/src/a.rs", &"//! On and on.\n".repeat(50)), [1]);
}

#[test]
fn planted_names_are_found() {
    let text = "struct LogManager;\nmod io_util {}\nenum NoCommonVersion {}\ntype Base = u8;";
    assert_eq!(found(names, "a.rs", text), [1, 2, 4]);
    assert!(path_name("broker/src/helpers.rs").is_some());
    assert!(path_name("broker/src/common/mod.rs").is_some());
    assert!(path_name("protocol/src/newtypes.rs").is_none());
}

#[test]
fn planted_unfinished_work_is_found() {
    let text = "todo!()\nlet s = \"todo!()\";\ndbg!(x)\n#[ignore = \"slow\"]\n// TODO: later\n";
    assert_eq!(found(unfinished, "a.rs", text), [1, 3, 4, 5]);
}

#[test]
fn planted_silence_is_found() {
    let text = "#[allow(dead_code)]\n#[expect(\n  x,\n  reason = \"y\"\n)]\nr.expect(\"z\");\n\
                #![cfg_attr(test, allow(x))]";
    assert_eq!(found(silenced, "a.rs", text), [1, 7]);
}

#[test]
fn planted_unsafe_is_found() {
    let text = "// SAFETY: it is.\nunsafe { f() }";
    assert_eq!(found(unsafe_code, "storage/src/mmap.rs", text), NONE);
    assert_eq!(found(unsafe_code, "storage/src/log.rs", text), [2]);
    assert_eq!(found(unsafe_code, "tests/src/lib.rs", "unsafe { f() }"), [1]);
    assert_eq!(found(unsafe_code, "storage/src/log.rs", "// unsafe is not for us"), NONE);
}

#[test]
fn planted_long_lines_and_files_are_found() {
    let long = "x".repeat(101);
    assert_eq!(
        found(width, "a.rs", &format!("// {long}\nlet a = \"{long}\";\n//! | {long} |")),
        [1]
    );
    assert_eq!(found(width, "a.rs", &"ä".repeat(100)), NONE);
    let lines = "fn f() {}\n".repeat(PRODUCT_LINES_MAX);
    assert_eq!(found(length, "broker/src/a.rs", &lines), NONE);
    assert_eq!(found(length, "broker/src/a.rs", &format!("{lines}fn g() {{}}")), [601]);
    let tests = "#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(found(length, "broker/src/a.rs", &format!("{lines}{tests}")), NONE);
}
