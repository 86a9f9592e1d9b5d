//! Opening a partition's log whose files have been damaged.
//!
//! The first byte chooses how the log was left and what Raft says of it, the rest is what the disk
//! did then (see `damage`). Opening may find damage, and may refuse files that seem somebody
//! else's. But a log that opens serves only batches that were written, each at its own offset; it
//! is the same log when opened again; and it goes on.

#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::{Corpus, fuzz_target};
use thalweg_fuzz::{Files, damage, disk_with, files_of, run};
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, Batches, HEADER_LEN};
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{
    Entry, Log, LogConfig, LogIdentity, LogShared, OpenError, OpenLog, ReadError, SharedConfig,
};
use uuid::Uuid;

const IDENTITY: LogIdentity = LogIdentity { topic: Uuid::from_u128(0x7a1), partition: 3 };
const DIR: &str = "topics/t/3";
/// Batches in the log before it is damaged.
const BATCH_COUNT: u64 = 24;

/// Batches by their base offset.
type Written = BTreeMap<i64, Bytes>;

/// A log as it was closed, or as it was left by a process that was killed.
struct Original {
    files: Files,
    last_index: u64,
    written: Written,
}

static CLOSED: LazyLock<Original> = LazyLock::new(|| run(write(true)));
static KILLED: LazyLock<Original> = LazyLock::new(|| run(write(false)));

fuzz_target!(|input: &[u8]| -> Corpus {
    let [how, acts @ ..] = input else { return Corpus::Reject };
    let original = if how & 1 == 0 { &*CLOSED } else { &*KILLED };
    let applied = if how & 2 == 0 { 0 } else { original.last_index };
    let mut files = original.files.clone();
    damage(&mut files, acts);
    run(recover(&files, applied, &original.written));
    Corpus::Keep
});

async fn recover(files: &Files, applied: u64, written: &Written) {
    let disk = disk_with(files, Path::new(DIR)).await;
    let Ok(log) = open(&disk, applied).await else { return };
    let found = read_all(&log).await;
    for (offset, batch) in &found {
        assert_eq!(written.get(offset), Some(batch), "what is read at {offset} was written there");
    }
    log.close().await.expect("a sound disk");

    let again = open(&disk, applied).await.expect("it opened before");
    assert_eq!(read_all(&again).await, found, "opening a log takes nothing from it");
    let mut found = found;
    go_on(&again, &mut found).await;
    assert_eq!(read_all(&again).await, found, "a recovered log goes on");
    again.close().await.expect("a sound disk");
}

/// All that can be read, past whatever is damaged.
async fn read_all(log: &Log) -> Written {
    let upper = log.next_offset();
    let mut found = Written::new();
    let mut next = log.log_start_offset();
    while next < upper {
        match log.read(next, 1 << 16, upper, true).await {
            Ok(fetched) => {
                assert!(fetched.next_offset > next, "a read below the end makes progress");
                for batch in Batches::new(fetched.records.concat().into()) {
                    let batch = batch.expect("a whole batch");
                    assert_eq!(batch.verify_crc(), Ok(()));
                    found.insert(batch.header().base_offset, batch.into_bytes());
                }
                next = fetched.next_offset;
            }
            Err(ReadError::Damaged(range)) => next = range.offsets.end.max(next + 1),
            Err(error) => panic!("reading {next} of ..{upper}: {error}"),
        }
    }
    found
}

async fn go_on(log: &Rc<Log>, written: &mut Written) {
    let (index, term) = (log.last_index() + 1, log.last_term() + 1);
    let blank = Entry::internal(index, term, log.next_offset(), 1, b"a new term");
    let (batch, bytes) = batch(index + 1, term, log.next_offset());
    written.insert(log.next_offset(), bytes);
    log.append(vec![blank, batch]).expect("an open log takes entries");
    log.flush().await.expect("a sound disk");
}

async fn open(disk: &SimDisk, applied: u64) -> Result<Rc<Log>, OpenError> {
    let config = LogConfig {
        segment_bytes_max: 2_000,
        window_bytes_max: 1_000,
        allocation_bytes_min: 512,
        allocation_bytes_max: 2_048,
        retention_ms: None,
        ..LogConfig::default()
    };
    // Without a cache every read goes to the files.
    let shared = SharedConfig { tail_cache_bytes_max: 0, ..SharedConfig::default() };
    let open = OpenLog {
        disk: Rc::new(disk.clone()),
        dir: PathBuf::from(DIR),
        identity: IDENTITY,
        config,
        shared: Rc::new(LogShared::new(shared)),
        applied,
        on_event: Rc::new(|_| {}),
    };
    Ok(Log::open(open).await?.0)
}

/// Three segments or so, with a change of term in the middle.
async fn write(close: bool) -> Original {
    let disk = SimDisk::new(0);
    let log = open(&disk, 0).await.expect("an empty folder");
    let mut written = Written::new();
    let mut offset = 0;
    for index in 1..=BATCH_COUNT {
        let term = if index <= BATCH_COUNT / 2 { 1 } else { 2 };
        let entry = if index == 1 || index == BATCH_COUNT / 2 + 1 {
            Entry::internal(index, term, offset, 1, b"a new term")
        } else {
            let (entry, bytes) = batch(index, term, offset);
            written.insert(offset, bytes);
            offset += records_in(index);
            entry
        };
        log.append(vec![entry]).expect("an open log takes entries");
        if index % 4 == 0 {
            log.flush().await.expect("a sound disk");
        }
    }
    log.flush().await.expect("a sound disk");
    let last_index = log.last_index();
    if close {
        log.close().await.expect("a sound disk");
    }
    Original { files: files_of(&disk, Path::new(DIR)).await, last_index, written }
}

fn records_in(index: u64) -> i64 {
    i64::try_from(index % 3 + 1).expect("a small number")
}

/// A batch as an entry, and as a reader should see it.
fn batch(index: u64, term: u32, base_offset: i64) -> (Entry, Bytes) {
    let mut builder = BatchBuilder::with_capacity(256);
    for record in 0..records_in(index) {
        let value = format!("record {record} of entry {index} in term {term}");
        let timestamp = base_offset + record;
        builder.append(timestamp, None, Some(value.as_bytes()), &[]).expect("a small record");
    }
    let leader_epoch = i32::try_from(term).expect("few terms");
    let options = BatchOptions { base_offset, leader_epoch, ..BatchOptions::default() };
    let bytes = builder.finish(&options).expect("a small batch");
    let mut header = bytes.clone();
    let body = header.split_off(HEADER_LEN);
    (Entry { index, term, header, body }, bytes)
}
