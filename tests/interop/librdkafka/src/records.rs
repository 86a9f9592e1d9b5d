//! The ten thousand records every suite writes and reads back, by the rule in README.md.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

pub const PARTITIONS: i32 = 3;
pub const COUNT: usize = 10_000;
/// Each codec compresses one fifth of the records, in this order.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PER_CODEC: usize = COUNT / CODECS.len();
/// Reading from this record's timestamp begins at this record, which lies inside a batch.
pub const PROBE: usize = 6_543;

/// One record in nobody's own form; `None` is null, which is not the same as empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The records as this suite's topic must hold them.
pub struct Expected {
    base_timestamp: i64,
}

impl Expected {
    pub fn new() -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // An hour ago: no broker takes that for a clock gone wrong, nor for expired.
        Ok(Self { base_timestamp: (i64::try_from(now)? - 3600) * 1000 })
    }

    pub fn record(&self, i: usize) -> Record {
        Record {
            partition: partition_of(i),
            offset: (i / PARTITIONS as usize) as i64,
            timestamp: self.base_timestamp + 10 * i as i64,
            key: (i % 10 != 3).then(|| format!("key-{i}").into_bytes()),
            value: value(i),
            headers: headers(i),
        }
    }

    /// The records that one codec compresses.
    pub fn codec_block(&self, codec: usize) -> impl Iterator<Item = Record> {
        (codec * PER_CODEC..(codec + 1) * PER_CODEC).map(|i| self.record(i))
    }

    /// The first record of a partition that is not before record number `start`.
    pub fn first(&self, partition: i32, start: usize) -> Option<Record> {
        numbers(partition, start).next().map(|i| self.record(i))
    }

    /// Fails unless `seen` is every record from number `start` on, in order per partition.
    pub fn check(&self, seen: &[Record], start: usize) -> Result<()> {
        for partition in 0..PARTITIONS {
            let mut got = seen.iter().filter(|record| record.partition == partition);
            for i in numbers(partition, start) {
                let want = self.record(i);
                let actual = got.next();
                ensure!(actual == Some(&want), "read {actual:?}, expected {want:?}");
            }
            let extra = got.next();
            ensure!(extra.is_none(), "more records than were written: {extra:?}");
        }
        Ok(())
    }
}

pub fn end_offset(partition: i32) -> i64 {
    numbers(partition, 0).count() as i64
}

/// The numbers of one partition's records, from record number `start` on.
fn numbers(partition: i32, start: usize) -> impl Iterator<Item = usize> {
    (start..COUNT).filter(move |&i| partition_of(i) == partition)
}

fn partition_of(i: usize) -> i32 {
    (i % PARTITIONS as usize) as i32
}

fn value(i: usize) -> Option<Vec<u8>> {
    match i % 10 {
        7 => None,
        8 => Some(Vec::new()),
        _ => {
            let mut value = format!("value-{i}-").into_bytes();
            value.extend((0..i * 31 % 400).map(|j| (i + j) as u8));
            Some(value)
        }
    }
}

fn headers(i: usize) -> Vec<(String, Option<Vec<u8>>)> {
    if i.is_multiple_of(4) {
        return Vec::new();
    }
    vec![
        ("n".into(), Some(i.to_string().into_bytes())),
        ("dup".into(), Some(b"a".to_vec())),
        ("dup".into(), Some(b"b".to_vec())),
        ("empty".into(), Some(Vec::new())),
        ("null".into(), None),
    ]
}
