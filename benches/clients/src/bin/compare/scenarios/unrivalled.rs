//! Ours alone, held against absolute figures: those of the best broker of this protocol that we
//! know, measured on a machine like the one the aims were made for.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::paced::{self, Latencies, Pace};
use crate::peers::{Durability, Peer};
use crate::stage::Stage;
use crate::{device, librdkafka};

const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 1024;
const SMALL_RECORD_BYTES: usize = 100;
const RECORDS_PER_SECOND: f64 = 10_000.0;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 9,
    title: "Thalweg alone, against absolute aims",
    what: "One broker, six partitions, librdkafka: produce 1 KiB records, produce 100-byte \
           records, read the 1 KiB records warm, and write 10,000 records of 1 KiB a second with \
           `linger.ms=0`, from when each was due to its acknowledgement. From the page cache, \
           which has the aims, then producing and its latency again with the default durability. \
           The aims are for two quiet cores of a current server.",
    figures: &[
        Figure::at_most("cpu_s_gb", "produce 1 KiB: broker CPU, s/GB", 0.70),
        Figure::at_most("user_s_gb", "… of it user", 0.20),
        Figure::plain("mb_s", "… throughput, MB/s"),
        Figure::at_most("small_s_million", "100 bytes: broker CPU, s per million records", 0.10),
        Figure::plain("small_records_s", "… records/s"),
        Figure::at_most("read_s_gb", "consume: broker CPU, s/GB", 0.60),
        Figure::plain("read_mb_s", "… throughput, MB/s"),
        Figure::plain("p50_ms", "10,000 records/s: p50, ms"),
        Figure::at_most("p99_ms", "10,000 records/s: p99, ms", 0.7),
        Figure::plain("flushed_cpu_s_gb", "flushed, produce 1 KiB: broker CPU, s/GB"),
        Figure::plain("flushed_user_s_gb", "… of it user"),
        Figure::plain("flushed_mb_s", "… throughput, MB/s"),
        Figure::plain("flushed_p50_ms", "flushed, 10,000 records/s: p50, ms"),
        Figure::plain("flushed_p99_ms", "flushed, 10,000 records/s: p99, ms"),
    ],
    loads: (5.5, 3.0),
    overhead: 3.0,
    has_rival: false,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let mut measured = Measured::new();
    let stage = setting.stage(peer, Durability::PageCache)?;
    let bootstrap = stage.brokers.bootstrap();
    let load = stage.load(&bootstrap, "large", PARTITIONS, RECORD_BYTES);
    stage.warm_up(&load)?;
    let (written, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    let gigabytes = written.gigabytes(RECORD_BYTES);
    measured.insert("cpu_s_gb", usage.cpu() / gigabytes);
    measured.insert("user_s_gb", usage.user / gigabytes);
    measured.insert("mb_s", written.megabytes_per_second(RECORD_BYTES));
    let (read, usage) = stage.measured(|| librdkafka::consume(&load, written.records))?;
    measured.insert("read_s_gb", usage.cpu() / gigabytes);
    measured.insert("read_mb_s", read.megabytes_per_second(RECORD_BYTES));
    device::sync()?;

    let load = stage.load(&bootstrap, "small", PARTITIONS, SMALL_RECORD_BYTES);
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    measured.insert("small_s_million", usage.cpu() / done.millions());
    measured.insert("small_records_s", done.records_per_second());
    device::sync()?;
    let latencies = acknowledgements(&stage, &bootstrap)?;
    measured.insert("p50_ms", latencies.quantile(0.5));
    measured.insert("p99_ms", latencies.quantile(0.99));
    drop(stage);

    let stage = setting.stage(peer, Durability::Flushed)?;
    stage.ensure_flushes(setting.device)?;
    let bootstrap = stage.brokers.bootstrap();
    let load = stage.load(&bootstrap, "large", PARTITIONS, RECORD_BYTES);
    stage.warm_up(&load)?;
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    let gigabytes = done.gigabytes(RECORD_BYTES);
    measured.insert("flushed_cpu_s_gb", usage.cpu() / gigabytes);
    measured.insert("flushed_user_s_gb", usage.user / gigabytes);
    measured.insert("flushed_mb_s", done.megabytes_per_second(RECORD_BYTES));
    device::sync()?;
    let latencies = acknowledgements(&stage, &bootstrap)?;
    measured.insert("flushed_p50_ms", latencies.quantile(0.5));
    measured.insert("flushed_p99_ms", latencies.quantile(0.99));
    Ok(measured)
}

fn acknowledgements(stage: &Stage<'_>, bootstrap: &str) -> Result<Latencies> {
    stage.create("paced", PARTITIONS)?;
    let pace = Pace {
        bootstrap,
        topic: "paced",
        partitions: PARTITIONS,
        record_bytes: RECORD_BYTES,
        records_per_second: RECORDS_PER_SECOND,
        warm_up: stage.sizes.warm_up / 2,
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| paced::acknowledgements(&pace, &stop));
        std::thread::sleep(pace.warm_up + stage.sizes.time);
        stop.store(true, Ordering::Relaxed);
        let Ok(written) = writer.join() else { bail!("the producer panicked") };
        Ok(written?.1)
    })
}
