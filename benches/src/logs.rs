//! Logs to measure with, and entries for them as a leader makes them: a header patched with offset
//! and epoch before an untouched body.

use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use bytes::Bytes;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView, HEADER_LEN, HeaderPatch};
use thalweg_storage::disk::Disk;
use thalweg_storage::{Entry, Log, LogConfig, LogIdentity, LogShared, OpenLog};
use uuid::Uuid;

const TERM: u32 = 1;

/// Opens a log in an empty directory, and appends what a new leader begins with.
pub async fn open(
    disk: Rc<dyn Disk>,
    dir: &Path,
    shared: Rc<LogShared>,
    write_caching: bool,
) -> anyhow::Result<Rc<Log>> {
    let open = OpenLog {
        disk,
        dir: dir.to_owned(),
        identity: LogIdentity { topic: Uuid::nil(), partition: 0 },
        config: LogConfig { write_caching, ..LogConfig::default() },
        shared,
        applied: 0,
        on_event: Rc::new(|_| {}),
    };
    let (log, _) = Log::open(open).await?;
    log.append(vec![Entry::internal(log.last_index() + 1, TERM, log.next_offset(), 1, b"")])?;
    Ok(log)
}

/// A batch of one record with so many bytes in all, as a producer sends it.
pub fn batch(bytes: usize) -> anyhow::Result<BatchView> {
    let build = |value: usize| -> anyhow::Result<Bytes> {
        let mut builder = BatchBuilder::with_capacity(bytes + HEADER_LEN);
        builder.append(1_000, None, Some(&vec![7; value]), &[])?;
        Ok(builder.finish(&BatchOptions::default())?)
    };
    // What surrounds a record has a length of its own, which depends on the record's.
    let around = build(bytes)?.len() - bytes;
    let batch = build(bytes.checked_sub(around).context("too small for a batch")?)?;
    Ok(BatchView::parse(batch)?)
}

/// The entry with which `batch` continues `log`.
pub fn next_entry(log: &Log, batch: &BatchView) -> Entry {
    let base_offset = log.next_offset();
    let patch = HeaderPatch { base_offset, leader_epoch: TERM as i32, log_append_time_ms: None };
    Entry {
        index: log.last_index() + 1,
        term: TERM,
        header: Bytes::copy_from_slice(&patch.apply(batch.header()).write()),
        body: batch.bytes().slice(HEADER_LEN..),
    }
}
