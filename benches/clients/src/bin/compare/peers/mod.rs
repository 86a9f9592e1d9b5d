//! The brokers that are compared: how each is started, and how it is told when to flush.
//!
//! One file per broker. A further one implements [`Peer`] and joins [`Rival`].

mod kafka;
mod thalweg;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::java::JavaTools;
use crate::process::BrokerProcess;

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The records are in the page cache.
    PageCache,
    /// The records have been flushed to the disk.
    Flushed,
}

/// A broker that can be measured.
pub(crate) trait Peer {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Its version, as the product itself says it.
    fn version(&self) -> &str;

    /// Everything that is set, and how it is run, for the report.
    fn settings(&self) -> Vec<String>;

    /// Starts so many brokers on loopback, one cluster if there are several, each with an empty
    /// data directory below `dir`, which exists. They need not be ready when this returns.
    fn start(&self, dir: &Path, count: u8, durability: Durability) -> Result<Vec<BrokerProcess>>;

    /// What an acknowledgement means when nothing is set.
    fn default_durability(&self) -> Durability;

    /// What a topic is created with, and must say that it has afterwards.
    fn topic_configs(&self, durability: Durability) -> Vec<(&'static str, &'static str)>;
}

/// Where the brokers are, and where they may keep what they need to run.
pub(crate) struct Places {
    /// Our binary.
    pub(crate) thalweg: PathBuf,
    /// The folder with a folder for each peer that has something to install.
    pub(crate) peers: PathBuf,
    /// Where what is installed is kept from one run to the next.
    pub(crate) cache: PathBuf,
}

/// The brokers that ours can be compared with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Rival {
    Kafka,
}

/// Ours, and the one it is compared with.
pub(crate) struct Peers {
    pub(crate) ours: Box<dyn Peer>,
    pub(crate) theirs: Box<dyn Peer>,
    /// Java's clients, which come with Kafka, whoever the rival is.
    pub(crate) java: JavaTools,
}

impl Peers {
    /// Finds, or fetches, all that is needed to start them.
    pub(crate) fn prepare(rival: Rival, places: &Places) -> Result<Self> {
        let kafka = kafka::Kafka::install(&places.peers.join("kafka"), &places.cache)?;
        let java = JavaTools::new(kafka.class_path());
        let ours = Box::new(thalweg::Thalweg::at(&places.thalweg)?);
        let theirs = match rival {
            Rival::Kafka => Box::new(kafka),
        };
        Ok(Peers { ours, theirs, java })
    }
}
