//! Small records: many to a batch, and one to a request over many connections.

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::peers::{Durability, Peer};
use crate::stage::produce_figures;
use crate::{device, librdkafka, ours};

const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 100;
const CONNECTIONS: usize = 64;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 3,
    title: "Produce 100-byte records",
    what: "Six partitions, `acks=all`, page cache on both: first as fast as one librdkafka \
           producer can; then 64 connections, each of which sends one record and waits for its \
           acknowledgement. 64 librdkafka producers are some 200 threads, which take more of this \
           machine than the broker; 64 thalweg-clients are one thread.",
    figures: &[
        Figure::at_most("cpu_s_million", "broker CPU, s per million records", 1.0 / 3.0),
        Figure::plain("records_s", "records/s"),
        Figure::plain("mb_s", "throughput, MB/s"),
        Figure::plain("user_s_gb", "broker CPU, s/GB, user"),
        Figure::plain("system_s_gb", "broker CPU, s/GB, system"),
        Figure::plain("java_mb_s", "throughput with Java's producer, MB/s"),
        Figure::at_least("single_s", "64 connections, librdkafka: requests/s", 3.0),
        Figure::plain("single_cpu", "… broker CPU, s per million requests"),
        Figure::at_least("client_single_s", "64 connections, thalweg-client: requests/s", 3.0),
        Figure::plain("client_single_cpu", "… broker CPU, s per million requests"),
    ],
    loads: (4.5, 1.5),
    overhead: 3.5,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let stage = setting.stage(peer, Durability::PageCache)?;
    let bootstrap = stage.brokers.bootstrap();
    let load = stage.load(&bootstrap, "small", PARTITIONS, RECORD_BYTES);
    stage.warm_up(&load)?;
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    let mut measured = produce_figures(done, usage, RECORD_BYTES);
    device::sync()?;
    let records = done.records;
    let load = stage.load(&bootstrap, "small-by-java", PARTITIONS, RECORD_BYTES);
    let (done, _) = stage.written(&load, || setting.java.produce(&load, records))?;
    measured.insert("java_mb_s", done.megabytes_per_second(RECORD_BYTES));
    device::sync()?;

    // What compiles as it runs has seen no single records yet.
    let mut load = stage.load(&bootstrap, "single-warm-up", PARTITIONS, RECORD_BYTES);
    stage.create(load.topic, PARTITIONS)?;
    load.time = stage.sizes.warm_up / 2;
    stage.runtime.block_on(ours::produce_singly(&load, CONNECTIONS))?;

    let load = stage.load(&bootstrap, "single", PARTITIONS, RECORD_BYTES);
    let work = || librdkafka::produce_singly(&load, CONNECTIONS);
    let (done, usage) = stage.written(&load, work)?;
    measured.insert("single_s", done.records_per_second());
    measured.insert("single_cpu", usage.cpu() / done.millions());

    let load = stage.load(&bootstrap, "single-by-ours", PARTITIONS, RECORD_BYTES);
    let work = || stage.runtime.block_on(ours::produce_singly(&load, CONNECTIONS));
    let (done, usage) = stage.written(&load, work)?;
    measured.insert("client_single_s", done.records_per_second());
    measured.insert("client_single_cpu", usage.cpu() / done.millions());
    Ok(measured)
}
