//! A load on a replicated topic that goes on whatever happens to brokers: one idempotent producer a
//! partition that sends each batch until it is acknowledged, and one reader a broker that takes
//! whatever that broker shows, as leader of this term or of an earlier one.
//!
//! All of them write down what they were told ([`LogHistory`]); [`ClusterLoad::finish`] reads what
//! is in the logs and judges.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg_protocol::ErrorCode;
use thalweg_protocol::batch::BatchOptions;
use thalweg_protocol::messages::InitProducerIdRequest;

use crate::leader::{Leader, connect};
use crate::log_history::LogHistory;
use crate::topic::{EARLIEST, batch_with, batches, fetch, now_ms, produce_request, try_offset_at};
use crate::wait::eventually;
use crate::wire::Wire;

/// Batches have 1 to so many records.
const BATCH_RECORDS_MAX: u64 = 8;
/// The last version in which topics go by name.
const PRODUCE: i16 = 12;
/// How long the leader may wait for its followers.
const PRODUCE_TIMEOUT_MS: i32 = 2_000;
/// Before another try, and between two looks at a broker that has nothing new.
const PAUSE: Duration = Duration::from_millis(10);
const BODY_BYTES_MAX: usize = 1 << 20;

/// Clients at work.
#[derive(Debug)]
pub struct ClusterLoad {
    brokers: Vec<SocketAddr>,
    topic: String,
    stop: Arc<AtomicBool>,
    producers: Vec<Producer>,
    /// Each returns a history of every partition.
    readers: Vec<JoinHandle<Result<Vec<LogHistory>, String>>>,
}

#[derive(Debug)]
struct Producer {
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Result<Produced, String>>,
}

/// What a producer has seen.
#[derive(Debug, Default)]
pub struct Produced {
    history: LogHistory,
    /// Codes with which attempts were refused, each once, in the order of their first coming.
    pub refusals: Vec<ErrorCode>,
    /// The longest time between two acknowledgements.
    pub gap_max: Duration,
    /// Records acknowledged.
    pub acknowledged: u64,
}

impl ClusterLoad {
    /// Starts clients of a topic with so many partitions.
    pub fn start(brokers: &[SocketAddr], topic: &str, partitions: i32) -> ClusterLoad {
        let stop = Arc::new(AtomicBool::new(false));
        let producers = (0..partitions).map(|partition| {
            let acknowledged = Arc::new(AtomicU64::new(0));
            let leader = Leader::new(brokers, topic, partition);
            let (topic, stop) = (topic.to_owned(), Arc::clone(&stop));
            let counted = Arc::clone(&acknowledged);
            let thread =
                std::thread::spawn(move || work(leader, &topic, partition, &counted, &stop));
            Producer { acknowledged, thread }
        });
        let producers = producers.collect();
        let readers = brokers.iter().map(|broker| {
            let (broker, topic, stop) = (*broker, topic.to_owned(), Arc::clone(&stop));
            std::thread::spawn(move || read(broker, &topic, partitions, &stop))
        });
        let readers = readers.collect();
        let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
        ClusterLoad { brokers, topic, stop, producers, readers }
    }

    /// Waits until every partition has `more` acknowledged records than now.
    ///
    /// # Panics
    /// If a producer fails meanwhile, or it does not come to be.
    pub fn go_on_for(&self, more: u64) {
        let acknowledged = |it: &Producer| it.acknowledged.load(Ordering::SeqCst);
        let goals: Vec<u64> = self.producers.iter().map(|it| acknowledged(it) + more).collect();
        for (partition, (producer, goal)) in self.producers.iter().zip(goals).enumerate() {
            eventually(&format!("{}-{partition} takes {more} more", self.topic), || {
                assert!(!producer.thread.is_finished(), "the producer of {partition} has failed");
                (acknowledged(producer) >= goal).then_some(())
            });
        }
    }

