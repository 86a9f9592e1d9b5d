//! A steady load of numbered records, one producer a partition, that knows what was acknowledged.
//!
//! The record at offset `n` of a partition says that it is number `n`, so what a log holds can be
//! judged without remembering what was sent: it must be 0, 1, 2, … to at least the last
//! acknowledged one, and at most one batch further.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use thalweg_protocol::ErrorCode;

use crate::topic::{batch, produce, read_all};
use crate::wait::eventually;
use crate::wire::Wire;

/// Batches have 1 to so many records.
const BATCH_RECORDS_MAX: u64 = 8;

/// Producers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    producers: Vec<Producer>,
}

#[derive(Debug)]
struct Producer {
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

/// What a load has been told is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Acknowledged records of each partition.
    pub counts: Vec<u64>,
    /// Why producers ended that nobody had told to.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts a producer for each of the topic's partitions, all of which are empty.
    pub fn start(address: SocketAddr, topic: &str, partitions: usize) -> Load {
        Load::resume(address, topic, &vec![0; partitions])
    }

    /// Starts a producer for each partition of a topic that has so many records already.
    pub fn resume(address: SocketAddr, topic: &str, counts: &[u64]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let producers = (0..).zip(counts).map(|(partition, count)| {
            let (topic, stop) = (topic.to_owned(), Arc::clone(&stop));
            let acknowledged = Arc::new(AtomicU64::new(*count));
            let shared = Arc::clone(&acknowledged);
            let thread =
                std::thread::spawn(move || work(address, &topic, partition, &shared, &stop));
            Producer { acknowledged, thread }
        });
        Load { producers: producers.collect(), stop }
    }

    /// Waits until every partition has `more` acknowledged records than now.
    ///
    /// # Panics
    /// If a producer fails meanwhile.
    pub fn go_on_for(&self, more: u64) {
        for producer in &self.producers {
            let acknowledged = || producer.acknowledged.load(Ordering::SeqCst);
            let goal = acknowledged() + more;
            eventually("the load goes on", || {
                assert!(!producer.thread.is_finished(), "a producer has failed");
                (acknowledged() >= goal).then_some(())
            });
        }
    }

    /// Tells the producers to stop, and waits for them.
    ///
    /// # Panics
    /// If one of them panicked.
    pub fn finish(self) -> Acknowledged {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Acknowledged::default();
        for producer in self.producers {
            if let Err(failure) = producer.thread.join().expect("a producer does not panic") {
                all.failures.push(failure);
            }
            all.counts.push(producer.acknowledged.load(Ordering::SeqCst));
        }
        all
    }
}

/// Produces until told to stop or until something fails.
fn work(
    address: SocketAddr,
    topic: &str,
    partition: i32,
    acknowledged: &AtomicU64,
    stop: &AtomicBool,
) -> Result<(), String> {
    let mut wire = Wire::connect(address).map_err(|error| error.to_string())?;
    let mut next = acknowledged.load(Ordering::SeqCst);
    while !stop.load(Ordering::SeqCst) {
        let end = next + 1 + next % BATCH_RECORDS_MAX;
        let values: Vec<String> = (next..end).map(|number| value(partition, number)).collect();
        let outcome = produce(&mut wire, topic, partition, batch(&values));
        let outcome = outcome.map_err(|error| error.to_string())?;
        match ErrorCode::from(outcome.error_code) {
            ErrorCode::None => {}
            code => return Err(format!("{code:?}: {:?}", outcome.error_message)),
        }
        if u64::try_from(outcome.base_offset) != Ok(next) {
            return Err(format!("{} instead of offset {next}", outcome.base_offset));
        }
        next = end;
        acknowledged.store(next, Ordering::SeqCst);
    }
    Ok(())
}

fn value(partition: i32, number: u64) -> String {
    format!("{partition}/{number:08}")
}

/// Reads the topic and checks that all that was acknowledged is there, in order and once. Returns
/// how many records each partition has.
///
/// # Panics
/// If something is missing, doubled, or not what was sent.
pub fn verify(wire: &mut Wire, topic: &str, acknowledged: &Acknowledged) -> Vec<u64> {
    let mut counts = Vec::new();
    for (partition, acknowledged) in (0..).zip(&acknowledged.counts) {
        let values = read_all(wire, topic, partition, 0);
        for (number, found) in (0..).zip(&values) {
            let expected = Bytes::from(value(partition, number));
            assert_eq!(*found, expected, "{topic}-{partition} at offset {number}");
        }
        let count = u64::try_from(values.len()).expect("a count");
        assert!(
            count >= *acknowledged,
            "{topic}-{partition} has {count} records of {acknowledged} acknowledged"
        );
        assert!(count <= acknowledged + BATCH_RECORDS_MAX, "{topic}-{partition}: {count} records");
        counts.push(count);
    }
    counts
}
