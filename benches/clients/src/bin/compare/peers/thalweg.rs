//! Thalweg, with its defaults: `acks=all` is answered after the flush unless a topic opts out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Durability, Peer};
use crate::process::{BrokerProcess, free_addresses};

pub(crate) struct Thalweg {
    binary: PathBuf,
    version: String,
}

impl Thalweg {
    pub(crate) fn at(binary: &Path) -> Result<Self> {
        let advice = "build it with `cargo build --release -p thalweg`, or give --thalweg FILE";
        let binary = binary.canonicalize();
        let binary = binary.with_context(|| format!("no broker to measure: {advice}"))?;
        let output = Command::new(&binary).arg("--version").output()?;
        ensure!(output.status.success(), "{} --version failed", binary.display());
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.trim().trim_start_matches("thalweg ").to_owned();
        Ok(Thalweg { binary, version })
    }
}

impl Peer for Thalweg {
    fn name(&self) -> &'static str {
        "Thalweg"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn settings(&self) -> Vec<String> {
        vec![
            "`thalweg serve --listen 127.0.0.1:PORT --admin-listen off --data-dir DIR`; nothing \
             else is set; a cluster also has `--node-id`, `--node-listen` and `--seeds`"
                .to_owned(),
            "page cache: topics with `write.caching=true`; flushed: the default, \
             `write.caching=false`"
                .to_owned(),
        ]
    }

    fn start(&self, dir: &Path, count: u8, _: Durability) -> Result<Vec<BrokerProcess>> {
        let (clients, nodes) = (free_addresses(count.into())?, free_addresses(count.into())?);
        let seeds: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let seeds = seeds.join(",");
        let addresses = (1..=count).zip(clients).zip(nodes);
        let start = |((node, address), node_address): ((u8, SocketAddr), SocketAddr)| {
            let mut command = Command::new(&self.binary);
            command.args(["serve", "--listen", &address.to_string(), "--admin-listen", "off"]);
            command.arg("--data-dir").arg(dir.join(format!("data-{node}")));
            if count > 1 {
                command.args(["--node-id", &node.to_string(), "--seeds", &seeds]);
                command.args(["--node-listen", &node_address.to_string()]);
            }
            BrokerProcess::spawn(command, address, &dir.join(format!("output-{node}")))
        };
        addresses.map(start).collect()
    }

    fn default_durability(&self) -> Durability {
        Durability::Flushed
    }

    fn topic_configs(&self, durability: Durability) -> Vec<(&'static str, &'static str)> {
        match durability {
            Durability::PageCache => vec![("write.caching", "true")],
            Durability::Flushed => vec![("write.caching", "false")],
        }
    }
}
