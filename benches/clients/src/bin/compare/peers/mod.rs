//! The brokers that are compared: how each is started, and how it is told when to flush.
//!
//! One file per broker. A further one implements [`Peer`] and joins [`Peers::prepare`].

mod kafka;
mod thalweg;

use std::path::{Path, PathBuf};

use anyhow::Result;

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

    /// Starts it on loopback with an empty data directory below `dir`, which exists. It need not
    /// be ready when this returns.
    fn start(&self, dir: &Path, durability: Durability) -> Result<BrokerProcess>;

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

/// Ours, and the one it is compared with.
pub(crate) struct Peers {
    pub(crate) ours: Box<dyn Peer>,
    pub(crate) theirs: Box<dyn Peer>,
}

impl Peers {
    /// Finds, or fetches, all that is needed to start them.
    pub(crate) fn prepare(places: &Places) -> Result<Self> {
        Ok(Peers {
            ours: Box::new(thalweg::Thalweg::at(&places.thalweg)?),
            theirs: Box::new(kafka::Kafka::install(&places.peers.join("kafka"), &places.cache)?),
        })
    }
}
