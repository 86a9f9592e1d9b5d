//! What is measured: each scenario says what it does, what it yields, and where we want to stand.

mod consume;
mod latency;
mod partitions;
mod produce;
mod replicated;
mod small;
mod start;
mod unrivalled;

use std::path::Path;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::device::Device;
use crate::figures::{Figure, Measured};
use crate::java::JavaTools;
use crate::peers::{Durability, Peer};
use crate::stage::{Sizes, Stage};

/// A scenario: one measurement of one broker, and what should come of it.
pub(crate) struct Scenario {
    pub(crate) number: u32,
    pub(crate) title: &'static str,
    /// What is done, in a sentence or two.
    pub(crate) what: &'static str,
    pub(crate) figures: &'static [Figure],
    /// How many loads, and how many warm-ups, one broker is given.
    pub(crate) loads: (f64, f64),
    /// How many seconds all else takes, on average over the brokers.
    pub(crate) overhead: f64,
    /// Whether a rival is measured too. If not, aims are bounds for ours itself.
    pub(crate) has_rival: bool,
    pub(crate) measure: fn(&Setting<'_>, &dyn Peer) -> Result<Measured>,
}

/// In this order they are run and reported.
pub(crate) static ALL: [Scenario; 9] = [
    produce::PAGE_CACHE,
    produce::FLUSHED,
    small::SCENARIO,
    consume::SCENARIO,
    latency::SCENARIO,
    partitions::SCENARIO,
    start::SCENARIO,
    replicated::SCENARIO,
    unrivalled::SCENARIO,
];

impl Scenario {
    /// About how many seconds a pair takes.
    pub(crate) fn seconds(&self, sizes: &Sizes) -> f64 {
        let (loads, warm_ups) = self.loads;
        let loads = loads * sizes.time.as_secs_f64();
        let of_one = loads + warm_ups * sizes.warm_up.as_secs_f64() + self.overhead;
        if self.has_rival { of_one * 2.0 } else { of_one }
    }
}

/// What every measurement has to work with.
pub(crate) struct Setting<'a> {
    /// Where brokers have their data.
    pub(crate) dir: &'a Path,
    pub(crate) device: Option<&'a Device>,
    pub(crate) sizes: Sizes,
    pub(crate) runtime: &'a Runtime,
    pub(crate) java: &'a JavaTools,
}

impl<'a> Setting<'a> {
    fn stage(&self, peer: &'a dyn Peer, durability: Durability) -> Result<Stage<'a>> {
        self.cluster(peer, 1, durability)
    }

    fn cluster(&self, peer: &'a dyn Peer, count: u8, durability: Durability) -> Result<Stage<'a>> {
        Stage::set(peer, count, durability, self.dir, self.sizes, self.runtime)
    }
}
