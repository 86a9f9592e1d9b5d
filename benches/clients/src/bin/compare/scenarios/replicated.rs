//! Three brokers, three replicas of everything: throughput, and latency at a rate that is no load.

use std::time::Duration;

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::paced::{self, Pace};
use crate::peers::{Durability, Peer};
use crate::process::BrokerProcess;
use crate::{device, librdkafka, topic};

const BROKERS: u8 = 3;
const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 1024;
const RECORDS_PER_SECOND: f64 = 500.0;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 8,
    title: "Three brokers, three replicas",
    what: "Six partitions with a replica on each of three brokers on this machine, `acks=all` \
           (Thalweg answers when two replicas have it, Kafka when all in-sync ones do, of which it \
           demands two), 1 KiB records: as fast as one librdkafka producer can, then 500 \
           records/s with `linger.ms=0`, from when each was due to when a consumer had it. First \
           from the page cache on both, then in new clusters flushed on both. CPU and memory are \
           the sums over the three brokers.",
    figures: &[
        Figure::at_least("mb_s", "page cache: throughput, MB/s", 1.5),
        Figure::plain("cpu_s_gb", "… brokers' CPU, s/GB"),
        Figure::plain("user_s_gb", "… of it user"),
        Figure::plain("system_s_gb", "… of it system"),
        Figure::plain("p50_ms", "page cache: p50, ms"),
        Figure::at_most("p99_ms", "page cache: p99, ms", 0.5),
        Figure::plain("p999_ms", "page cache: p99.9, ms"),
        Figure::plain("peak_rss_mb", "page cache: peak RSS, MB"),
        Figure::at_least("flushed_mb_s", "flushed: throughput, MB/s", 1.5),
        Figure::plain("flushed_cpu_s_gb", "… brokers' CPU, s/GB"),
        Figure::plain("flushed_p50_ms", "flushed: p50, ms"),
        Figure::at_most("flushed_p99_ms", "flushed: p99, ms", 0.5),
        Figure::plain("flushed_p999_ms", "flushed: p99.9, ms"),
    ],
    loads: (4.0, 4.4),
    overhead: 20.0,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let cached = measure_durability(setting, peer, Durability::PageCache)?;
    let flushed = measure_durability(setting, peer, Durability::Flushed)?;
    let mut measured = cached;
    let renamed = [
        ("flushed_mb_s", "mb_s"),
        ("flushed_cpu_s_gb", "cpu_s_gb"),
        ("flushed_p50_ms", "p50_ms"),
        ("flushed_p99_ms", "p99_ms"),
        ("flushed_p999_ms", "p999_ms"),
    ];
    measured.extend(renamed.into_iter().filter_map(|(to, from)| Some((to, *flushed.get(from)?))));
    Ok(measured)
}

fn measure_durability(
    setting: &Setting<'_>,
    peer: &dyn Peer,
    durability: Durability,
) -> Result<Measured> {
    let stage = setting.cluster(peer, BROKERS, durability)?;
    stage.ensure_flushes(setting.device)?;
    let bootstrap = stage.brokers.bootstrap();
    let load = stage.load(&bootstrap, "replicated", PARTITIONS, RECORD_BYTES);
    stage.warm_up(&load)?;
    let (done, usage) = stage.written(&load, || librdkafka::produce(&load))?;
    device::sync()?;
    let gigabytes = done.gigabytes(RECORD_BYTES);

    let pace = Pace {
        bootstrap: &bootstrap,
        topic: "paced-warm-up",
        partitions: PARTITIONS,
        record_bytes: RECORD_BYTES,
        records_per_second: RECORDS_PER_SECOND,
        warm_up: Duration::ZERO,
    };
    // A load of its own: what piles up before the JIT compiler is done would count otherwise.
    stage.create(pace.topic, PARTITIONS)?;
    paced::end_to_end(&pace, stage.sizes.warm_up)?;
    let pace = Pace { topic: "paced", warm_up: stage.sizes.warm_up / 5, ..pace };
    stage.create(pace.topic, PARTITIONS)?;
    let (sent, latencies) = paced::end_to_end(&pace, stage.sizes.time)?;
    let holds = topic::ensure_holds(&stage.client, pace.topic, PARTITIONS, sent);
    stage.runtime.block_on(holds)?;
    Ok(Measured::from([
        ("mb_s", done.megabytes_per_second(RECORD_BYTES)),
        ("cpu_s_gb", usage.cpu() / gigabytes),
        ("user_s_gb", usage.user / gigabytes),
        ("system_s_gb", usage.system / gigabytes),
        ("p50_ms", latencies.quantile(0.5)),
        ("p99_ms", latencies.quantile(0.99)),
        ("p999_ms", latencies.quantile(0.999)),
        ("peak_rss_mb", stage.brokers.memory_mb(BrokerProcess::peak_rss_mb)?),
    ]))
}
