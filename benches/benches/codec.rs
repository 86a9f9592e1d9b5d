//! What record batches cost: building and reading records, checksums, stamping a header,
//! compression.
//!
//! `cargo bench -p thalweg-benches --bench codec`; `cargo test` of it only shows that it works.
//! Each line is the best of several rounds on one core, everything in cache or nearly so: a floor,
//! not a forecast, and the figure that other load disturbs least.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thalweg_protocol::{
    batch::{BatchBuilder, BatchOptions, BatchView, HEADER_LEN, HeaderPatch, RecordRefs, crc32c},
    compression::{Codec, compress, decompress},
};

const ROUNDS: u32 = 9;
const ROUND: Duration = Duration::from_millis(40);
const BATCH_BYTES: usize = 64 * 1024;

fn main() {
    println!("{:<44}{:>12}{:>12}", "", "ns", "GB/s");
    for value_len in [100, 1024] {
        records(value_len);
    }
    for len in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let bytes = text(len);
        report(&format!("crc of {len} bytes"), 1, len, || crc32c(&bytes));
    }
    stamp();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        compression(codec);
    }
}

/// The cost of a record of `value_len` bytes in a batch of 64 KiB.
fn records(value_len: usize) {
    let value = text(value_len);
    let batch = BatchView::parse(build(&value)).expect("our own batch is valid");
    let count = usize::try_from(batch.header().record_count).expect("counts are not negative");
    let body = batch.body();
    report(&format!("build, a record of {value_len} bytes"), count, value_len, || build(&value));
    report(&format!("read shared, a record of {value_len} bytes"), count, value_len, || {
        let records = batch.records(BATCH_BYTES * 2).expect("our own batch is valid");
        records.flatten().filter(|record| black_box(record).value.is_some()).count()
    });
    report(&format!("read borrowed, a record of {value_len} bytes"), count, value_len, || {
        let records = RecordRefs::new(batch.header(), &body);
        records.flatten().filter(|record| black_box(record).value.is_some()).count()
    });
    report(&format!("scan, a record of {value_len} bytes"), count, value_len, || {
        batch.scan(BATCH_BYTES * 2, |_, record| {
            black_box(record.key);
        })
    });
}

fn build(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(BATCH_BYTES);
    let mut timestamp = 1_700_000_000_000;
    while builder.size() + value.len() + 20 < BATCH_BYTES {
        timestamp += 1;
        builder.append(timestamp, None, Some(value), &[]).expect("64 KiB are not too large");
    }
    builder.finish(&BatchOptions::default()).expect("64 KiB are not too large")
}

/// What the leader does to a batch of 64 KiB on a topic with LogAppendTime, besides checking its
/// CRC.
fn stamp() {
    let batch = BatchView::parse(build(&text(1024))).expect("our own batch is valid");
    let mut base_offset = 0;
    for log_append_time_ms in [None, Some(1_800_000_000_000)] {
        let name = match log_append_time_ms {
            None => "patch offset and epoch",
            Some(_) => "patch offset, epoch and timestamp",
        };
        report(name, 1, HEADER_LEN, || {
            base_offset += 1;
            let patch = HeaderPatch { base_offset, leader_epoch: 1, log_append_time_ms };
            patch.apply(batch.header()).write()
        });
    }
}

fn compression(codec: Codec) {
    let content = text(BATCH_BYTES);
    let mut compressed = Vec::with_capacity(BATCH_BYTES * 2);
    compress(codec, None, &content, &mut compressed).expect("memory is not exhausted");
    let compressed = Bytes::from(compressed);
    let ratio = content.len() * 10 / compressed.len();
    report(&format!("{codec}, compress 64 KiB to 10/{ratio}"), 1, content.len(), || {
        let mut out = Vec::with_capacity(BATCH_BYTES * 2);
        compress(codec, None, &content, &mut out).map(|()| out)
    });
    report(&format!("{codec}, decompress 64 KiB"), 1, content.len(), || {
        decompress(codec, compressed.clone(), 1 << 20)
    });
}

/// Words in no order, which compress about as well as JSON does.
fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["thalweg", "river", "bed", "flow", "depth", "bank", "delta", "ford"];
    let mut state = 1_u32;
    let mut text = Vec::with_capacity(len + 20);
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(WORDS[(state >> 29) as usize].as_bytes());
        text.extend_from_slice(format!(" {} ", state >> 20 & 0xff).as_bytes());
    }
    text.truncate(len);
    text
}

/// Prints the time of `work` divided by the `count` things of `bytes` bytes each that it does.
fn report<T>(name: &str, count: usize, bytes: usize, mut work: impl FnMut() -> T) {
    let is_test = std::env::args().all(|argument| argument != "--bench");
    let (rounds, time) = if is_test { (1, Duration::from_micros(1)) } else { (ROUNDS, ROUND) };
    let round = |_| {
        let start = Instant::now();
        let mut times = 0_u32;
        while start.elapsed() < time {
            for _ in 0..16 {
                black_box(work());
            }
            times += 16;
        }
        start.elapsed().as_nanos() as f64 / f64::from(times) / count as f64
    };
    let ns = (0..rounds).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<44}{ns:>12.1}{:>12.2}", bytes as f64 / ns);
}
