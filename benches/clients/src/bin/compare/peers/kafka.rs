//! Apache Kafka from Maven Central: brokers that are their own controllers (KRaft), a static quorum
//! if there are several, each in the JVM that its start scripts would give it.
//!
//! Two things are in its favour: `java` is run without the scripts around it, and the storage
//! directories are formatted beforehand, so neither counts as starting.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Durability, Peer};
use crate::process::{BrokerProcess, free_addresses};

/// What `kafka-server-start.sh` and `kafka-run-class.sh` pass on when nothing is set.
const JVM_OPTIONS: [&str; 9] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

const SETTINGS: [&str; 3] = [
    "process.roles=broker,controller",
    "controller.listener.names=CONTROLLER",
    "group.initial.rebalance.delay.ms=0",
];

/// One broker can hold one replica, so its internal topics must not ask for three.
const OF_ONE: [&str; 5] = [
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
];

/// What a cluster of three is run with; its internal topics have three replicas by default.
const OF_SEVERAL: [&str; 2] = ["default.replication.factor=3", "min.insync.replicas=2"];

/// How many nodes are formatted beforehand.
const NODES: u8 = 3;

const FLUSH_EACH: &str = "log.flush.interval.messages=1";

/// Any will do: the directory belongs to no other cluster.
const CLUSTER_ID: &str = "dGhhbHdlZy1jb21wYXJlMA";

pub(crate) struct Kafka {
    version: String,
    java: String,
    class_path: String,
    /// A data directory for each node as `StorageTool format` makes it, copied for each start.
    formatted: PathBuf,
}

impl Kafka {
    /// Has Maven fetch what `home/pom.xml` names into `cache`, unless it is there.
    pub(crate) fn install(home: &Path, cache: &Path) -> Result<Self> {
        let pom = home.join("pom.xml");
        let text = fs::read_to_string(&pom).with_context(|| pom.display().to_string())?;
        let version = text.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<'));
        let version = version.context("the pom names no kafka.version")?.0.to_owned();
        let jars = cache.join(format!("kafka-{version}-with-tools"));
        if !jars.exists() {
            fetch(&pom, &jars, cache)?;
        }
        let formatted = cache.join(format!("kafka-{version}-formatted-nodes"));
        let class_path = format!("{}/*", jars.display());
        let kafka = Kafka { version, java: java_version()?, class_path, formatted };
        if !kafka.formatted.exists() {
            kafka.format(cache)?;
        }
        Ok(kafka)
    }

    /// Every jar, for Java programs that come with it.
    pub(crate) fn class_path(&self) -> &str {
        &self.class_path
    }

    /// The folder appears whole, by a rename.
    fn format(&self, cache: &Path) -> Result<()> {
        let staging = tempfile::tempdir_in(cache)?;
        let addresses = free_addresses(2 * usize::from(NODES))?;
        let (clients, controllers) = addresses.split_at(NODES.into());
        let nodes = staging.path().join("nodes");
        for node in 1..=NODES {
            let logs = nodes.join(node.to_string());
            let properties = Properties { node, clients, controllers, logs: &logs };
            let file = properties.write(staging.path(), &[])?;
            let status = Command::new("java")
                .args(["-Xmx128m", "-cp", &self.class_path, "kafka.tools.StorageTool", "format"])
                .args(["--cluster-id", CLUSTER_ID, "--config"])
                .arg(file)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            ensure!(status.success(), "StorageTool format failed: {status}");
        }
        fs::rename(nodes, &self.formatted)?;
        Ok(())
    }

