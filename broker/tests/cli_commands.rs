//! The command line as a user meets it: the binary itself against a broker that the binary runs,
//! with what it prints, how it fails and which code it ends with.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_thalweg");

/// A broker, or another command, in a process of its own, killed when the test is over.
struct Served {
    process: Child,
    address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", "-o", "json", "--listen", listen, "--admin-listen", "off"]);
    command.args(["--shards", "1", "--data-dir"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Served {
    fn start(data: &Path) -> Self {
        let mut command = serve(data, "127.0.0.1:0");
        let mut process = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout is text");
        let announced: Value =
            serde_json::from_str(&line).expect("one line of JSON when it serves");
        let address = announced["clients"].as_str().expect("an address").to_owned();
        Served { process, address }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).env("THALWEG_BROKERS", &self.address);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Stdout of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        succeeded(args, &self.run(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    fn feed(&self, args: &[&str], input: &[u8]) -> String {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child.stdin.take().expect("piped").write_all(input).expect("it reads its input");
        succeeded(args, &child.wait_with_output().expect("it ends"))
    }

    /// Code and stderr of a command that must fail.
    fn fails(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        assert!(output.stdout.is_empty(), "{args:?}: {}", text(&output.stdout));
        (output.status.code(), text(&output.stderr))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeded(args: &[&str], output: &Output) -> String {
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn data_dir() -> TempDir {
    TempDir::new().expect("a directory")
}

#[test]
fn topics_are_created_shown_changed_and_deleted() {
    let data = data_dir();
    let broker = Served::start(data.path());
    assert!(broker.ok(&["topic", "list"]).contains("There are no topics"));

    let dry = broker.json(&["topic", "create", "orders", "-p", "3", "--dry-run"]);
    assert_eq!(dry["created"], false);
    assert!(broker.ok(&["topic", "list"]).contains("There are no topics"));
    let created = broker.ok(&["topic", "create", "orders", "-p", "3", "-c", "retention.ms=60000"]);
    assert!(created.contains("created topic orders: partitions 3, replicas 1"), "{created}");
    let (code, error) = broker.fails(&["topic", "create", "orders"]);
    assert_eq!(code, Some(1), "{error}");
    broker.ok(&["topic", "create", "orders", "--if-not-exists"]);

    let listed = broker.ok(&["topic", "list"]);
    assert_eq!(listed, "TOPIC   PARTITIONS  REPLICAS\norders           3         1\n");
    broker.ok(&["topic", "add-partitions", "orders", "5"]);
    let topics = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(topics[0]["partitions"].as_array().map(Vec::len), Some(5));
    assert_eq!(topics[0]["configs"]["retention.ms"], "60000");
    let table = broker.ok(&["topic", "describe", "orders"]);
    assert!(table.contains("PARTITION  LEADER  EPOCH"), "{table}");

    broker.ok(&["topic", "alter", "orders", "--delete", "retention.ms"]);
    assert!(broker.ok(&["config", "get", "orders"]).contains("are the defaults"));
    broker.ok(&["config", "set", "orders", "max.message.bytes=2000"]);
    let settings = broker.json(&["config", "get", "orders", "max.message.bytes"]);
    assert_eq!((&settings[0]["value"], &settings[0]["source"]), (&"2000".into(), &"topic".into()));
    let (code, error) = broker.fails(&["config", "set", "orders", "no.such.setting=1"]);
    assert_eq!(code, Some(1), "{error}");

    broker.ok(&["topic", "delete", "orders"]);
    let (code, error) = broker.fails(&["topic", "describe", "orders"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("thalweg topic list"), "{error}");
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let data = data_dir();
    let broker = Served::start(data.path());
    broker.ok(&["topic", "create", "lines", "-p", "1"]);
    // Binary, long, empty and unfinished lines.
    let mut input: Vec<u8> = Vec::new();
    for number in 0..20_000_u32 {
        input.extend(number.wrapping_mul(2_654_435_761).to_be_bytes().map(|byte| byte | 0x80));
        input.extend(format!(" line {number}\n\n").bytes());
    }
    input.extend(vec![b'x'; 600_000]);
    let file = data.path().join("input");
    std::fs::write(&file, &input).expect("the file is written");
    let path = file.to_str().expect("a text path");
    for codec in ["none", "zstd"] {
        let summary = broker.json(&["produce", "lines", "--file", path, "-z", codec]);
        assert_eq!(summary["records"], 40_001);
    }
    let output = broker.run(&["consume", "lines", "--offset", "start", "-n", "40001"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == [&input[..], b"\n"].concat(), "what came back differs");
    let again = broker.run(&["consume", "lines", "--offset", "40001", "-e"]);
    assert!(again.stdout == output.stdout, "the compressed records differ");
}

#[test]
fn records_have_keys_headers_and_positions() {
    let data = data_dir();
    let broker = Served::start(data.path());
    broker.ok(&["topic", "create", "users", "-p", "1"]);
    let produce = ["produce", "users", "-k", ":", "-H", "lang=en", "--null-on-empty"];
    broker.feed(&produce, b"anna:30\nben:\n\xff:\xfe\n");
    let format =
        ["consume", "users", "--offset", "start", "-e", "-f", r"%t/%p/%o %k=%v %h %S %s\n"];
    let output = broker.run(&format);
    let expected = b"users/0/0 anna=30 lang=en 4 2\nusers/0/1 ben= lang=en 3 -1\n\
                     users/0/2 \xff=\xfe lang=en 1 1\n";
    assert_eq!(output.stdout, expected, "{}", text(&output.stderr));

    let json = broker.ok(&["consume", "users", "--offset", "-2", "-e", "--json"]);
    let records: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["key"], &records[0]["value"]), (&"ben".into(), &Value::Null));
    assert_eq!(records[1]["value"], "/g==");
    assert_eq!(records[1]["value_encoding"], "base64");
    assert_eq!(records[1]["headers"][0]["name"], "lang");
    assert_eq!(broker.ok(&["consume", "users", "--offset", "@1h", "-n", "1"]), "30\n");

    broker.ok(&["topic", "trim", "users", "--before", "2"]);
    let left = broker.run(&["consume", "users", "--offset", "start", "-e"]);
    assert_eq!(left.stdout, b"\xfe\n");
}

#[test]
fn failures_say_what_to_do_and_have_their_codes() {
    let data = data_dir();
    let broker = Served::start(data.path());
    let (code, error) = broker.fails(&["consume", "nowhere", "-e"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("nowhere") && error.contains("create it first"), "{error}");
    let (code, error) = broker.fails(&["consume", "nowhere", "--offset", "middle"]);
    assert_eq!(code, Some(2), "{error}");

    // A port that was free a moment ago and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let free = free.expect("a free port").to_string();
    let (code, error) = broker.fails(&["topic", "list", "--brokers", &free]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains(&free) && error.contains("thalweg serve"), "{error}");

    let second = serve(data.path(), "127.0.0.1:0").output().expect("the binary runs");
    let error = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("process {}", broker.process.id())), "{error}");

    let elsewhere = data_dir();
    let same_port = serve(elsewhere.path(), &broker.address).output().expect("the binary runs");
    let error = text(&same_port.stderr);
    assert_eq!(same_port.status.code(), Some(1), "{error}");
    assert!(error.contains(&broker.address) && error.contains("--listen"), "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let data = data_dir();
    let broker = Served::start(data.path());
    broker.ok(&["topic", "create", "long", "-p", "1"]);
    broker.feed(&["produce", "long"], &b"some line\n".repeat(100_000));
    let mut command = broker.command(&["consume", "long", "--offset", "start", "-e"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("a line");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(&first, b"some line\n");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn a_benchmark_counts_every_record_that_was_written_and_read() {
    let data = data_dir();
    let broker = Served::start(data.path());
    let bench = |args: &[&str]| broker.json(&[&["bench"], args].concat());

    let singly = ["--connections", "3", "--in-flight", "1", "--records", "100", "-p", "4"];
    let report = bench(&[&["produce", "measured", "--warm-up", "50ms"], &singly[..]].concat());
    assert_eq!((&report["connections"], &report["records"]), (&3.into(), &100.into()));
    let paced = ["--rate", "500", "--records", "50", "--round-robin", "--record-size", "2KiB"];
    let report = bench(&[&["produce", "measured"], &paced[..]].concat());
    assert_eq!((&report["records"], &report["bytes"]), (&50.into(), &(50 * 2048).into()));

    let held = bench(&["consume", "measured", "--connections", "4"])["records"].as_u64();
    assert!(held.is_some_and(|held| held >= 150), "{held:?}");
    let caught_up = bench(&[
        "catch-up",
        "measured",
        "--backlog",
        "100KiB",
        "--alone",
        "100ms",
        "--rate",
        "200",
    ]);
    let read = caught_up["read"]["records"].as_u64();
    assert!(read >= held.map(|held| held + 100), "{held:?} and then 100 more: {caught_up}");
    for phase in ["latency_ms_alone", "latency_ms_beside"] {
        assert!(caught_up[phase]["p99"].as_f64().is_some_and(|ms| ms > 0.0), "{caught_up}");
    }

    let (code, said) = broker.fails(&["bench", "consume", "measured", "--connections", "5"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("4 partitions"), "{said}");
}

#[test]
fn a_stopped_broker_leaves_a_log_that_verifies_and_damage_is_found() {
    let data = data_dir();
    let mut broker = Served::start(data.path());
    broker.ok(&["topic", "create", "kept", "-p", "1"]);
    let bench = ["bench", "produce", "kept", "--records", "2k", "--record-size", "100"];
    let report = broker.json(&bench);
    assert_eq!((&report["records"], &report["bytes"]), (&2000.into(), &200_000.into()));
    assert!(report["latency_ms"]["p99"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
    assert_eq!(broker.json(&["bench", "consume", "kept"])["records"], 2000);
    let info = broker.json(&["cluster", "info"]);
    assert_eq!(info["brokers"][0]["address"], broker.address.as_str());

    let pid = broker.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    assert!(broker.process.wait().expect("it ends").success(), "SIGTERM ends it cleanly");

    let dir = data.path().to_str().expect("a text path");
    let verified = broker.json(&["log", "verify", dir]);
    assert_eq!(verified["damaged"], Value::Array(Vec::new()));
    let dumped = broker.ok(&["log", "dump", dir, "-o", "json"]);
    let batch = dumped
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|frame| frame["kind"] == "batch" && frame["size"].as_u64() > Some(1000))
        .expect("a batch of the benchmark's records");

    let path = batch["path"].as_str().expect("a path");
    let mut bytes = std::fs::read(path).expect("the segment");
    let middle = (batch["position"].as_u64().zip(batch["size"].as_u64()))
        .and_then(|(position, size)| usize::try_from(position + size / 2).ok());
    bytes[middle.expect("a position")] ^= 1;
    std::fs::write(path, &bytes).expect("the damaged segment");
    let damaged = broker.run(&["log", "verify", dir]);
    assert_eq!(damaged.status.code(), Some(5), "{}", text(&damaged.stderr));
    let said = text(&damaged.stdout);
    assert!(said.contains("DAMAGED") && said.contains(path), "{said}");
}

#[test]
fn groups_are_joined_described_moved_and_deleted() {
    let data = data_dir();
    let broker = Served::start(data.path());
    assert!(broker.ok(&["group", "list"]).contains("There are no groups"));
    broker.ok(&["topic", "create", "orders", "-p", "1"]);
    broker.feed(&["produce", "orders"], b"a\nb\nc\nd\n");

    // A group goes on where it was, exactly after what was printed.
    let consume = ["consume", "orders", "--group", "billing", "--offset", "start"];
    assert_eq!(broker.ok(&[&consume[..], &["-n", "3"]].concat()), "a\nb\nc\n");
    assert_eq!(broker.ok(&[&consume[..], &["-e"]].concat()), "d\n");
    let (code, error) = broker.fails(&["consume", "orders", "--group", "billing", "--offset", "2"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("thalweg group seek billing"), "{error}");

    let listed = broker.json(&["group", "list", "--state", "empty"]);
    assert_eq!((&listed[0]["group"], &listed[0]["type"]), (&"billing".into(), &"classic".into()));
    assert!(broker.ok(&["group", "list", "--state", "stable"]).contains("no such group"));
    let lag = broker.json(&["group", "lag", "billing"]);
    assert_eq!(
        (&lag["total"], &lag["groups"][0]["partitions"][0]["committed"]),
        (&0.into(), &4.into())
    );

    let dry = broker.ok(&["group", "seek", "billing", "--to", "-3"]);
    assert!(dry.contains("--execute") && dry.contains("-3"), "{dry}");
    assert_eq!(broker.json(&["group", "lag", "billing"])["total"], 0);
    let moved = broker.json(&["group", "seek", "billing", "--to", "-3", "--execute"]);
    assert_eq!((&moved["executed"], &moved["partitions"][0]["to"]), (&true.into(), &1.into()));
    let table = broker.ok(&["group", "describe", "billing"]);
    assert!(table.starts_with("billing: Empty, classic group, 0 members"), "{table}");
    assert!(table.contains("orders          0          1    4    3"), "{table}");
    // Beyond the ends there is nothing to go on at.
    let clamped = broker.json(&["group", "seek", "billing", "--to", "1000", "--topic", "orders:0"]);
    assert_eq!(clamped["partitions"][0]["to"], 4);

    // Whoever has members is not moved, nor deleted.
    let member = broker.command(&consume).stdout(Stdio::null()).spawn().expect("the binary starts");
    let mut member = Served { process: member, address: String::new() };
    let deadline = Instant::now() + Duration::from_secs(60);
    while broker.json(&["group", "list"])[0]["state"] != "Stable" {
        assert!(Instant::now() < deadline, "the group settles");
    }
    for args in [&["seek", "billing", "--to", "start", "--execute"][..], &["delete", "billing"]] {
        let (code, error) = broker.fails(&[&["group"], args].concat());
        assert_eq!((code, error.lines().count()), (Some(1), 1), "{error}");
        assert!(error.contains("members"), "{error}");
    }
    let pid = member.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    member.process.wait().expect("it leaves and ends");

    broker.ok(&["group", "delete", "billing"]);
    for command in ["describe", "lag", "delete"] {
        let (code, error) = broker.fails(&["group", command, "billing"]);
        assert_eq!(code, Some(3), "{error}");
        assert!(error.contains("thalweg group list"), "{error}");
    }
}

#[test]
fn a_cluster_of_one_broker_says_how_it_is_and_what_cannot_move() {
    let data = data_dir();
    let broker = Served::start(data.path());
    broker.ok(&["topic", "create", "orders", "-p", "2"]);
    let health = broker.json(&["cluster", "health"]);
    assert_eq!((&health["healthy"], &health["partitions"]), (&true.into(), &2.into()));
    let brokers = broker.json(&["cluster", "brokers"]);
    assert_eq!((&brokers[0]["replicas"], &brokers[0]["leaders"]), (&2.into(), &2.into()));
    let partitions = broker.ok(&["cluster", "partitions", "--topic", "orders", "--node", "1"]);
    assert_eq!(partitions.lines().count(), 3, "{partitions}");
    assert!(broker.ok(&["cluster", "balance"]).contains("nothing to move"));

    let moved = broker.json(&["cluster", "move", "orders:0", "--to", "1"]);
    assert_eq!(moved["moves"][0]["to"], serde_json::json!([1]));
    let refusals: [(&[&str], i32, &str); 7] = [
        (&["partitions", "--node", "7"], 3, "no broker 7"),
        (&["move", "orders:9", "--to", "1"], 3, "no partition orders:9"),
        (&["move", "orders:0", "--to", "1,1"], 1, "INVALID_REPLICA_ASSIGNMENT"),
        (&["move", "orders:0", "--cancel"], 1, "NO_REASSIGNMENT_IN_PROGRESS"),
        (&["transfer-leader", "orders:0", "--to", "2"], 3, "no broker 2"),
        (&["drain", "1"], 1, "add a broker first"),
        (&["remove", "1"], 1, "thalweg cluster drain 1"),
    ];
    for (args, code, why) in refusals {
        let (exit, error) = broker.fails(&[&["cluster"], args].concat());
        assert_eq!(exit, Some(code), "{args:?}: {error}");
        assert!(error.contains(why), "{args:?}: {error}");
    }
    assert_eq!(broker.json(&["cluster", "brokers"])[0]["drained"], false, "nothing was changed");
    let led = broker.json(&["cluster", "transfer-leader", "orders:1", "--to", "1"]);
    assert_eq!(led["changed"], false);
}

#[test]
fn a_drained_broker_gets_no_new_replicas() {
    let data = data_dir();
    let broker = Served::start(data.path());
    broker.ok(&["config", "set", "--broker", "1", "broker.drained=true"]);
    assert_eq!(broker.json(&["cluster", "brokers"])[0]["drained"], true);
    let (code, error) = broker.fails(&["topic", "create", "orders"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("brokers that take replicas (0)"), "{error}");
    broker.ok(&["cluster", "drain", "1", "--undo"]);
    broker.ok(&["topic", "create", "orders"]);
    let (code, error) = broker.fails(&["config", "set", "--broker", "all", "broker.drained=true"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("by its id"), "{error}");
}