    /// How many records of each partition are acknowledged.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.producers.iter().map(|it| it.acknowledged.load(Ordering::SeqCst)).collect()
    }

    /// Stops the clients, reads the logs and judges. Returns what the producers have seen, by
    /// partition.
    ///
    /// # Panics
    /// If a client failed, or was told what is not so.
    pub fn finish(self) -> Vec<Produced> {
        self.stop.store(true, Ordering::SeqCst);
        let join = |thread: JoinHandle<Result<Produced, String>>| {
            thread.join().expect("a producer does not panic").unwrap_or_else(|it| panic!("{it}"))
        };
        let mut all: Vec<Produced> =
            self.producers.into_iter().map(|producer| join(producer.thread)).collect();
        for reader in self.readers {
            let shown = reader.join().expect("a reader does not panic");
            let shown = shown.unwrap_or_else(|failure| panic!("{failure}"));
            for (produced, shown) in all.iter_mut().zip(shown) {
                produced.history.merge(shown);
            }
        }
        for (partition, produced) in (0..).zip(&mut all) {
            let (start, log) = whole_log(&self.brokers, &self.topic, partition);
            let violations = std::mem::take(&mut produced.history).check(start, &log);
            let shown = &violations[..violations.len().min(5)];
            assert!(
                violations.is_empty(),
                "{}-{partition}, of {} records: {} violations, first {shown:?}",
                self.topic,
                log.len(),
                violations.len()
            );
        }
        all
    }
}

/// Produces until told to stop, or until a broker answers what it must not.
fn work(
    mut leader: Leader,
    topic: &str,
    partition: i32,
    acknowledged: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Produced, String> {
    let mut seen = Produced::default();
    let Some((producer_id, producer_epoch)) = producer_id(&mut leader, stop) else {
        return Ok(seen);
    };
    let mut next = 0;
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let end = next + 1 + next % BATCH_RECORDS_MAX;
        let values: Vec<String> = (next..end).map(|number| number.to_string()).collect();
        let base_sequence = i32::try_from(next).expect("a test sends few records");
        let options =
            BatchOptions { producer_id, producer_epoch, base_sequence, ..Default::default() };
        let records = batch_with(&values, now_ms(), &options);
        match send_once(&mut leader, topic, partition, records) {
            Ok((ErrorCode::None, base_offset)) => {
                for (offset, number) in (base_offset..).zip(next..end) {
                    seen.history.tell("the producer", offset, number);
                }
                next = end;
                acknowledged.store(next, Ordering::SeqCst);
                seen.gap_max = seen.gap_max.max(last.elapsed());
                last = Instant::now();
                continue;
            }
            Ok((code, _)) if is_retriable(code) => {
                if !seen.refusals.contains(&code) {
                    seen.refusals.push(code);
                }
            }
            Ok((code, _)) => {
                let node = leader.node();
                return Err(format!("{topic}-{partition} at record {next}: {code:?} of {node:?}"));
            }
            Err(_broken) => {}
        }
        leader.lost();
        std::thread::sleep(PAUSE);
    }
    seen.acknowledged = next;
    Ok(seen)
}

fn send_once(
    leader: &mut Leader,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> io::Result<(ErrorCode, i64)> {
    let mut request = produce_request(topic, partition, records, -1);
    request.timeout_ms = PRODUCE_TIMEOUT_MS;
    let response = leader.wire()?.call(&request, PRODUCE)?;
    let outcome = response.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    let outcome = outcome.expect("one partition, one outcome");
    Ok((ErrorCode::from(outcome.error_code), outcome.base_offset))
}

fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::KafkaStorageError
    )
}

/// An id for an idempotent producer, unless told to stop before there is one.
fn producer_id(leader: &mut Leader, stop: &AtomicBool) -> Option<(i64, i16)> {
    while !stop.load(Ordering::SeqCst) {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let answer = leader.any().and_then(|mut wire| wire.call(&request, 4));
        if let Ok(answer) = answer.as_ref()
            && answer.error_code == 0
        {
            return Some((answer.producer_id, answer.producer_epoch));
        }
        std::thread::sleep(PAUSE);
    }
    None
}

