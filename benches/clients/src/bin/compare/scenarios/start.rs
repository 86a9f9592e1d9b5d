//! From an empty directory to the first acknowledgement, and the memory of a broker without work.

use std::time::Duration;

use anyhow::Result;

use super::{Scenario, Setting};
use crate::figures::{Figure, Measured};
use crate::peers::Peer;
use crate::process::BrokerProcess;
use crate::topic;

const IDLE: Duration = Duration::from_secs(3);

pub(super) const SCENARIO: Scenario = Scenario {
    number: 7,
    title: "Start and rest",
    what: "From starting the process with an empty directory (Kafka's is formatted beforehand, and \
           its start scripts are left out) until a topic was created and a record was acknowledged, \
           tried every millisecond; then three seconds of rest.",
    figures: &[
        Figure::at_most("first_ms", "start to first acknowledgement, ms", 1.0 / 20.0),
        Figure::plain("start_cpu_s", "CPU for that, s"),
        Figure::at_most("idle_rss_mb", "idle RSS, MB", 1.0 / 10.0),
    ],
    loads: (0.0, 0.0),
    overhead: 5.0,
    has_rival: true,
    measure,
};

fn measure(setting: &Setting<'_>, peer: &dyn Peer) -> Result<Measured> {
    let stage = setting.stage(peer, peer.default_durability())?;
    stage.runtime.block_on(async {
        topic::request(&stage.client, peer, &stage.plan("first", 1)).await?;
        topic::write_one(&stage.client, "first").await
    })?;
    let first = stage.brokers.began()?.elapsed();
    let usage = stage.brokers.usage()?;
    std::thread::sleep(IDLE);
    Ok(Measured::from([
        ("first_ms", first.as_secs_f64() * 1e3),
        ("start_cpu_s", usage.cpu()),
        ("idle_rss_mb", stage.brokers.memory_mb(BrokerProcess::rss_mb)?),
    ]))
}
