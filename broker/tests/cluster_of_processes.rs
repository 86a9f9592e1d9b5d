//! Clusters of several processes as a user starts them: `thalweg dev`, and `serve` with seeds.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_thalweg");

/// A process that is killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dev(args: &[&str], dir: &Path) -> Killed {
    let mut command = Command::new(BINARY);
    command.args(["dev", "-o", "json"]).args(args).arg("--dir").arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Killed(command.spawn().expect("the binary starts"))
}

impl Killed {
    /// The one line of JSON that it prints when all brokers are ready.
    fn announced(&mut self) -> Value {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout is text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Its exit code, and all that it logged.
    fn ended(&mut self) -> (Option<i32>, String) {
        let mut logged = String::new();
        let stderr = self.0.stderr.as_mut().expect("stderr is piped");
        stderr.read_to_string(&mut logged).expect("stderr is text");
        (self.0.wait().expect("it ends").code(), logged)
    }
}

fn signal(name: &str, pid: &impl ToString) {
    let killed = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

/// Waits until nobody listens there.
fn wait_until_closed(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "{address} still listens");
        std::thread::yield_now();
    }
}

fn addresses(announced: &Value) -> Vec<String> {
    let brokers = announced["brokers"].as_array().expect("a list");
    brokers.iter().map(|it| it["clients"].as_str().expect("an address").to_owned()).collect()
}

#[test]
fn dev_runs_a_cluster_until_it_is_told_to_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first_cluster = None;
    // The second time the cluster is there already, on the same ports.
    for _ in 0..2 {
        let mut dev = dev(&["--nodes", "3"], dir.path());
        let announced = dev.announced();
        let addresses = addresses(&announced);
        assert_eq!(addresses.len(), 3);
        assert_eq!(announced["bootstrap_servers"], addresses.join(","));
        for address in &addresses {
            TcpStream::connect(address).expect("it listens");
        }
        for node in 1..=3 {
            let path = dir.path().join(node.to_string()).join("node.json");
            let json: Value =
                serde_json::from_slice(&std::fs::read(path).expect("written")).expect("JSON");
            assert_eq!(json["cluster_id"], announced["cluster_id"]);
            assert_eq!(json["voters"].as_array().map(Vec::len), Some(3));
        }
        let found = (announced["cluster_id"].clone(), addresses.clone());
        assert_eq!(*first_cluster.get_or_insert_with(|| found.clone()), found);
        signal("-TERM", &dev.0.id());
        let (code, logged) = dev.ended();
        assert_eq!(code, Some(0), "{logged}");
        for node in 1..=3 {
            let line = logged
                .lines()
                .find(|line| line.starts_with(&format!("[{node}] ")) && line.ends_with("stopped"));
            assert!(line.is_some(), "broker {node} stopped in order: {logged}");
        }
        addresses.iter().for_each(|address| wait_until_closed(address));
    }
}

#[test]
fn brokers_of_dev_do_not_outlive_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = dev(&["--nodes", "2"], dir.path());
    let announced = dev.announced();
    dev.0.kill().expect("it runs");
    addresses(&announced).iter().for_each(|address| wait_until_closed(address));
}

#[test]
fn a_broker_that_ends_by_itself_ends_all_of_dev() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut killed = dev(&["--nodes", "2"], dir.path());
    let announced = killed.announced();
    signal("-KILL", &announced["brokers"][1]["pid"]);
    let (code, logged) = killed.ended();
    assert_eq!(code, Some(1), "{logged}");
    assert!(logged.contains("error: broker 2 ended (signal: 9"), "{logged}");
    addresses(&announced).iter().for_each(|address| wait_until_closed(address));

    let dir = tempfile::tempdir().expect("a directory");
    let mut refused = dev(&["--nodes", "2", "--set", "shards=none"], dir.path());
    let (code, logged) = refused.ended();
    assert_eq!(code, Some(1), "{logged}");
    assert!(logged.contains("'none' is no value for shards"), "{logged}");
}

#[test]
fn a_founder_says_whom_it_waits_for() {
    let dir = tempfile::tempdir().expect("a directory");
    // Nobody listens there any more; should somebody else begin to, it is still no broker.
    let absent = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let absent = absent.expect("loopback").to_string();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    command.args(["--node-listen", "127.0.0.1:0", "--node-advertise", "here.example:9192"]);
    command.args(["--seeds", &format!("here.example:9192,{absent}")]);
    command.arg("--data-dir").arg(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut waiting = Killed(command.spawn().expect("the binary starts"));
    let stderr = waiting.0.stderr.take().expect("stderr is piped");
    let told = BufReader::new(stderr)
        .lines()
        .map(|line| line.expect("text"))
        .find(|line| line.contains("waiting for the other brokers"));
    assert!(told.is_some_and(|told| told.contains(&absent)));
}
