//! Reading what is in the page cache, and what is not, while somebody writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::load::{Done, Load};
use crate::paced::{self, Latencies, Pace};
use crate::peers::{Durability, Peer};
use crate::stage::Stage;
use crate::{device, librdkafka, ours};

const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 1024;
const WRITES_PER_SECOND: f64 = 1000.0;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 4,
    title: "Consume 1 KiB records, cold and warm",
    what: "Six partitions are written, flushed, and the page cache is emptied (which takes root); \
           they are read from the beginning while another producer writes 1,000 records/s into \
           another topic (page cache on both); then they are read again, now from memory. The \
           cold read empties the page cache, not what a broker keeps in its own memory.",
    figures: &[
        Figure::at_most("cpu_s_gb", "warm: broker CPU, s/GB", 0.5),
        Figure::plain("user_s_gb", "… of it user"),
        Figure::plain("system_s_gb", "… of it system"),
        Figure::plain("mb_s", "warm: MB/s"),
        Figure::at_least("cold_mb_s", "cold: MB/s", 1.0),
        Figure::plain("alone_p99_ms", "producer's p99 before the cold read, ms"),
        Figure::at_most("beside_p99_ms", "producer's p99 during the cold read, ms", 1.0),
        Figure::plain("client_mb_s", "warm with thalweg-client: MB/s"),
        Figure::plain("client_cpu_s_gb", "warm with thalweg-client: broker CPU, s/GB"),
        Figure::plain("java_mb_s", "warm with Java's consumer: MB/s"),
    ],
    loads: (1.0, 1.0),
    overhead: 19.0,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let stage = setting.stage(peer, Durability::PageCache)?;
    let bootstrap = stage.brokers.bootstrap();
    let mut load = stage.load(&bootstrap, "read", PARTITIONS, RECORD_BYTES);
    load.bytes_max = setting.sizes.dataset_bytes;
    load.time = Duration::from_secs(120);
    warm_up_reading(&stage, &load)?;
    let (written, _) = stage.written(&load, || librdkafka::produce(&load))?;
    stage.create("beside", 1)?;

    let mut measured = Measured::new();
    let alone = write_for(&stage, &bootstrap, "beside", stage.sizes.time)?;
    measured.insert("alone_p99_ms", alone.quantile(0.99));
    if device::drop_page_cache()? {
        let (cold, beside) = read_beside(&bootstrap, "beside", &load, written.records)?;
        measured.insert("cold_mb_s", cold.megabytes_per_second(RECORD_BYTES));
        measured.insert("beside_p99_ms", beside.quantile(0.99));
    }
    let (warm, usage) = stage.measured(|| librdkafka::consume(&load, written.records))?;
    let gigabytes = warm.gigabytes(RECORD_BYTES);
    measured.insert("mb_s", warm.megabytes_per_second(RECORD_BYTES));
    measured.insert("cpu_s_gb", usage.cpu() / gigabytes);
    measured.insert("user_s_gb", usage.user / gigabytes);
    measured.insert("system_s_gb", usage.system / gigabytes);
    let work = || stage.runtime.block_on(ours::consume(&load, written.records));
    let (warm, usage) = stage.measured(work)?;
    measured.insert("client_mb_s", warm.megabytes_per_second(RECORD_BYTES));
    measured.insert("client_cpu_s_gb", usage.cpu() / gigabytes);
    let by_java = setting.java.consume(&load, written.records)?;
    measured.insert("java_mb_s", by_java.megabytes_per_second(RECORD_BYTES));
    Ok(measured)
}

/// Another topic is read: the one that is measured must not have been in anybody's memory.
fn warm_up_reading(stage: &Stage<'_>, load: &Load<'_>) -> Result<()> {
    stage.create("warm-up", load.partitions)?;
    let time = stage.sizes.warm_up;
    let load = Load { topic: "warm-up", time, ..*load };
    let written = librdkafka::produce(&load)?;
    librdkafka::consume(&load, written.records)?;
    Ok(())
}

fn pace<'a>(bootstrap: &'a str, topic: &'a str) -> Pace<'a> {
    Pace {
        bootstrap,
        topic,
        partitions: 1,
        record_bytes: RECORD_BYTES,
        records_per_second: WRITES_PER_SECOND,
        warm_up: Duration::from_millis(500),
    }
}

fn write_for(stage: &Stage<'_>, bootstrap: &str, topic: &str, time: Duration) -> Result<Latencies> {
    let pace = pace(bootstrap, topic);
    let stop = AtomicBool::new(false);
    let ((_, latencies), _) = stage.measured(|| {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| paced::acknowledgements(&pace, &stop));
            std::thread::sleep(pace.warm_up + time);
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_else(|_| bail!("the producer panicked"))
        })
    })?;
    Ok(latencies)
}

fn read_beside(
    bootstrap: &str,
    topic: &str,
    load: &Load<'_>,
    records: u64,
) -> Result<(Done, Latencies)> {
    let pace = pace(bootstrap, topic);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| paced::acknowledgements(&pace, &stop));
        std::thread::sleep(pace.warm_up);
        let read = librdkafka::consume(load, records);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or_else(|_| bail!("the producer panicked"));
        Ok((read?, written?.1))
    })
}
