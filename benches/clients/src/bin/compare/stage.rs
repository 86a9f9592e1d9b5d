//! One broker, or a cluster of them, under measurement: started in an empty directory, with nothing
//! else of ours running, and gone with its data when it has been measured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use thalweg_client::Client;
use tokio::runtime::Runtime;

use crate::device::{self, Device};
use crate::figures::Measured;
use crate::load::{Done, Load};
use crate::peers::{Durability, Peer};
use crate::process::Usage;
use crate::topic::{self, Plan};
use crate::{brokers::Brokers, librdkafka};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// How long each load goes on.
    pub(crate) time: Duration,
    /// How long it goes on before, unmeasured.
    pub(crate) warm_up: Duration,
    /// How much is written to be read.
    pub(crate) dataset_bytes: u64,
}

/// So many records are flushed one by one to see whether they are.
const PROBES: u64 = 20;

/// What a measurement of one broker works with. Fields are dropped in this order.
pub(crate) struct Stage<'a> {
    pub(crate) client: Client,
    pub(crate) brokers: Brokers,
    _dir: TempDir,
    pub(crate) peer: &'a dyn Peer,
    pub(crate) durability: Durability,
    /// Of each partition.
    replicas: i16,
    pub(crate) sizes: Sizes,
    pub(crate) runtime: &'a Runtime,
}

impl<'a> Stage<'a> {
    /// Starts so many brokers, as one cluster, and waits until they answer. Every partition will
    /// have a replica on each.
    pub(crate) fn set(
        peer: &'a dyn Peer,
        count: u8,
        durability: Durability,
        dir: &Path,
        sizes: Sizes,
        runtime: &'a Runtime,
    ) -> Result<Self> {
        let dir = tempfile::tempdir_in(dir)?;
        let mut brokers = Brokers::of(peer.start(dir.path(), count, durability)?);
        let client = runtime.block_on(topic::connect(&mut brokers))?;
        let replicas = i16::from(count);
        Ok(Stage { client, brokers, _dir: dir, peer, durability, replicas, sizes, runtime })
    }

    /// A topic to create.
    pub(crate) fn plan<'p>(&self, name: &'p str, partitions: i32) -> Plan<'p> {
        let Stage { replicas, durability, .. } = *self;
        Plan { name, partitions, replicas, durability }
    }

    pub(crate) fn create(&self, name: &str, partitions: i32) -> Result<()> {
        let plan = self.plan(name, partitions);
        self.runtime.block_on(topic::create(&self.client, self.peer, &plan))
    }

    /// For as long as every load goes on, without an end by volume.
    pub(crate) fn load<'l>(
        &'l self,
        bootstrap: &'l str,
        topic: &'l str,
        partitions: i32,
        record_bytes: usize,
    ) -> Load<'l> {
        let time = self.sizes.time;
        Load { bootstrap, topic, partitions, record_bytes, time, bytes_max: 4_000_000_000 }
    }

    /// Has a JIT compile and caches fill, by the load that is measured next, into another topic.
    pub(crate) fn warm_up(&self, load: &Load<'_>) -> Result<()> {
        self.create("warm-up", load.partitions)?;
        let time = self.sizes.warm_up;
        librdkafka::produce(&Load { topic: "warm-up", time, ..*load })?;
        device::sync()
    }

    /// Does the work, checks that what it says it wrote is there, and says what it took the broker.
    pub(crate) fn written(
        &self,
        load: &Load<'_>,
        work: impl FnOnce() -> Result<Done>,
    ) -> Result<(Done, Usage)> {
        self.create(load.topic, load.partitions)?;
        let (done, usage) = self.measured(work)?;
        let holds = topic::ensure_holds(&self.client, load.topic, load.partitions, done.records);
        self.runtime.block_on(holds)?;
        Ok((done, usage))
    }

    /// Does the work, and says what it took the broker.
    pub(crate) fn measured<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Usage)> {
        let before = self.brokers.usage()?;
        let done = work()?;
        Ok((done, self.brokers.usage()?.since(before)))
    }

    /// Ends with an error unless the disk is told to flush for every record written by itself.
    /// Others may have it flush as well, so this can miss a fault but not invent one.
    pub(crate) fn ensure_flushes(&self, device: Option<&Device>) -> Result<()> {
        let (Durability::Flushed, Some(device)) = (self.durability, device) else { return Ok(()) };
        self.create("flush-probe", 1)?;
        let before = device.flushes()?;
        for _ in 0..PROBES {
            self.runtime.block_on(topic::write_one(&self.client, "flush-probe"))?;
        }
        let flushes = device.flushes()? - before;
        let name = self.peer.name();
        ensure!(flushes >= PROBES, "{name}: {PROBES} records alone were flushed {flushes} times");
        Ok(())
    }
}

/// The figures of a load that was written.
pub(crate) fn produce_figures(done: Done, usage: Usage, record_bytes: usize) -> Measured {
    let gigabytes = done.gigabytes(record_bytes);
    Measured::from([
        ("mb_s", done.megabytes_per_second(record_bytes)),
        ("records_s", done.records_per_second()),
        ("cpu_s_gb", usage.cpu() / gigabytes),
        ("user_s_gb", usage.user / gigabytes),
        ("system_s_gb", usage.system / gigabytes),
        ("cpu_s_million", usage.cpu() / done.millions()),
        ("disk_per_byte", usage.disk_bytes / (gigabytes * 1e9)),
    ])
}
