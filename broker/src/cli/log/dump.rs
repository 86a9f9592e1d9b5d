//! `thalweg log dump`: what log files consist of, frame by frame.
//!
//! Reads the files as they lie, without a broker and without changing them, and goes on past what
//! is not valid.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use thalweg_client::TopicPartition;
use thalweg_client::protocol::batch::{BatchHeader, BatchView, RecordRefs};
use thalweg_storage::offline::{self, DumpedFrame, FrameKind};

use super::find;
use crate::cli::failure::Failure;
use crate::cli::json::JsonRecord;
use crate::cli::output::{Output, Printer};

/// Print what a log consists of: batches, internal entries and flush marks.
#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// A data directory, a topic's, a partition's, or one .log file.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also the records of each batch.
    #[arg(long)]
    records: bool,
    /// Leave out batches before this offset.
    #[arg(long, value_name = "OFFSET")]
    from: Option<i64>,
}

/// A compressed batch may hold this much.
const BATCH_BYTES_MAX: usize = 128 << 20;

pub(super) fn run(args: &DumpArgs, printer: &mut Printer) -> Result<(), Failure> {
    for path in &args.paths {
        for path in find(path)?.iter().flat_map(|log| &log.segments) {
            segment(path, args, printer)?;
        }
    }
    Ok(())
}

fn segment(path: &Path, args: &DumpArgs, printer: &mut Printer) -> Result<(), Failure> {
    let cannot = |source| Failure::io(format!("cannot read {}", path.display()), source);
    let file = File::open(path).map_err(cannot)?;
    if printer.output == Output::Table {
        writeln!(printer, "{}", path.display())?;
    }
    for frame in offline::dump(path).map_err(cannot)? {
        let frame = frame.map_err(cannot)?;
        if args.from.is_some_and(|from| end(&frame.kind) <= from) {
            continue;
        }
        match printer.output {
            Output::Table => {
                let what = describe(&frame.kind);
                writeln!(printer, "{:>12} {:>10}  {what}", frame.position, frame.size)?;
            }
            Output::Json => writeln!(printer, "{}", as_json(path, &frame))?,
        }
        if args.records && matches!(frame.kind, FrameKind::Batch(_)) {
            let mut bytes = vec![0; usize::try_from(frame.size).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, frame.position).map_err(cannot)?;
            records(path, bytes, printer)?;
        }
    }
    Ok(())
}

/// The offset after the frame; what is not valid has none and is always shown.
fn end(kind: &FrameKind) -> i64 {
    match kind {
        FrameKind::Batch(header) => header.next_offset(),
        FrameKind::Internal { next_offset, .. } | FrameKind::FlushMark { next_offset, .. } => {
            *next_offset
        }
        FrameKind::Invalid(_) | FrameKind::Zeroes | FrameKind::Garbage => i64::MAX,
    }
}

fn codec(header: &BatchHeader) -> &'static str {
    header.attributes.codec().map_or("of an unknown codec", |codec| codec.name())
}

fn describe(kind: &FrameKind) -> String {
    match kind {
        FrameKind::Batch(header) => format!(
            "batch     offsets {}..{}, {} records, epoch {}, {}, producer {}/{} from {}",
            header.base_offset,
            header.next_offset(),
            header.record_count,
            header.partition_leader_epoch,
            codec(header),
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        ),
        FrameKind::Internal { index, term, next_offset } => {
            format!("internal  index {index}, term {term}, next offset {next_offset}")
        }
        FrameKind::FlushMark { entry_count, next_index, next_offset, .. } => format!(
            "mark      {entry_count} entries durable, next index {next_index}, \
             next offset {next_offset}"
        ),
        FrameKind::Invalid(header) => {
            format!("INVALID   claims offsets {}..{}", header.base_offset, header.next_offset())
        }
        FrameKind::Zeroes => "zeroes    preallocated".to_owned(),
        FrameKind::Garbage => "GARBAGE   nothing that begins like a frame".to_owned(),
    }
}

fn as_json(path: &Path, frame: &DumpedFrame) -> serde_json::Value {
    let kind = match &frame.kind {
        FrameKind::Batch(header) => json!({
            "kind": "batch",
            "base_offset": header.base_offset,
            "next_offset": header.next_offset(),
            "records": header.record_count,
            "leader_epoch": header.partition_leader_epoch,
            "codec": codec(header),
            "max_timestamp": header.max_timestamp,
            "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence,
        }),
        FrameKind::Internal { index, term, next_offset } => {
            json!({"kind": "internal", "index": index, "term": term, "next_offset": next_offset})
        }
        FrameKind::FlushMark { entry_count, next_index, next_offset, .. } => json!({
            "kind": "mark",
            "entries": entry_count,
            "next_index": next_index,
            "next_offset": next_offset,
        }),
        FrameKind::Invalid(_) => json!({"kind": "invalid"}),
        FrameKind::Zeroes => json!({"kind": "zeroes"}),
        FrameKind::Garbage => json!({"kind": "garbage"}),
    };
    let mut whole = json!({"path": path, "position": frame.position, "size": frame.size});
    if let (Some(whole), serde_json::Value::Object(kind)) = (whole.as_object_mut(), kind) {
        whole.extend(kind);
    }
    whole
}

fn records(path: &Path, bytes: Vec<u8>, printer: &mut Printer) -> Result<(), Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("{}: records that cannot be read: {error}", path.display()))
    };
    let view = BatchView::parse(bytes.into()).map_err(|error| unreadable(&error))?;
    let body = view.decompress(BATCH_BYTES_MAX).map_err(|error| unreadable(&error))?;
    // The files know the topic's id only.
    let id = path.parent().and_then(Path::parent).and_then(Path::file_name);
    let id = id.map(|name| name.to_string_lossy()).unwrap_or_default();
    let partition = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let partition = partition.and_then(|name| name.parse().ok()).unwrap_or(-1);
    let source = TopicPartition::new(&*id, partition);
    for record in RecordRefs::new(view.header(), &body) {
        let record = record.map_err(|error| unreadable(&error))?;
        if printer.output == Output::Table {
            write!(printer, "{:25}", "")?;
        }
        let record = JsonRecord::new(&source, &record);
        serde_json::to_writer(&mut *printer, &record).map_err(std::io::Error::from)?;
        printer.write_all(b"\n")?;
    }
    Ok(())
}
