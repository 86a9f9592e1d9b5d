//! Apache Kafka from Maven Central: one broker that is its own controller (KRaft), in the JVM that
//! its start scripts would give it.
//!
//! Two things are in its favour: `java` is run without the scripts around it, and the storage
//! directory is formatted beforehand, so neither counts as starting.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Durability, Peer};
use crate::process::{BrokerProcess, free_address};

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

/// One broker can hold one replica, so its internal topics must not ask for three.
const SETTINGS: [&str; 9] = [
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=CONTROLLER",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
];

const FLUSH_EACH: &str = "log.flush.interval.messages=1";

/// Any will do: the directory belongs to no other cluster.
const CLUSTER_ID: &str = "dGhhbHdlZy1jb21wYXJlMA";

pub(crate) struct Kafka {
    version: String,
    java: String,
    class_path: String,
    /// A data directory as `StorageTool format` makes it, copied for each start.
    formatted: PathBuf,
}

impl Kafka {
    /// Has Maven fetch what `home/pom.xml` names into `cache`, unless it is there.
    pub(crate) fn install(home: &Path, cache: &Path) -> Result<Self> {
        let pom = home.join("pom.xml");
        let text = fs::read_to_string(&pom).with_context(|| pom.display().to_string())?;
        let version = text.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<'));
        let version = version.context("the pom names no kafka.version")?.0.to_owned();
        let jars = cache.join(format!("kafka-{version}"));
        if !jars.exists() {
            fetch(&pom, &jars, cache)?;
        }
        let formatted = cache.join(format!("kafka-{version}-formatted"));
        let class_path = format!("{}/*", jars.display());
        let kafka = Kafka { version, java: java_version()?, class_path, formatted };
        if !kafka.formatted.exists() {
            kafka.format(cache)?;
        }
        Ok(kafka)
    }

    fn format(&self, cache: &Path) -> Result<()> {
        let staging = tempfile::tempdir_in(cache)?;
        let logs = staging.path().join("logs");
        let properties = self.write_properties(staging.path(), &logs, 9092, 9093, None)?;
        let status = Command::new("java")
            .args(["-Xmx128m", "-cp", &self.class_path, "kafka.tools.StorageTool", "format"])
            .args(["--cluster-id", CLUSTER_ID, "--config"])
            .arg(properties)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "StorageTool format failed: {status}");
        fs::rename(logs, &self.formatted)?;
        Ok(())
    }

    fn write_properties(
        &self,
        dir: &Path,
        logs: &Path,
        port: u16,
        controller_port: u16,
        further: Option<&str>,
    ) -> Result<PathBuf> {
        let mut lines: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        lines.push(format!("controller.quorum.voters=1@127.0.0.1:{controller_port}"));
        lines.push(format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
        ));
        lines.push(format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}"));
        lines.push(format!("log.dirs={}", logs.display()));
        lines.extend(further.map(str::to_owned));
        let properties = dir.join("server.properties");
        fs::write(&properties, lines.join("\n"))?;
        Ok(properties)
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
                "`server.properties`: `{}`, `controller.quorum.voters`, `listeners`, \
                 `advertised.listeners` and `log.dirs` for loopback and the data directory; all \
                 else is its default",
                SETTINGS.join("`, `")
            ),
            format!(
                "page cache: its default; flushed: `{FLUSH_EACH}` on the broker and \
                 `flush.messages=1` on the topic"
            ),
        ]
    }

    fn start(&self, dir: &Path, durability: Durability) -> Result<BrokerProcess> {
        let (address, controller) = (free_address()?, free_address()?);
        let dir = dir.canonicalize()?;
        let logs = dir.join("data");
        fs::create_dir(&logs)?;
        for file in fs::read_dir(&self.formatted)? {
            let file = file?;
            fs::copy(file.path(), logs.join(file.file_name()))?;
        }
        let flush = (durability == Durability::Flushed).then_some(FLUSH_EACH);
        let properties =
            self.write_properties(&dir, &logs, address.port(), controller.port(), flush)?;
        let mut command = Command::new("java");
        command.args(JVM_OPTIONS).args(["-cp", &self.class_path]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka"]);
        command.arg(properties);
        BrokerProcess::spawn(command, address, &dir.join("output"))
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
