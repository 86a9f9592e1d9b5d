//! The brokers of one cluster under measurement, often only one, as if they were one process.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process::{BrokerProcess, Usage};

#[derive(Debug)]
pub(crate) struct Brokers(Vec<BrokerProcess>);

impl Brokers {
    /// There must be at least one.
    pub(crate) fn of(processes: Vec<BrokerProcess>) -> Self {
        Brokers(processes)
    }

    /// Where clients connect.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(BrokerProcess::address)
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.addresses().map(|it| it.to_string()).collect::<Vec<_>>().join(",")
    }

    /// When the first was started.
    pub(crate) fn began(&self) -> Result<Instant> {
        self.0.iter().map(BrokerProcess::began).min().context("no broker was started")
    }

    pub(crate) fn ensure_run(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(BrokerProcess::ensure_runs)
    }

    /// What all of them have used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut total = Usage::default();
        for broker in &self.0 {
            total += broker.usage()?;
        }
        Ok(total)
    }

    /// The sum over all of a measure of their memory.
    pub(crate) fn memory_mb(&self, of: fn(&BrokerProcess) -> Result<f64>) -> Result<f64> {
        self.0.iter().map(of).sum()
    }
}