/// Reads from one broker whatever it shows of any partition, until told to stop.
fn read(
    broker: SocketAddr,
    topic: &str,
    partitions: i32,
    stop: &AtomicBool,
) -> Result<Vec<LogHistory>, String> {
    let who = format!("the reader of {broker}");
    let mut shown: Vec<(i64, LogHistory)> = (0..partitions).map(|_| Default::default()).collect();
    let mut wire = None;
    while !stop.load(Ordering::SeqCst) {
        let mut idle = true;
        for (partition, (next, history)) in (0..).zip(&mut shown) {
            match take(&mut wire, broker, topic, partition, *next) {
                Ok(Taken::Records(records)) => {
                    idle &= records.is_empty();
                    for (offset, number) in records {
                        history.tell(&who, offset, number);
                        *next = offset + 1;
                    }
                }
                Ok(Taken::OutOfRange { log_start }) if log_start > *next => *next = log_start,
                Ok(Taken::OutOfRange { log_start }) => {
                    return Err(format!(
                        "{who} had all of {topic}-{partition} below {next}; now that is out of \
                         range (log start {log_start})"
                    ));
                }
                Err(_broken) => wire = None,
            }
        }
        if idle {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(shown.into_iter().map(|(_, history)| history).collect())
}

enum Taken {
    Records(Vec<(i64, u64)>),
    OutOfRange { log_start: i64 },
}

fn take(
    wire: &mut Option<Wire>,
    broker: SocketAddr,
    topic: &str,
    partition: i32,
    from: i64,
) -> io::Result<Taken> {
    if wire.is_none() {
        *wire = Some(connect(broker)?);
    }
    let Some(wire) = wire else { unreachable!("it has just been opened") };
    let data = fetch(wire, topic, partition, from)?;
    match ErrorCode::from(data.error_code) {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange => {
            return Ok(match try_offset_at(wire, topic, partition, EARLIEST)? {
                (ErrorCode::None, log_start) => Taken::OutOfRange { log_start },
                _ => Taken::Records(Vec::new()),
            });
        }
        // It does not lead now.
        _ => return Ok(Taken::Records(Vec::new())),
    }
    let mut records = Vec::new();
    for batch in batches(data) {
        for record in batch.records(BODY_BYTES_MAX).expect("a readable batch") {
            let record = record.expect("a readable record");
            let value = record.value.expect("a test's record has a value");
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
            if record.offset >= from {
                records.push((record.offset, number.expect("records are numbered")));
            }
        }
    }
    Ok(Taken::Records(records))
}

/// Where a partition's log begins, and the numbers of its records from there on.
///
/// # Panics
/// If nobody can be asked, or an offset is missing.
pub fn whole_log(brokers: &[SocketAddr], topic: &str, partition: i32) -> (i64, Vec<u64>) {
    let mut leader = Leader::new(brokers, topic, partition);
    eventually(&format!("all of {topic}-{partition} can be read"), || {
        let read = read_whole(&mut leader, topic, partition);
        read.inspect_err(|_| leader.lost()).ok()
    })
}

fn read_whole(leader: &mut Leader, topic: &str, partition: i32) -> io::Result<(i64, Vec<u64>)> {
    let wire = leader.wire()?;
    // Whoever answers this leads, or says that it does not.
    let probe = fetch(wire, topic, partition, 0)?;
    let code = ErrorCode::from(probe.error_code);
    if !matches!(code, ErrorCode::None | ErrorCode::OffsetOutOfRange) {
        return Err(io::Error::other(format!("{code:?}")));
    }
    let (ErrorCode::None, start) = try_offset_at(wire, topic, partition, EARLIEST)? else {
        return Err(io::Error::other("it leads no more"));
    };
    let mut log = Vec::new();
    loop {
        let next = start + i64::try_from(log.len()).expect("a test's log is short");
        let data = fetch(wire, topic, partition, next)?;
        let code = ErrorCode::from(data.error_code);
        if code != ErrorCode::None {
            return Err(io::Error::other(format!("{code:?}")));
        }
        if next >= data.high_watermark {
            assert_eq!(next, data.high_watermark, "{topic}-{partition}");
            return Ok((start, log));
        }
        let before = log.len();
        for batch in batches(data) {
            for record in batch.records(BODY_BYTES_MAX).expect("a readable batch") {
                let record = record.expect("a readable record");
                let expected = start + i64::try_from(log.len()).expect("a test's log is short");
                if record.offset < next {
                    continue;
                }
                assert_eq!(record.offset, expected, "{topic}-{partition} has a hole");
                let value = record.value.expect("a test's record has a value");
                let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                log.push(number.expect("records are numbered"));
            }
        }
        assert!(log.len() > before, "{topic}-{partition}: nothing at {next}");
    }
}