    fn start_node(
        &self,
        dir: &Path,
        node: &Properties<'_>,
        further: &[&str],
    ) -> Result<BrokerProcess> {
        let formatted = self.formatted.join(node.node.to_string());
        fs::create_dir_all(node.logs)?;
        for file in fs::read_dir(formatted)? {
            let file = file?;
            fs::copy(file.path(), node.logs.join(file.file_name()))?;
        }
        let mut command = Command::new("java");
        command.args(JVM_OPTIONS).args(["-cp", &self.class_path]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka"]);
        command.arg(node.write(dir, further)?);
        let output = dir.join(format!("output-{}", node.node));
        BrokerProcess::spawn(command, node.address()?, &output)
    }
}

impl Peer for Kafka {
    fn name(&self) -> &'static str {
        "Kafka"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn settings(&self) -> Vec<String> {
        vec![
            format!("{}; `java {} kafka.Kafka`", self.java, JVM_OPTIONS.join(" ")),
            "logging to a file at level warn, no GC log, no JMX".to_owned(),
            format!(
                "`server.properties`: `{}`, `node.id`, `controller.quorum.voters`, `listeners`, \
                 `advertised.listeners` and `log.dirs` for loopback and the data directory; of one \
                 broker also `{}`, of three `{}`; all else is its default",
                SETTINGS.join("`, `"),
                OF_ONE.join("`, `"),
                OF_SEVERAL.join("`, `")
            ),
            format!(
                "page cache: its default; flushed: `{FLUSH_EACH}` on the broker and \
                 `flush.messages=1` on the topic"
            ),
        ]
    }

    fn start(&self, dir: &Path, count: u8, durability: Durability) -> Result<Vec<BrokerProcess>> {
        ensure!(count <= NODES, "at most {NODES} brokers are prepared");
        let addresses = free_addresses(2 * usize::from(count))?;
        let (clients, controllers) = addresses.split_at(count.into());
        let dir = dir.canonicalize()?;
        let mut further = if count == 1 { OF_ONE.to_vec() } else { OF_SEVERAL.to_vec() };
        further.extend((durability == Durability::Flushed).then_some(FLUSH_EACH));
        let start = |node: u8| {
            let logs = dir.join(format!("data-{node}"));
            let properties = Properties { node, clients, controllers, logs: &logs };
            self.start_node(&dir, &properties, &further)
        };
        (1..=count).map(start).collect()
    }

    fn default_durability(&self) -> Durability {
        Durability::PageCache
    }

    fn topic_configs(&self, durability: Durability) -> Vec<(&'static str, &'static str)> {
        match durability {
            Durability::PageCache => vec![("flush.messages", "9223372036854775807")],
            Durability::Flushed => vec![("flush.messages", "1")],
        }
    }
}

/// One node's `server.properties`.
struct Properties<'a> {
    /// From 1; its addresses are at the place before.
    node: u8,
    /// Where clients connect, by node.
    clients: &'a [SocketAddr],
    /// Where controllers do.
    controllers: &'a [SocketAddr],
    logs: &'a Path,
}

impl Properties<'_> {
    fn of_node<'a>(&self, addresses: &'a [SocketAddr]) -> Result<&'a SocketAddr> {
        addresses.get(usize::from(self.node) - 1).context("every node has an address")
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(*self.of_node(self.clients)?)
    }

    fn write(&self, dir: &Path, further: &[&str]) -> Result<PathBuf> {
        let (client, controller) = (self.address()?, self.of_node(self.controllers)?);
        let mut lines: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        let voters = (1..).zip(self.controllers);
        let voters: Vec<String> = voters.map(|(node, it)| format!("{node}@{it}")).collect();
        lines.push(format!("node.id={}", self.node));
        lines.push(format!("controller.quorum.voters={}", voters.join(",")));
        lines.push(format!("listeners=PLAINTEXT://{client},CONTROLLER://{controller}"));
        lines.push(format!("advertised.listeners=PLAINTEXT://{client}"));
        lines.push(format!("log.dirs={}", self.logs.display()));
        lines.extend(further.iter().map(ToString::to_string));
        let properties = dir.join(format!("server-{}.properties", self.node));
        fs::write(&properties, lines.join("\n"))?;
        Ok(properties)
    }
}

/// The folder appears whole, by a rename.
fn fetch(pom: &Path, jars: &Path, cache: &Path) -> Result<()> {
    eprintln!("fetching Apache Kafka from Maven Central …");
    let staging = tempfile::tempdir_in(cache)?;
    let status = Command::new("mvn")
        .args(["-B", "-q", "-Dstyle.color=never", "-f"])
        .arg(pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", staging.path().display()))
        .stdout(Stdio::null())
        .status()
        .context("cannot run mvn; install Maven and a JDK of version 17 or later")?;
    ensure!(status.success(), "mvn failed: {status}");
    fs::rename(staging.keep(), jars)?;
    Ok(())
}

fn java_version() -> Result<String> {
    let output = Command::new("java").arg("-version").output().context("cannot run java")?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.lines().nth(1).unwrap_or_default().trim().to_owned())
}
