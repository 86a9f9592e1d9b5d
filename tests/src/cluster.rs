//! A cluster of real broker processes that can be killed, paused, stopped and started again, one
//! by one or all at once.
//!
//! Every member has a loopback address of its own (all of 127.0.0.0/8 is this machine), made of
//! this process's id and a counter. So its ports are free, stay free while it is down, and are the
//! same when it is back, as clients expect. All processes end with the cluster.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use thalweg_protocol::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use thalweg_protocol::messages::{MetadataRequest, metadata};
use thalweg_protocol::{ErrorCode, KafkaStr};

use crate::process::{BrokerProcess, StartingBroker};
use crate::wait::eventually;
use crate::wire::Wire;

const KAFKA_PORT: u16 = 9092;
const NODE_PORT: u16 = 9192;
/// The last version in which topics go by name and nothing else is needed.
const METADATA: i16 = 9;

/// Where and how one broker runs.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its id.
    pub node: i32,
    /// The address of its own on which it listens.
    pub ip: Ipv4Addr,
    /// Its data.
    pub data_dir: PathBuf,
    /// A command that runs the broker given behind it, such as `ip netns exec name`.
    pub inside: Vec<String>,
    /// Settings of this broker alone.
    pub settings: Vec<(String, String)>,
}

/// Running brokers, and those that are down for now.
#[derive(Debug)]
pub struct Cluster {
    binary: String,
    settings: Vec<(String, String)>,
    /// The node addresses of the founders.
    seeds: String,
    members: BTreeMap<i32, Member>,
    dir: TempDir,
    net: [u8; 2],
}

#[derive(Debug)]
struct Member {
    site: Site,
    /// `None` for one that was there from the beginning.
    joins: Option<String>,
    process: Option<BrokerProcess>,
}

impl Site {
    /// Where clients connect.
    pub fn clients(&self) -> SocketAddr {
        SocketAddr::from((self.ip, KAFKA_PORT))
    }

    /// Where brokers connect.
    pub fn brokers(&self) -> SocketAddr {
        SocketAddr::from((self.ip, NODE_PORT))
    }
}

