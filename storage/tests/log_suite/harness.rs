//! What the log's tests share: a log on a disk of their choice, entries to append, and a model that
//! says what must be read.

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView, Batches, HEADER_LEN};
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::disk::{Disk, OpenMode};
use thalweg_storage::{
    Entry, Log, LogConfig, LogEvent, LogIdentity, LogShared, OpenError, OpenLog, ReadError,
    RecoveryReport, SharedConfig,
};
use uuid::Uuid;

pub(crate) const IDENTITY: LogIdentity =
    LogIdentity { topic: Uuid::from_u128(0x7a1), partition: 3 };

/// Runs a test on one thread with a clock that jumps to the next timer whenever nothing else is
/// left to do.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Like [`run`], with real time, for real disks.
pub(crate) fn run_in_real_time<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Small limits: a few batches fill a segment.
pub(crate) fn small_config() -> LogConfig {
    LogConfig {
        segment_bytes_max: 2_000,
        window_bytes_max: 1_000,
        allocation_bytes_min: 512,
        allocation_bytes_max: 2_048,
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// A log, and what it told.
pub(crate) struct Rig {
    pub(crate) disk: Rc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) shared: Rc<LogShared>,
    pub(crate) applied: u64,
}

pub(crate) struct OpenRig {
    pub(crate) log: Rc<Log>,
    pub(crate) report: RecoveryReport,
    pub(crate) events: Rc<RefCell<Vec<LogEvent>>>,
}

impl Rig {
    pub(crate) fn new(disk: impl Disk + 'static) -> Self {
        Rig {
            disk: Rc::new(disk),
            dir: PathBuf::from("topics/t/3"),
            config: small_config(),
            shared: Rc::new(LogShared::new(SharedConfig::default())),
            applied: 0,
        }
    }

    /// Reads go to the files as soon as they can.
    pub(crate) fn without_tail_cache(mut self) -> Self {
        let config = SharedConfig { tail_cache_bytes_max: 0, ..SharedConfig::default() };
        self.shared = Rc::new(LogShared::new(config));
        self
    }

    pub(crate) async fn open(&self) -> OpenRig {
        self.try_open().await.expect("the log opens")
    }

    pub(crate) async fn try_open(&self) -> Result<OpenRig, OpenError> {
        self.open_as(IDENTITY, &self.dir).await
    }

    pub(crate) async fn open_as(
        &self,
        identity: LogIdentity,
        dir: &Path,
    ) -> Result<OpenRig, OpenError> {
        let events = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&events);
        let (log, report) = Log::open(OpenLog {
            disk: Rc::clone(&self.disk),
            dir: dir.to_path_buf(),
            identity,
            config: self.config.clone(),
            shared: Rc::clone(&self.shared),
            applied: self.applied,
            on_event: Rc::new(move |event| {
                assert!(!std::thread::panicking(), "the writer panicked");
                told.borrow_mut().push(event);
            }),
        })
        .await?;
        Ok(OpenRig { log, report, events })
    }

    /// Names in the log's directory, in order.
    pub(crate) async fn names(&self) -> Vec<String> {
        let entries = self.disk.list_dir(&self.dir).await.expect("a directory");
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    pub(crate) async fn contents(&self, name: &str) -> Bytes {
        contents(&*self.disk, &self.dir.join(name)).await
    }
}

pub(crate) async fn contents(disk: &dyn Disk, path: &Path) -> Bytes {
    let file = disk.open(path, OpenMode::Existing).await.expect("a file");
    let len = file.len().await.expect("a length");
    file.read_at(0, len as usize).await.expect("the bytes")
}

/// Makes entries that continue a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) next_index: u64,
    pub(crate) next_offset: i64,
    pub(crate) term: u32,
}

impl Feed {
    /// Continues `log`. A term higher than the log's last must begin with an internal entry.
    pub(crate) fn of(log: &Log, term: u32) -> Self {
        Feed { next_index: log.last_index() + 1, next_offset: log.next_offset(), term }
    }

    pub(crate) fn internal(&mut self, payload: &[u8]) -> Entry {
        let entry = Entry::internal(self.next_index, self.term, self.next_offset, 1, payload);
        self.next_index += 1;
        entry
    }

    /// A batch with a record for each timestamp, each with `size` bytes of value.
    pub(crate) fn batch(&mut self, timestamps: &[i64], size: usize) -> Entry {
        let mut builder = BatchBuilder::with_capacity(1024);
        for (n, timestamp) in timestamps.iter().enumerate() {
            // Contents differ from record to record, so that no two are taken for each other.
            let fill = (self.next_index as u8).wrapping_mul(31).wrapping_add(n as u8);
            builder.append(*timestamp, None, Some(&vec![fill; size]), &[]).expect("a record");
        }
        let options = BatchOptions {
            base_offset: self.next_offset,
            leader_epoch: self.term as i32,
            ..BatchOptions::default()
        };
        let mut header = builder.finish(&options).expect("a batch");
        let body = header.split_off(HEADER_LEN);
        let entry = Entry { index: self.next_index, term: self.term, header, body };
        self.next_index += 1;
        self.next_offset += timestamps.len() as i64;
        entry
    }
}

