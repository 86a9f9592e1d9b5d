//! What a client is given to do, and what it did.

use std::time::Duration;

/// Records of one size into, or out of, one topic.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partitions: i32,
    pub(crate) record_bytes: usize,
    /// How long writing goes on; what was begun by then is finished and counts.
    pub(crate) time: Duration,
    /// How much is written at most.
    pub(crate) bytes_max: u64,
}

impl Load<'_> {
    pub(crate) fn value(&self) -> Vec<u8> {
        (0..self.record_bytes).map(|at| (at * at / 7 % 251) as u8).collect()
    }

    /// The partitions of the records from the given one on.
    pub(crate) fn partitions_from(&self, record: u64) -> impl Iterator<Item = i32> {
        let partitions = self.partitions;
        (record..).map(move |number| (number % partitions as u64) as i32)
    }
}

/// What a client did, and how long it took it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) records: u64,
    pub(crate) time: Duration,
}

impl Done {
    pub(crate) fn records_per_second(&self) -> f64 {
        self.records as f64 / self.time.as_secs_f64()
    }

    pub(crate) fn gigabytes(&self, record_bytes: usize) -> f64 {
        self.records as f64 * record_bytes as f64 / 1e9
    }

    pub(crate) fn megabytes_per_second(&self, record_bytes: usize) -> f64 {
        self.gigabytes(record_bytes) * 1e3 / self.time.as_secs_f64()
    }

    pub(crate) fn millions(&self) -> f64 {
        self.records as f64 / 1e6
    }
}