impl Cluster {
    /// Forms a cluster of brokers 1 to `nodes`, and returns when all of them serve.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start(binary: &str, nodes: u8, settings: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::planned(binary, settings);
        for node in 1..=nodes {
            let site = cluster.site(node);
            cluster.plan(site);
        }
        cluster.start_all();
        cluster
    }

    /// A cluster to which founders are still to be added by [`Cluster::plan`].
    ///
    /// # Panics
    /// If there is no room for temporary files.
    pub fn planned(binary: &str, settings: &[(&str, &str)]) -> Cluster {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let of_this_process = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        // Twelve bits of the process id, four of the counter; 127.0.x.x is left to others.
        let mixed = (std::process::id() << 4 | of_this_process & 0xf).to_be_bytes();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Cluster {
            binary: binary.to_owned(),
            settings: settings.iter().map(owned).collect(),
            seeds: String::new(),
            members: BTreeMap::new(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            net: [mixed[2] | 1, mixed[3]],
        }
    }

    /// Where broker `node` would run by default.
    pub fn site(&self, node: u8) -> Site {
        Site {
            node: i32::from(node),
            ip: Ipv4Addr::new(127, self.net[0], self.net[1], node),
            data_dir: self.dir.path().join(node.to_string()),
            inside: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Adds a founder, to be started by [`Cluster::start_all`].
    pub fn plan(&mut self, site: Site) {
        let separator = if self.seeds.is_empty() { "" } else { "," };
        self.seeds = format!("{}{separator}{}", self.seeds, site.brokers());
        self.members.insert(site.node, Member { site, joins: None, process: None });
    }

    /// Starts a new broker that joins through the first one. Returns when it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn join(&mut self, site: Site) {
        let through = self.members.values().next().expect("a member").site.brokers();
        let node = site.node;
        let joins = Some(through.to_string());
        self.members.insert(node, Member { site, joins, process: None });
        self.restart(node);
    }

    /// Changes a setting of one broker, for its next start.
    pub fn set(&mut self, node: i32, key: &str, value: &str) {
        let settings = &mut self.member_mut(node).site.settings;
        settings.retain(|(known, _)| known != key);
        settings.push((key.to_owned(), value.to_owned()));
    }

    fn command(&self, node: i32) -> Command {
        let Member { site, joins, .. } = self.member(node);
        match joins {
            Some(through) => self.command_at(site, &["--join", through]),
            None => self.command_at(site, &["--seeds", &self.seeds]),
        }
    }

    /// The command that runs a broker there, member or not, which finds its cluster as `finding`
    /// says.
    pub fn command_at(&self, site: &Site, finding: &[&str]) -> Command {
        let mut words = site.inside.clone();
        words.push(self.binary.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["--output", "json", "serve", "--node-id", &site.node.to_string()]);
        command.args(["--listen", &site.clients().to_string()]);
        command.args(["--node-listen", &site.brokers().to_string()]);
        command.args(["--admin-listen", &format!("{}:9292", site.ip)]);
        command.arg("--data-dir").arg(&site.data_dir).args(finding);
        for (key, value) in self.settings.iter().chain(&site.settings) {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command
    }

    /// Starts all brokers that are down, together, and returns when all serve.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_all(&mut self) {
        let down: Vec<i32> = self.nodes().filter(|node| !self.is_running(*node)).collect();
        let starting: Vec<_> =
            down.iter().map(|node| (*node, StartingBroker::spawn(self.command(*node)))).collect();
        for (node, starting) in starting {
            let process = starting.wait();
            let process = process.unwrap_or_else(|said| panic!("broker {node}: {said}"));
            self.member_mut(node).process = Some(process);
        }
        self.wait_registered();
    }

    /// Starts one broker that is down, and returns when it serves.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, node: i32) {
        let process = StartingBroker::spawn(self.command(node)).wait();
        let process = process.unwrap_or_else(|said| panic!("broker {node}: {said}"));
        self.member_mut(node).process = Some(process);
        self.wait_registered();
    }

    /// Waits until every broker that runs knows of all that do: until then one may still refuse a
    /// topic for want of brokers.
    fn wait_registered(&self) {
        let running: Vec<i32> = self.nodes().filter(|node| self.is_running(*node)).collect();
        eventually("all brokers know each other", || {
            let knows = |node: &i32| {
                let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
                let known = self.wire(*node).call(&request, METADATA).ok()?.brokers;
                let known: Vec<i32> = known.iter().map(|broker| broker.node_id).collect();
                running.iter().all(|node| known.contains(node)).then_some(())
            };
            running.iter().map(knows).collect::<Option<()>>()
        });
    }

    /// Kills a broker (SIGKILL).
    pub fn kill(&mut self, node: i32) {
        self.take(node).kill();
    }

    /// Kills all brokers at once, as far as one after the other is at once.
    pub fn kill_all(&mut self) {
        for process in self.members.values().filter_map(|member| member.process.as_ref()) {
            process.signal(libc::SIGKILL);
        }
        for member in self.members.values_mut() {
            if let Some(process) = member.process.take() {
                process.kill();
            }
        }
    }

    /// Stops a broker (SIGTERM), and returns how it ended and what it had said.
    pub fn terminate(&mut self, node: i32) -> (ExitStatus, String) {
        let process = self.take(node);
        let stderr = process.stderr_file();
        (process.terminate(), crate::process::text(&stderr))
    }

    /// Stops a broker's threads where they are (SIGSTOP).
    pub fn pause(&self, node: i32) {
        self.process(node).signal(libc::SIGSTOP);
    }

    /// Lets a paused broker go on (SIGCONT).
    pub fn resume(&self, node: i32) {
        self.process(node).signal(libc::SIGCONT);
    }

    /// Makes sure that no broker has ended by itself, nor panicked over a request.
    ///
    /// # Panics
    /// If one has.
    pub fn assert_well(&mut self) {
        for (node, member) in &mut self.members {
            let Some(process) = &mut member.process else { continue };
            assert!(!process.has_ended(), "broker {node} has ended: {}", process.stderr());
            let said = process.stderr();
            assert!(!said.contains("panicked at"), "broker {node} has panicked: {said}");
        }
    }

    /// A running broker.
    ///
    /// # Panics
    /// If it is down.
    pub fn process(&self, node: i32) -> &BrokerProcess {
        self.member(node).process.as_ref().unwrap_or_else(|| panic!("broker {node} is down"))
    }

    /// Whether a broker has been started, and neither killed nor stopped since.
    pub fn is_running(&self, node: i32) -> bool {
        self.member(node).process.is_some()
    }

    /// All brokers' ids.
    pub fn nodes(&self) -> impl Iterator<Item = i32> + '_ {
        self.members.keys().copied()
    }

    /// Where a broker keeps its data.
    pub fn data_dir(&self, node: i32) -> &Path {
        &self.member(node).site.data_dir
    }

    /// Where clients reach a broker, also when it is down.
    pub fn address(&self, node: i32) -> SocketAddr {
        self.member(node).site.clients()
    }

    /// Where other brokers reach a broker.
    pub fn node_address(&self, node: i32) -> SocketAddr {
        self.member(node).site.brokers()
    }

    /// Where clients reach the brokers, in the order of their ids.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.values().map(|member| member.site.clients()).collect()
    }

    /// A new connection to a broker.
    ///
    /// # Panics
    /// If it takes none.
    pub fn wire(&self, node: i32) -> Wire {
        self.process(node).connect()
    }

    /// The leader of each partition, as soon as every running broker knows the same ones and all
    /// of them run.
    ///
    /// # Panics
    /// If that does not come to be.
    pub fn leaders(&self, topic: &str) -> Vec<i32> {
        eventually(&format!("all of {topic} has leaders"), || {
            let mut agreed: Option<Vec<i32>> = None;
            for node in self.nodes().filter(|node| self.is_running(*node)) {
                let partitions = describe(&mut self.wire(node), topic)?;
                let leaders = partitions.iter().map(|it| it.leader_id).collect::<Vec<_>>();
                let run = |node: &i32| self.members.contains_key(node) && self.is_running(*node);
                if !leaders.iter().all(run) || agreed.is_some_and(|agreed| agreed != leaders) {
                    return None;
                }
                agreed = Some(leaders);
            }
            agreed
        })
    }

    /// Waits until every partition's leader has all of its replicas in sync.
    ///
    /// # Panics
    /// If that does not come to be.
    pub fn wait_in_sync(&self, topic: &str) {
        eventually(&format!("all of {topic} is in sync"), || {
            for (index, leader) in self.leaders(topic).into_iter().enumerate() {
                let partitions = describe(&mut self.wire(leader), topic)?;
                let partition = partitions.get(index)?;
                if partition.isr_nodes.len() < partition.replica_nodes.len() {
                    return None;
                }
            }
            Some(())
        });
    }

    fn take(&mut self, node: i32) -> BrokerProcess {
        let process = self.member_mut(node).process.take();
        process.unwrap_or_else(|| panic!("broker {node} is down"))
    }

    fn member(&self, node: i32) -> &Member {
        self.members.get(&node).unwrap_or_else(|| panic!("there is no broker {node}"))
    }

    fn member_mut(&mut self, node: i32) -> &mut Member {
        self.members.get_mut(&node).unwrap_or_else(|| panic!("there is no broker {node}"))
    }
}

impl Drop for Cluster {
    /// After a failure, what the brokers said last is what one wants to read.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (node, member) in &self.members {
            let said = member.process.as_ref().map(BrokerProcess::stderr).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
                eprintln!("[{node}] {line}");
            }
        }
    }
}

const LINES_SHOWN: usize = 40;

/// A topic's partitions in order, once the broker knows it.
pub fn describe(wire: &mut Wire, topic: &str) -> Option<Vec<MetadataResponsePartition>> {
    try_describe(wire, topic).expect("Metadata is answered")
}

/// The same, from a broker that may break off.
pub fn try_describe(
    wire: &mut Wire,
    topic: &str,
) -> std::io::Result<Option<Vec<MetadataResponsePartition>>> {
    let named = metadata::MetadataRequestTopic {
        name: Some(KafkaStr::copied_from(topic)),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![named]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let mut response = wire.call(&request, METADATA)?;
    let found: MetadataResponseTopic = response.topics.pop().expect("one topic, one answer");
    if ErrorCode::from(found.error_code) != ErrorCode::None {
        return Ok(None);
    }
    let mut partitions = found.partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    Ok(Some(partitions))
}
