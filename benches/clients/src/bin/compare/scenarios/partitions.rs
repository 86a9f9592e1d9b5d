//! Many partitions written evenly: every batch is small, and every partition wants its flush.

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::peers::{Durability, Peer};
use crate::process::BrokerProcess;
use crate::stage::produce_figures;
use crate::{librdkafka, ours, topic};

const PARTITIONS: i32 = 1000;
const RECORD_BYTES: usize = 1024;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 6,
    title: "A thousand partitions, flushed",
    what: "1 KiB records, each to the next of 1,000 partitions, acknowledged by both only when \
           flushed; as fast as one librdkafka producer can, which sends each partition's batch in \
           a request of its own, then as fast as one thalweg-client can.",
    figures: &[
        Figure::at_least("mb_s", "throughput, MB/s", 5.0),
        Figure::plain("records_s", "records/s"),
        Figure::plain("cpu_s_million", "broker CPU, s per million records"),
        Figure::plain("disk_per_byte", "bytes to disk per byte of records"),
        Figure::at_most("peak_rss_mb", "peak RSS, MB", 1.0 / 8.0),
        Figure::plain("anonymous_mb", "… of it not mapped files, at the end, MB"),
        Figure::plain("client_mb_s", "throughput with thalweg-client, MB/s"),
    ],
    loads: (2.0, 1.0),
    overhead: 16.0,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let stage = setting.stage(peer, Durability::Flushed)?;
    stage.ensure_flushes(setting.device)?;
    let bootstrap = stage.brokers.bootstrap();
    // A further thousand partitions would count in the memory.
    stage.warm_up(&stage.load(&bootstrap, "", 50, RECORD_BYTES))?;
    let load = stage.load(&bootstrap, "spread", PARTITIONS, RECORD_BYTES);
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    let mut measured = produce_figures(done, usage, RECORD_BYTES);
    measured.insert("peak_rss_mb", stage.brokers.memory_mb(BrokerProcess::peak_rss_mb)?);
    measured.insert("anonymous_mb", stage.brokers.memory_mb(BrokerProcess::anonymous_mb)?);
    let (further, _) = stage.measured(|| stage.runtime.block_on(ours::produce(&load)))?;
    let records = done.records + further.records;
    let holds = topic::ensure_holds(&stage.client, load.topic, PARTITIONS, records);
    stage.runtime.block_on(holds)?;
    measured.insert("client_mb_s", further.megabytes_per_second(RECORD_BYTES));
    Ok(measured)
}
