//! Writing 1 KiB records as fast as the client can, once into the page cache and once to the disk.

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Aim, Figure, Measured};
use crate::peers::{Durability, Peer};
use crate::process::BrokerProcess;
use crate::stage::produce_figures;
use crate::{device, librdkafka, ours};

const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 1024;

pub(super) const PAGE_CACHE: Scenario = Scenario {
    number: 1,
    title: "Produce 1 KiB records into the page cache",
    what: "Six partitions, one replica, `acks=all`, acknowledged from the page cache by both; as \
           fast as one librdkafka producer can, then as fast as one thalweg-client can, then as \
           many records by Java's performance tool.",
    figures: &figures(1.5, Some(Aim::AtMost(1.0 / 3.0))),
    loads: (3.5, 1.0),
    overhead: 4.5,
    has_rival: true,
    measure: |setting, peer| measure(setting, peer, Durability::PageCache),
};

pub(super) const FLUSHED: Scenario = Scenario {
    number: 2,
    title: "Produce 1 KiB records, flushed",
    what: "The same without Java, but both acknowledge only what they have flushed to the disk.",
    figures: &figures(3.0, None),
    loads: (2.0, 1.0),
    overhead: 3.5,
    has_rival: true,
    measure: |setting, peer| measure(setting, peer, Durability::Flushed),
};

const fn figures(throughput_aim: f64, cpu_aim: Option<Aim>) -> [Figure; 12] {
    [
        Figure::at_least("mb_s", "throughput, MB/s", throughput_aim),
        Figure::plain("records_s", "records/s"),
        Figure { key: "cpu_s_gb", name: "broker CPU, s/GB", aim: cpu_aim },
        Figure::plain("user_s_gb", "… of it user"),
        Figure::plain("system_s_gb", "… of it system"),
        Figure::plain("cpu_s_million", "broker CPU, s per million records"),
        Figure::plain("disk_per_byte", "bytes to disk per byte of records"),
        Figure::plain("flushes_s", "flushes of the disk/s, by anybody"),
        Figure::plain("peak_rss_mb", "peak RSS, MB"),
        Figure::plain("client_mb_s", "throughput with thalweg-client, MB/s"),
        Figure::plain("client_cpu_s_gb", "broker CPU with thalweg-client, s/GB"),
        Figure::plain("java_mb_s", "throughput with Java's producer, MB/s"),
    ]
}

fn measure(setting: &Setting<'_>, peer: &dyn Peer, durability: Durability) -> Result<Measured> {
    let stage = setting.stage(peer, durability)?;
    stage.ensure_flushes(setting.device)?;
    let bootstrap = stage.brokers.bootstrap();
    let load = stage.load(&bootstrap, "written", PARTITIONS, RECORD_BYTES);
    stage.warm_up(&load)?;
    let flushes = || setting.device.map(device::Device::flushes).transpose();
    let flushed_before = flushes()?;
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    let mut measured = produce_figures(done, usage, RECORD_BYTES);
    let records = done.records;
    if let (Some(before), Some(after)) = (flushed_before, flushes()?) {
        measured.insert("flushes_s", (after - before) as f64 / done.time.as_secs_f64());
    }
    device::sync()?;
    let load = stage.load(&bootstrap, "written-by-ours", PARTITIONS, RECORD_BYTES);
    let (done, usage) = stage.written(&load, || stage.runtime.block_on(ours::produce(&load)))?;
    measured.insert("client_mb_s", done.megabytes_per_second(RECORD_BYTES));
    measured.insert("client_cpu_s_gb", usage.cpu() / done.gigabytes(RECORD_BYTES));
    if durability == Durability::PageCache {
        device::sync()?;
        let load = stage.load(&bootstrap, "written-by-java", PARTITIONS, RECORD_BYTES);
        let (done, _) = stage.written(&load, || setting.java.produce(&load, records))?;
        measured.insert("java_mb_s", done.megabytes_per_second(RECORD_BYTES));
    }
    measured.insert("peak_rss_mb", stage.brokers.memory_mb(BrokerProcess::peak_rss_mb)?);
    Ok(measured)
}
