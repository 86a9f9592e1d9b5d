//! How late a record is at its consumer, at a rate that is no load.

use std::time::Duration;

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::paced::{self, Pace};
use crate::peers::Peer;
use crate::topic;

const PARTITIONS: i32 = 6;
const RECORD_BYTES: usize = 1024;
const BYTES_PER_SECOND: f64 = 10e6;

pub(super) const SCENARIO: Scenario = Scenario {
    number: 5,
    title: "End to end at 10 MB/s",
    what: "9,766 records of 1 KiB a second, `linger.ms=0`, into six partitions, from when each was \
           due to when a consumer had it (so nothing is hidden by a producer that is held up): \
           Thalweg by its default, flushed, and Kafka by its default, from the page cache.",
    figures: &[
        Figure::plain("p50_ms", "p50, ms"),
        Figure::at_most("p99_ms", "p99, ms", 1.0 / 3.0),
        Figure::plain("p999_ms", "p99.9, ms"),
        Figure::plain("max_ms", "the slowest, ms"),
        Figure::plain("cpu_s_gb", "broker CPU, s/GB written and read"),
    ],
    loads: (1.0, 1.0),
    overhead: 2.5,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let stage = setting.stage(peer, peer.default_durability())?;
    stage.ensure_flushes(setting.device)?;
    stage.create("paced", PARTITIONS)?;
    let bootstrap = stage.brokers.bootstrap();
    let time: Duration = stage.sizes.time;
    let pace = Pace {
        bootstrap: &bootstrap,
        topic: "paced",
        partitions: PARTITIONS,
        record_bytes: RECORD_BYTES,
        records_per_second: BYTES_PER_SECOND / RECORD_BYTES as f64,
        warm_up: stage.sizes.warm_up,
    };
    let ((sent, latencies), usage) = stage.measured(|| paced::end_to_end(&pace, time))?;
    let holds = topic::ensure_holds(&stage.client, "paced", PARTITIONS, sent);
    stage.runtime.block_on(holds)?;
    Ok(Measured::from([
        ("p50_ms", latencies.quantile(0.5)),
        ("p99_ms", latencies.quantile(0.99)),
        ("p999_ms", latencies.quantile(0.999)),
        ("max_ms", latencies.quantile(1.0)),
        ("cpu_s_gb", usage.cpu() / (sent as f64 * RECORD_BYTES as f64 / 1e9)),
    ]))
}