/// What a log must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    pub(crate) log_start_offset: i64,
}

impl Model {
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
    }

    pub(crate) fn truncate(&mut self, from_index: u64) {
        self.entries.retain(|entry| entry.index < from_index);
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.index)
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.entries.last().map_or(0, |last| view(last).header().next_offset())
    }

    /// Record batches, with their offsets.
    pub(crate) fn batches(&self) -> impl Iterator<Item = BatchView> {
        self.entries.iter().map(view).filter(|batch| !batch.attributes().is_internal())
    }

    /// Timestamp and offset of every record at or after the log start.
    pub(crate) fn records(&self) -> Vec<(i64, i64)> {
        let records = self.batches().flat_map(|batch| batch.records(1 << 20).expect("records"));
        let records = records.map(|record| record.expect("a record"));
        let visible = records.filter(|record| record.offset >= self.log_start_offset);
        visible.map(|record| (record.timestamp, record.offset)).collect()
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.index == index)
    }
}

pub(crate) fn view(entry: &Entry) -> BatchView {
    let bytes = [&entry.header[..], &entry.body[..]].concat();
    BatchView::parse(Bytes::from(bytes)).expect("a batch")
}

/// Reads everything from `from` on in bites of `bytes_max`, as a consumer does.
pub(crate) async fn read_all(
    log: &Log,
    from: i64,
    bytes_max: usize,
) -> Result<Vec<BatchView>, ReadError> {
    let mut batches = Vec::new();
    let mut next = from;
    let upper = log.next_offset();
    while next < upper {
        let fetched = log.read(next, bytes_max, upper, true).await?;
        assert!(fetched.next_offset > next, "a read below the end makes progress");
        let joined = Bytes::from(fetched.records.concat());
        assert_eq!(joined.len(), fetched.bytes);
        batches.extend(Batches::new(joined).map(|batch| batch.expect("a whole batch")));
        next = fetched.next_offset;
    }
    Ok(batches)
}

/// Asserts that the log holds exactly what the model does.
pub(crate) async fn assert_holds(log: &Log, model: &Model) {
    assert_eq!(log.last_index(), model.last_index(), "last index");
    assert_eq!(log.next_offset(), model.next_offset(), "next offset");
    assert_eq!(log.log_start_offset(), model.log_start_offset, "log start");
    let expected: Vec<_> = model
        .batches()
        .filter(|batch| batch.header().next_offset() > model.log_start_offset)
        .collect();
    for bytes_max in [1, 300, 1 << 20] {
        let found = read_all(log, log.log_start_offset(), bytes_max).await.expect("no damage");
        assert_eq!(found, expected, "read in bites of {bytes_max}");
    }
    let first = log.first_index();
    for entry in model.entries.iter().filter(|entry| entry.index >= first) {
        assert_eq!(log.term(entry.index), Some(entry.term), "term of {}", entry.index);
    }
    let mut next = first;
    while next <= log.last_index() {
        let entries = log.entries(next, log.last_index() + 1, 700).await.expect("no damage");
        assert!(!entries.is_empty());
        for entry in entries {
            assert_eq!(Some(&entry), model.entry(next), "entry {next}");
            let meta = log.load_meta(next).await.expect("no damage");
            assert_eq!(i64::from(meta.offset_count), view(&entry).header().offset_count());
            assert_eq!(meta.base_offset, view(&entry).header().base_offset);
            next += 1;
        }
    }
}

/// Files of a log, by name.
pub(crate) type Files = std::collections::BTreeMap<String, Bytes>;

/// All files of the log's directory.
pub(crate) async fn snapshot(rig: &Rig) -> Files {
    let mut files = Files::new();
    for name in rig.names().await {
        let bytes = rig.contents(&name).await;
        files.insert(name, bytes);
    }
    files
}

/// A disk that holds these files, durably, in a rig's directory.
pub(crate) async fn disk_with(files: &Files, dir: &Path) -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_dir_all(dir).await.unwrap();
    for (name, bytes) in files {
        let file = disk.open(&dir.join(name), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![bytes.clone()]).await.unwrap();
        file.sync_all().await.unwrap();
    }
    disk.sync_dir(dir).await.unwrap();
    disk
}

/// A small generator of decisions, from a seed.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
