//! A network of its own for every broker, in which packets from any other can be dropped.
//!
//! Each broker lives in a network namespace with one interface, and all of them at a switch that
//! also is in a namespace, so that nothing of it meets the machine's own packet filter. The test
//! reaches all of them from 10.x.y.254. Packets are dropped where they arrive: what broker 1 does
//! not hear from broker 2, broker 2 still hears from broker 1.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::mount::run;

/// Namespaces at one switch; removed when dropped.
#[derive(Debug)]
pub struct Network {
    /// Begins the names of everything that belongs to it.
    prefix: String,
    net: [u8; 2],
    nodes: u8,
}

impl Network {
    /// A network with places for brokers 1 to `nodes`. An error says what this machine lacks.
    pub fn new(nodes: u8) -> Result<Network, String> {
        // SAFETY: takes nothing and always succeeds.
        if unsafe { libc::geteuid() } != 0 {
            return Err("network namespaces need root".to_owned());
        }
        let id = std::process::id();
        let [_, _, high, low] = id.to_be_bytes();
        // Interface names have at most 15 bytes.
        let network = Network { prefix: format!("tw{id}"), net: [high | 0x80, low], nodes };
        network.build()?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let (switch, host) = (self.namespace(0), format!("{}h", self.prefix));
        let ip = |line: String| run("ip", &line.split(' ').collect::<Vec<_>>());
        ip(format!("netns add {switch}"))?;
        ip(format!("-n {switch} link add switch type bridge"))?;
        ip(format!("-n {switch} link set switch up"))?;
        ip(format!("link add {host} type veth peer name host netns {switch}"))?;
        ip(format!("-n {switch} link set host master switch up"))?;
        ip(format!("addr add {}/24 dev {host}", self.ip(254)))?;
        ip(format!("link set {host} up"))?;
        for node in 1..=self.nodes {
            let namespace = self.namespace(node);
            ip(format!("netns add {namespace}"))?;
            ip(format!(
                "-n {switch} link add to{node} type veth peer name eth0 netns {namespace}"
            ))?;
            ip(format!("-n {switch} link set to{node} master switch up"))?;
            ip(format!("-n {namespace} addr add {}/24 dev eth0", self.ip(node)))?;
            ip(format!("-n {namespace} link set eth0 up"))?;
            ip(format!("-n {namespace} link set lo up"))?;
            // Fails now rather than later if there is no packet filter.
            self.filter(node, &["-F"])?;
        }
        Ok(())
    }

    /// The address of a broker.
    pub fn ip(&self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net[0], self.net[1], node)
    }

    /// The command that runs another one where a broker is.
    pub fn inside(&self, node: u8) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/var/run/netns/{}", self.namespace(node))]
    }

    /// From now on `to` hears nothing of `from`.
    ///
    /// # Panics
    /// If the packet filter refuses.
    pub fn cut(&self, from: u8, to: u8) {
        let from = self.ip(from).to_string();
        self.filter(to, &["-A", "INPUT", "-s", &from, "-j", "DROP"]).expect("a rule is added");
    }

    /// Every broker hears every other again.
    ///
    /// # Panics
    /// If the packet filter refuses.
    pub fn heal(&self) {
        for node in 1..=self.nodes {
            self.filter(node, &["-F"]).expect("rules are removed");
        }
    }

    fn filter(&self, node: u8, arguments: &[&str]) -> Result<String, String> {
        let inside = self.inside(node);
        let mut words: Vec<&str> = inside[1..].iter().map(String::as_str).collect();
        words.extend(["iptables", "-w"]);
        words.extend(arguments);
        run(&inside[0], &words)
    }

    /// The switch's is number 0.
    fn namespace(&self, node: u8) -> String {
        format!("{}-{node}", self.prefix)
    }
}

impl Drop for Network {
    /// Interfaces go with their namespaces, each with its peer.
    fn drop(&mut self) {
        for node in 0..=self.nodes {
            let name = self.namespace(node);
            // It may not have been made.
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}
