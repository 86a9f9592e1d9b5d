//! `thalweg log`: looking at log files themselves, without a broker.
//!
//! Files are only read. Those of a running broker may be looked at too; what it is writing at that
//! moment looks like a torn tail.

mod dump;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::Printer;

/// Look at log files themselves, without a broker.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Check every byte of logs, and say what is damaged and where. Exits with 5 if anything is.
    #[command(after_help = "Examples:\n  \
        thalweg log verify ./thalweg-data                    all partitions of a broker\n  \
        thalweg log verify ./thalweg-data/topics/ID/0        one partition")]
    Verify {
        /// A data directory, a topic's, a partition's, or one .log file.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Print what a log consists of: batches, internal entries and flush marks.
    Dump(dump::DumpArgs),
}

pub(super) fn run(args: LogArgs, printer: &mut Printer) -> Result<(), Failure> {
    match args.command {
        LogCommand::Verify { paths } => verify::run(&paths, printer),
        LogCommand::Dump(args) => dump::run(&args, printer),
    }
}

/// A partition's directory, and the files of it that are asked about.
#[derive(Debug, PartialEq, Eq)]
struct FoundLog {
    dir: PathBuf,
    /// Its segments, oldest first.
    segments: Vec<PathBuf>,
    /// Whether only one file of it was named.
    only_one: bool,
}

/// A data directory holds `topics/<topic>/<partition>/<segment>.log`.
const DEPTH_MAX: usize = 3;

/// The logs below `path`.
fn find(path: &Path) -> Result<Vec<FoundLog>, Failure> {
    let metadata = std::fs::metadata(path).map_err(|source| {
        let what = format!("cannot look at {}", path.display());
        match source.kind() {
            std::io::ErrorKind::NotFound => Failure::NotFound(format!("{what}: it is not there")),
            _ => Failure::io(what, source),
        }
    })?;
    let mut found = Vec::new();
    if metadata.is_dir() {
        collect(path, DEPTH_MAX, &mut found)?;
    } else if is_segment(path) {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = parent.unwrap_or(Path::new(".")).to_owned();
        found.push(FoundLog { dir, segments: vec![path.to_owned()], only_one: true });
    }
    if found.is_empty() {
        let what = "no log: give a data directory, a topic's, a partition's, or a .log file";
        return Err(Failure::NotFound(format!("{} holds {what}", path.display())));
    }
    Ok(found)
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<FoundLog>) -> Result<(), Failure> {
    let cannot = |source| Failure::io(format!("cannot list {}", dir.display()), source);
    let (mut segments, mut dirs) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = entry.path();
        if entry.file_type().map_err(cannot)?.is_dir() {
            dirs.push(path);
        } else if is_segment(&path) {
            segments.push(path);
        }
    }
    if !segments.is_empty() {
        segments.sort();
        found.push(FoundLog { dir: dir.to_owned(), segments, only_one: false });
    } else if depth > 0 {
        dirs.sort();
        for dir in dirs {
            collect(&dir, depth - 1, found)?;
        }
    }
    Ok(())
}

/// `<offset>-<index>.log`, both in decimal.
fn is_segment(path: &Path) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let name = path.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.strip_suffix(".log"));
    let numbers = stem.and_then(|stem| stem.split_once('-'));
    numbers.is_some_and(|(offset, index)| is_number(offset) && is_number(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_found_and_votes_are_not() {
        let data = tempfile::tempdir().expect("a directory");
        let partition = data.path().join("topics/some-topic/0");
        std::fs::create_dir_all(&partition).expect("a directory");
        std::fs::create_dir_all(data.path().join("shard-0")).expect("a directory");
        let segment = partition.join("00000000000000000000-00000000000000000001.log");
        for path in [&segment, &data.path().join("shard-0/votes.log")] {
            std::fs::write(path, b"").expect("a file");
        }
        let expected = |only_one| FoundLog {
            dir: partition.clone(),
            segments: vec![segment.clone()],
            only_one,
        };
        assert_eq!(find(data.path()).ok(), Some(vec![expected(false)]));
        assert_eq!(find(&partition).ok(), Some(vec![expected(false)]));
        assert_eq!(find(&segment).ok(), Some(vec![expected(true)]));
        assert!(matches!(find(&data.path().join("shard-0")), Err(Failure::NotFound(_))));
        assert!(matches!(find(&data.path().join("nowhere")), Err(Failure::NotFound(_))));
    }
}
