//! `thalweg log verify`: every byte of logs, checked.

use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;
use thalweg_storage::DamagedRange;
use thalweg_storage::offline::{self, VerifiedSegment};

use super::{FoundLog, find};
use crate::cli::failure::Failure;
use crate::cli::output::{Printer, counted, size};

#[derive(Serialize)]
struct Verified {
    logs: usize,
    bytes: u64,
    segments: Vec<Segment>,
    damaged: Vec<Damage>,
}

#[derive(Serialize)]
struct Segment {
    path: PathBuf,
    offsets: Range<i64>,
    bytes: u64,
    /// Unfinished when the process or the power went: no acknowledged record is in it.
    bytes_torn: u64,
    sealed: bool,
    ledger_intact: bool,
}

#[derive(Serialize)]
struct Damage {
    path: PathBuf,
    positions: Range<u64>,
    offsets: Range<i64>,
}

pub(super) fn run(paths: &[PathBuf], printer: &mut Printer) -> Result<(), Failure> {
    let mut verified = Verified { logs: 0, bytes: 0, segments: Vec::new(), damaged: Vec::new() };
    for path in paths {
        for log in find(path)? {
            verified.add(&log)?;
        }
    }
    printer.print(&verified, for_people)?;
    match verified.damaged.len() {
        0 => Ok(()),
        count => Err(Failure::Damaged(count)),
    }
}

impl Verified {
    fn add(&mut self, log: &FoundLog) -> Result<(), Failure> {
        let cannot = |source| Failure::io(format!("cannot verify {}", log.dir.display()), source);
        let report = offline::verify(&log.dir).map_err(cannot)?;
        let is_wanted = |path: &PathBuf| {
            let is_named = |wanted: &PathBuf| wanted.file_name() == path.file_name();
            !log.only_one || log.segments.iter().any(is_named)
        };
        self.logs += 1;
        for segment in report.segments.into_iter().filter(|it| is_wanted(&it.path)) {
            self.bytes += segment.bytes;
            self.segments.push(segment.into());
        }
        let damaged = report.damaged.into_iter().filter(|it| is_wanted(&it.path));
        self.damaged.extend(damaged.map(Damage::from));
        Ok(())
    }
}

impl From<VerifiedSegment> for Segment {
    fn from(segment: VerifiedSegment) -> Self {
        Segment {
            path: segment.path,
            offsets: segment.offsets,
            bytes: segment.bytes,
            bytes_torn: segment.bytes_torn,
            sealed: segment.sealed,
            ledger_intact: segment.ledger_intact,
        }
    }
}

impl From<DamagedRange> for Damage {
    fn from(damage: DamagedRange) -> Self {
        Damage { path: damage.path, positions: damage.positions, offsets: damage.offsets }
    }
}

fn for_people(verified: &Verified) -> String {
    let result = match verified.damaged.len() as u64 {
        0 => "every byte is what was written".to_owned(),
        count => format!("{} damaged", counted(count, "range")),
    };
    let mut text = format!(
        "{} in {}, {}: {result}\n",
        size(verified.bytes),
        counted(verified.logs as u64, "log"),
        counted(verified.segments.len() as u64, "segment"),
    );
    for segment in &verified.segments {
        let path = segment.path.display();
        if segment.bytes_torn > 0 {
            let torn = size(segment.bytes_torn);
            text += &format!("torn     {path}: {torn} at its end; the next start cuts them off\n");
        }
        if !segment.ledger_intact {
            text +=
                &format!("ledger   {path}: will be rebuilt by the next start; nothing is lost\n");
        }
    }
    for Damage { path, positions, offsets } in &verified.damaged {
        text += &format!(
            "DAMAGED  {}: bytes {} to {}, records {} to {}\n",
            path.display(),
            positions.start,
            positions.end,
            offsets.start,
            offsets.end,
        );
    }
    text
}
