//! `thalweg cluster …` against a cluster of processes, as an operator uses it: looking while a
//! broker is down, moving partitions and leaders, replacing a broker under load, and the script
//! that restarts all of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use thalweg_tests::cluster::Cluster;
use thalweg_tests::cluster_load::ClusterLoad;
use thalweg_tests::topic::{batch, create, create_replicated, produce, read_all};
use thalweg_tests::wait::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/rolling-restart.sh");
const TOPIC: &str = "kept";
const SETTINGS: [(&str, &str); 2] = [("shards", "1"), ("broker.session.timeout.ms", "1500")];

fn brokers(cluster: &Cluster) -> String {
    let addresses: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    addresses.join(",")
}

fn run(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).args(["-o", "json"]).env("THALWEG_BROKERS", brokers(cluster));
    command.stdin(Stdio::null()).output().expect("the binary runs")
}

fn parsed(args: &[&str], output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// What a command that must succeed prints.
fn ok(cluster: &Cluster, args: &[&str]) -> Value {
    let output = run(cluster, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    parsed(args, &output)
}

/// What a command that must fail complains of.
fn fails(cluster: &Cluster, args: &[&str]) -> String {
    let output = run(cluster, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    said
}

/// The cluster as `health` sees it; the exit code says the same.
fn health(cluster: &Cluster) -> Value {
    let args = ["cluster", "health"];
    let output = run(cluster, &args);
    let health = parsed(&args, &output);
    let code = if health["healthy"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{health}");
    health
}

/// A column of what `cluster brokers` lists, by broker.
fn column(cluster: &Cluster, name: &str) -> Vec<(i64, Value)> {
    let listed = ok(cluster, &["cluster", "brokers"]);
    let rows = listed.as_array().expect("a list").iter();
    rows.map(|row| (row["id"].as_i64().expect("an id"), row[name].clone())).collect()
}

fn wait_fenced(cluster: &Cluster, node: i32, fenced: bool) {
    eventually("the cluster has noticed", || {
        let seen = column(cluster, "fenced");
        seen.contains(&(node.into(), json!(fenced))).then_some(())
    });
}

fn wait_healthy(cluster: &Cluster) {
    eventually("the cluster is healthy", || (health(cluster)["healthy"] == true).then_some(()));
}

#[test]
fn who_is_down_is_shown_until_it_is_back() {
    let mut cluster = Cluster::start(BINARY, 3, &SETTINGS);
    create_replicated(&mut cluster.wire(2), TOPIC, 2, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    wait_healthy(&cluster);
    assert_eq!(ok(&cluster, &["cluster", "partitions", "--unhealthy"]), json!([]));

    cluster.kill(3);
    wait_fenced(&cluster, 3, true);
    // Its leaderships are elsewhere when the others have missed it.
    let ill = eventually("there are leaders", || {
        let health = health(&cluster);
        (health["without_leader"] == json!([])).then_some(health)
    });
    assert_eq!(ill["brokers_fenced"], json!([3]));
    assert_eq!(ill["brokers_alive"], json!([1, 2]));
    assert_eq!(ill["under_replicated"], json!(["kept:0", "kept:1"]));
    let listed = ok(&cluster, &["cluster", "partitions", "--unhealthy", "--topic", TOPIC]);
    for partition in listed.as_array().expect("a list") {
        assert_eq!(partition["offline"], json!([3]), "{partition}");
        let in_sync = partition["in_sync"].as_array().expect("a list");
        assert!(in_sync.len() == 2 && !in_sync.contains(&json!(3)), "{partition}");
        assert_ne!(partition["leader"], json!(3), "{partition}");
    }
    assert_eq!(listed.as_array().map(Vec::len), Some(2));

    cluster.restart(3);
    wait_fenced(&cluster, 3, false);
    wait_healthy(&cluster);
}

#[test]
fn partitions_and_leaders_go_where_they_are_sent() {
    let cluster = Cluster::start(BINARY, 3, &SETTINGS);
    create_replicated(&mut cluster.wire(2), TOPIC, 1, 3, &[]);
    create(&mut cluster.wire(1), "moved", 1, &[]);
    cluster.wait_in_sync(TOPIC);

    let leader = cluster.leaders(TOPIC)[0];
    let next = (leader % 3 + 1).to_string();
    let done = ok(&cluster, &["cluster", "transfer-leader", "kept:0", "--to", &next]);
    assert_eq!(done, json!({ "partition": "kept:0", "leader": leader % 3 + 1, "changed": true }));
    assert_eq!(cluster.leaders(TOPIC), [leader % 3 + 1]);
    // It stays there: it is the preferred leader now.
    let listed = ok(&cluster, &["cluster", "partitions", "--topic", TOPIC]);
    assert_eq!(listed[0]["replicas"][0], json!(leader % 3 + 1));
    let again = ok(&cluster, &["cluster", "transfer-leader", "kept:0", "--to", &next]);
    assert_eq!(again["changed"], false);

    let from = cluster.leaders("moved")[0];
    let values: Vec<String> = (0..100).map(|n| format!("record {n}")).collect();
    let produced = produce(&mut cluster.wire(from), "moved", 0, batch(&values)).expect("answered");
    assert_eq!(produced.error_code, 0);
    let to = from % 3 + 1;
    let refused =
        fails(&cluster, &["cluster", "transfer-leader", "moved:0", "--to", &to.to_string()]);
    assert!(refused.contains("thalweg cluster move moved:0"), "{refused}");
    let moved = ok(&cluster, &["cluster", "move", "moved:0", "--to", &to.to_string()]);
    let expected = json!({ "topic": "moved", "partition": 0, "from": [from], "to": [to] });
    assert_eq!(moved, json!({ "moves": [expected], "waited": true }));
    // It has arrived when the command ends.
    let listed = ok(&cluster, &["cluster", "partitions", "--topic", "moved"]);
    assert_eq!((&listed[0]["replicas"], &listed[0]["moving"]), (&json!([to]), &json!(false)));
    assert_eq!(cluster.leaders("moved"), [to]);
    assert_eq!(read_all(&mut cluster.wire(to), "moved", 0, 0), values);
    eventually("the old copy is gone", || (!has_copies(cluster.data_dir(from), 1)).then_some(()));
}

/// Whether a broker's disk has replicas of more partitions than so many.
fn has_copies(data_dir: &Path, but: usize) -> bool {
    let topics = std::fs::read_dir(data_dir.join("topics")).expect("a data directory");
    let partitions = topics.flat_map(|topic| {
        let path = topic.expect("a topic").path();
        // A topic that is just being removed may go meanwhile.
        std::fs::read_dir(path).into_iter().flatten()
    });
    partitions.count() > but
}

fn spread(cluster: &Cluster, name: &str) -> i64 {
    let counts = column(cluster, name);
    let counts = counts.iter().map(|(_, count)| count.as_i64().expect("a count"));
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
}

#[test]
fn a_broker_is_replaced_under_load() {
    let mut cluster = Cluster::start(BINARY, 3, &SETTINGS);
    create_replicated(&mut cluster.wire(2), TOPIC, 4, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 4);
    let refused = fails(&cluster, &["cluster", "drain", "2"]);
    assert!(refused.contains("only 2 other brokers"), "{refused}");

    cluster.join(cluster.site(4));
    let refused = fails(&cluster, &["cluster", "remove", "2"]);
    assert!(refused.contains("thalweg cluster drain 2"), "{refused}");
    let drained = ok(&cluster, &["cluster", "drain", "2"]);
    assert_eq!(drained, json!({ "node": 2, "drained": true, "moved": 4 }));
    // It is empty when the command ends, and stays so.
    assert_eq!(ok(&cluster, &["cluster", "partitions", "--node", "2"]), json!([]));
    assert_eq!(health(&cluster)["brokers_drained"], json!([2]));
    cluster.wait_in_sync(TOPIC);
    create_replicated(&mut cluster.wire(1), "later", 2, 3, &[]);
    assert_eq!(ok(&cluster, &["cluster", "partitions", "--node", "2"]), json!([]));
    eventually("its disk is empty too", || (!has_copies(cluster.data_dir(2), 0)).then_some(()));
    load.go_on_for(50);

    let refused = fails(&cluster, &["cluster", "remove", "2"]);
    assert!(refused.contains("broker 2 is running"), "{refused}");
    let (status, said) = cluster.terminate(2);
    assert!(status.success(), "{status}: {said}");
    wait_fenced(&cluster, 2, true);
    assert_eq!(ok(&cluster, &["cluster", "remove", "2", "--yes"]), json!({ "removed": 2 }));
    eventually("nobody knows it any more", || {
        let known: Vec<i64> = column(&cluster, "id").into_iter().map(|(id, _)| id).collect();
        (known == [1, 3, 4]).then_some(())
    });
    wait_healthy(&cluster);

    // A broker that is new has nothing until it is given something.
    cluster.join(cluster.site(5));
    let shown = ok(&cluster, &["cluster", "balance"]);
    assert!(shown["executed"] == false && shown["moves"] != json!([]), "{shown}");
    assert!(spread(&cluster, "replicas") > 1, "it is only shown");
    let done = ok(&cluster, &["cluster", "balance", "--execute"]);
    assert_eq!(done["executed"], true);
    assert!(spread(&cluster, "replicas") <= 1 && spread(&cluster, "preferred_leaders") <= 1);
    assert_eq!(ok(&cluster, &["cluster", "balance"])["moves"], json!([]), "once is enough");
    eventually("those lead that should", || {
        (health(&cluster)["not_led_by_preferred"] == json!([])).then_some(())
    });
    load.go_on_for(50);
    load.finish();
}

/// Runs the script of the operations guide with a command that asks this test to restart a broker.
fn rolling_restart(cluster: &Cluster, service: &TcpListener, limit: &str) -> Option<Child> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return None;
    }
    let port = service.local_addr().expect("it listens").port();
    let restart = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo {{}} >&3; read -r <&3");
    let mut command = Command::new("bash");
    command.args([SCRIPT, &restart, "1", "2", "3"]);
    command.env("BROKERS", brokers(cluster)).env("THALWEG", BINARY).env("LIMIT", limit);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command.spawn().expect("there is a bash"))
}

#[test]
fn the_script_restarts_all_brokers_one_by_one_under_load() {
    let mut cluster = Cluster::start(BINARY, 3, &SETTINGS);
    create_replicated(&mut cluster.wire(2), TOPIC, 3, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    let service = TcpListener::bind("127.0.0.1:0").expect("loopback");
    service.set_nonblocking(true).expect("a socket");
    let Some(mut script) = rolling_restart(&cluster, &service, "30") else { return };
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 3);
    for expected in 1..=3 {
        let asked = eventually("the script restarts the next broker", || {
            if let Some(status) = script.try_wait().expect("a child") {
                panic!("it has ended: {status}");
            }
            service.accept().ok()
        });
        let mut connection = asked.0;
        connection.set_nonblocking(false).expect("a socket");
        let mut line = String::new();
        BufReader::new(&connection).read_line(&mut line).expect("a line");
        let node: i32 = line.trim().parse().expect("a broker's id");
        assert_eq!(node, expected);
        let others = cluster.nodes().all(|node| cluster.is_running(node));
        assert!(others && health(&cluster)["under_replicated"] == json!([]), "too early");
        let (status, said) = cluster.terminate(node);
        assert!(status.success(), "{status}: {said}");
        load.go_on_for(20);
        cluster.restart(node);
        connection.write_all(b"done\n").expect("it waits");
    }
    let ended = script.wait_with_output().expect("a child");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(health(&cluster)["under_replicated"], json!([]), "it waits for the last one");
    load.go_on_for(20);
    load.finish();
}

#[test]
fn the_script_restarts_nobody_while_a_replica_is_missing() {
    let mut cluster = Cluster::start(BINARY, 3, &SETTINGS);
    create_replicated(&mut cluster.wire(2), TOPIC, 1, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    cluster.kill(2);
    wait_fenced(&cluster, 2, true);
    let service = TcpListener::bind("127.0.0.1:0").expect("loopback");
    service.set_nonblocking(true).expect("a socket");
    let Some(script) = rolling_restart(&cluster, &service, "1") else { return };
    let ended = script.wait_with_output().expect("a child");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("not whole after 1 s"), "{said}");
    assert!(service.accept().is_err(), "nobody is restarted");
}
