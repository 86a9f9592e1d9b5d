//! What operators do to a broker and read from it: metrics, a changed configuration, an impatient
//! stop.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::DeleteTopicsRequest;
use thalweg_tests::process::BrokerProcess;
use thalweg_tests::topic::{batch, create, fetch, produce};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "orders";

/// A metric's value: all of its series added up.
fn value(broker: &BrokerProcess, series: &str) -> Option<f64> {
    let page = broker.metrics();
    let of_series = page.lines().filter(|line| {
        let rest = line.strip_prefix(series);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let values = of_series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|a, b| a + b)
}

#[test]
fn metrics_count_what_clients_and_partitions_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(BINARY, dir.path(), &[]).unwrap();
    let mut wire = broker.connect();
    create(&mut wire, TOPIC, 3, &[]);
    let elections = value(&broker, "thalweg_elections_total").unwrap();
    assert!(elections >= 3.0, "three partitions lead after {elections} elections");

    let (received, sent) =
        ("thalweg_network_received_bytes_total", "thalweg_network_sent_bytes_total");
    let before = (value(&broker, received).unwrap(), value(&broker, sent).unwrap());
    let records = batch(&["x".repeat(10_000)]);
    let size = records.len() as f64;
    assert_eq!(produce(&mut wire, TOPIC, 0, records).unwrap().error_code, 0);
    assert_eq!(fetch(&mut wire, TOPIC, 0, 0).unwrap().error_code, 0);
    eventually("the answers are counted", || {
        let grown = (value(&broker, received)? - before.0, value(&broker, sent)? - before.1);
        let whole = size..size + 1_000.0;
        (whole.contains(&grown.0) && whole.contains(&grown.1)).then_some(())
    });
    eventually("the log's size is seen", || {
        value(&broker, "thalweg_topic_log_bytes").filter(|bytes| *bytes >= size)
    });

    let name = KafkaStr::copied_from(TOPIC);
    let delete =
        DeleteTopicsRequest { topic_names: vec![name], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(wire.call(&delete, 5).unwrap().responses[0].error_code, 0);
    eventually("the topic's series end", || {
        let series = format!("topic=\"{TOPIC}\"");
        (!broker.metrics().contains(&series)).then_some(())
    });
    assert!(broker.terminate().success());
}

#[test]
fn a_hangup_applies_the_changed_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("thalweg.toml");
    fs::write(&file, "[log]\nfilter = \"info\"\n").unwrap();
    let data = dir.path().join("data");
    let arguments = ["--config".as_ref(), file.as_os_str()];
    let broker = BrokerProcess::start_with(BINARY, &data, &arguments).unwrap();
    let says = |what: &str| {
        eventually(what, || broker.stderr().contains(what).then_some(()));
    };

    fs::write(&file, "[log]\nfilter = \"debug\"\n[limits]\nconnections_max = 77\n").unwrap();
    broker.signal(libc::SIGHUP);
    says("setting changed name=\"log.filter\"");
    says("setting will count after a restart name=\"limits.connections_max\"");
    // A connection that breaks off is news for nobody but who debugs.
    let mut wire = broker.connect();
    wire.send_raw(&(-1_i32).to_be_bytes()).unwrap();
    says("closing connection");

    fs::write(&file, "[log]\nfilter = \"thalweg=loud\"\n").unwrap();
    broker.signal(libc::SIGHUP);
    says("the configuration stays as it is");
    assert!(broker.terminate().success());
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(BINARY);
    command.args(["--output", "json", "serve", "--set", "log.filter=trace"]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir"]);
    command.arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(full);
    let mut broker = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(broker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let announced: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut wire = Wire::connect(announced["clients"].as_str().unwrap().parse().unwrap()).unwrap();
    create(&mut wire, TOPIC, 1, &[]);
    assert_eq!(produce(&mut wire, TOPIC, 0, batch(&["x"])).unwrap().error_code, 0);
    assert!(broker.try_wait().unwrap().is_none(), "it goes on");
    broker.kill().unwrap();
    broker.wait().unwrap();
}

#[test]
fn a_second_signal_does_not_wait_for_clients() {
    let dir = tempfile::tempdir().unwrap();
    let patient = [("limits.shutdown_drain_ms", "3600000"), ("limits.frame_stall_ms", "3600000")];
    let broker = BrokerProcess::start(BINARY, dir.path(), &patient).unwrap();
    // The broker waits for the rest of a frame that never comes.
    let mut wire = broker.connect();
    wire.send_raw(&[0, 0, 0, 100, 0]).unwrap();
    broker.signal(libc::SIGTERM);
    eventually("the broker begins to stop", || {
        broker.stderr().contains("a second signal").then_some(())
    });
    let ended = broker.terminate();
    assert_eq!(ended.signal(), None, "it ends by itself");
    assert!(!ended.success(), "a stop that did not wait says so");
}
