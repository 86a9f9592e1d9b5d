//! Three broker processes: what clients notice of a broker that is killed, stopped, paused, away
//! for long, new, or no member at all.

use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_client::admin::{
    Admin, ConfigChange, ConfigResource, ElectionType, NewPartitions, ResourceType,
};
use thalweg_client::consumer::OffsetReset;
use thalweg_client::{Client, Record, TopicPartition};
use thalweg_protocol::NodeId;
use thalweg_protocol::messages::ApiVersionsRequest;
use thalweg_tests::cluster::Cluster;
use thalweg_tests::cluster_load::{ClusterLoad, whole_log};
use thalweg_tests::process::StartingBroker;
use thalweg_tests::topic::{EARLIEST, create_replicated, offset_at};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";

fn three(topic_configs: &[(&str, &str)], partitions: i32) -> Cluster {
    let cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    create_replicated(&mut cluster.wire(2), TOPIC, partitions, 3, topic_configs);
    cluster.wait_in_sync(TOPIC);
    cluster
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn client(cluster: &Cluster) -> Client {
    let brokers: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    Client::connect(&brokers.join(",")).await.expect("one of the brokers answers")
}

async fn admin(cluster: &Cluster) -> Admin {
    client(cluster).await.admin()
}

/// Makes `node` the preferred leader of all partitions, and then their leader.
fn lead(cluster: &Cluster, partitions: i32, nodes: [i32; 3]) {
    let partitions: Vec<_> = (0..partitions).map(|it| TopicPartition::new(TOPIC, it)).collect();
    run(async {
        let admin = admin(cluster).await;
        let nodes = nodes.map(NodeId).to_vec();
        let changes: Vec<_> =
            partitions.iter().map(|it| (it.clone(), Some(nodes.clone()))).collect();
        for outcome in admin.alter_partition_reassignments(&changes).await.unwrap() {
            outcome.unwrap();
        }
    });
    eventually("the preferred broker leads", || {
        let admin = run(admin(cluster));
        // The new order may not have come to the leader yet, or the leader changes just now.
        let _ = run(admin.elect_leaders(ElectionType::Preferred, Some(&partitions)));
        cluster.leaders(TOPIC).iter().all(|leader| *leader == nodes[0]).then_some(())
    });
}

#[test]
fn killing_each_leader_in_turn_loses_and_doubles_nothing() {
    let mut cluster = three(&[], 2);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 2);
    load.go_on_for(100);
    for _ in 0..3 {
        let leader = cluster.leaders(TOPIC)[0];
        cluster.kill(leader);
        load.go_on_for(100);
        cluster.restart(leader);
        cluster.wait_in_sync(TOPIC);
    }
    load.finish();
}

#[test]
fn restarting_one_broker_after_the_other_loses_nothing() {
    let mut cluster = three(&[], 3);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 3);
    for node in 1..=3 {
        load.go_on_for(50);
        let (status, said) = cluster.terminate(node);
        assert!(status.success(), "{status}: {said}");
        cluster.restart(node);
        cluster.wait_in_sync(TOPIC);
    }
    load.go_on_for(50);
    load.finish();
}

#[test]
fn killing_all_at_once_loses_nothing() {
    let mut cluster = three(&[], 2);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 2);
    for _ in 0..2 {
        load.go_on_for(100);
        cluster.kill_all();
        cluster.start_all();
    }
    load.go_on_for(100);
    load.finish();
}

#[test]
fn a_paused_leader_is_replaced_and_comes_back_as_a_follower() {
    let cluster = three(&[], 1);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 1);
    for _ in 0..2 {
        let leader = cluster.leaders(TOPIC)[0];
        cluster.pause(leader);
        load.go_on_for(100);
        cluster.resume(leader);
        cluster.wait_in_sync(TOPIC);
    }
    load.finish();
}

#[test]
fn offsets_go_with_their_topic_even_if_everybody_is_killed_at_that_moment() {
    const GONE: &str = "gone";
    let groups: Vec<String> = (0..40).map(|number| format!("readers-{number}")).collect();
    let mut cluster = three(&[], 1);
    create_replicated(&mut cluster.wire(2), GONE, 1, 3, &[]);
    run(async {
        let admin = admin(&cluster).await;
        let offsets = [TOPIC, GONE].map(|topic| (TopicPartition::new(topic, 0), 0.into()));
        for group in &groups {
            let committed = admin.alter_group_offsets(group, &offsets).await.expect("answered");
            committed.into_iter().for_each(|(_, outcome)| outcome.expect("committed"));
        }
        for outcome in admin.delete_topics(&[GONE]).await.expect("answered") {
            outcome.expect("deleted");
        }
    });
    cluster.kill_all();
    cluster.start_all();
    cluster.wait_in_sync(TOPIC);
    let topics_of = |group: &str| {
        let offsets = run(async { admin(&cluster).await.list_group_offsets(group, None).await });
        let offsets = offsets.ok()?.into_iter();
        Some(offsets.map(|(partition, _)| partition.topic.to_string()).collect::<Vec<_>>())
    };
    for group in &groups {
        eventually("only the offset in the topic that is there stays", || {
            (topics_of(group)? == [TOPIC]).then_some(())
        });
    }
}

#[test]
fn brokers_need_not_have_equally_many_shards() {
    let mut cluster = Cluster::planned(BINARY, &[]);
    for node in 1..=3_u8 {
        let mut site = cluster.site(node);
        site.settings.push(("shards".to_owned(), node.to_string()));
        cluster.plan(site);
    }
    cluster.start_all();
    create_replicated(&mut cluster.wire(1), TOPIC, 4, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 4);
    load.go_on_for(50);
    for node in [3, 1] {
        cluster.kill(node);
        load.go_on_for(50);
        cluster.set(node, "shards", "2");
        cluster.restart(node);
        cluster.wait_in_sync(TOPIC);
    }
    load.finish();
}

#[test]
fn a_broker_that_was_away_for_too_long_begins_anew() {
    let configs = [
        ("internal.segment.bytes", "4096"),
        ("retention.bytes", "8192"),
        ("file.delete.delay.ms", "0"),
    ];
    let settings = [("shards", "1"), ("log.retention.check.interval.ms", "100")];
    let mut cluster = Cluster::start(BINARY, 3, &settings);
    create_replicated(&mut cluster.wire(2), TOPIC, 1, 3, &configs);
    cluster.wait_in_sync(TOPIC);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 1);
    load.go_on_for(20);
    let away = cluster.leaders(TOPIC)[0];
    cluster.kill(away);
    load.go_on_for(100);
    let end = i64::try_from(load.acknowledged()[0]).unwrap();
    eventually("retention has deleted what the broker has", || {
        let leader = cluster.leaders(TOPIC)[0];
        (offset_at(&mut cluster.wire(leader), TOPIC, 0, EARLIEST) > end).then_some(())
    });
    cluster.restart(away);
    cluster.wait_in_sync(TOPIC);
    let others: Vec<i32> = cluster.nodes().filter(|node| *node != away).collect();
    lead(&cluster, 1, [away, others[0], others[1]]);
    load.go_on_for(100);
    load.finish();
}

#[test]
fn a_new_broker_takes_over_a_partition() {
    let mut cluster = three(&[("internal.segment.bytes", "16384")], 1);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 1);
    load.go_on_for(200);
    cluster.join(cluster.site(4));
    let gone = cluster.leaders(TOPIC)[0];
    let mut replicas: Vec<i32> = (1..=3).filter(|node| *node != gone).collect();
    replicas.insert(0, 4);
    let partition = TopicPartition::new(TOPIC, 0);
    let change = (partition, Some(replicas.iter().copied().map(NodeId).collect()));
    let outcomes = run(async {
        admin(&cluster).await.alter_partition_reassignments(&[change]).await.unwrap()
    });
    outcomes.into_iter().for_each(Result::unwrap);
    eventually("the partition has moved", || {
        let leader = cluster.leaders(TOPIC)[0];
        let partitions = thalweg_tests::cluster::describe(&mut cluster.wire(leader), TOPIC)?;
        let moving = run(async { admin(&cluster).await.list_partition_reassignments(None).await });
        (partitions[0].replica_nodes == replicas && moving.unwrap().is_empty()).then_some(())
    });
    eventually("the copy that is not wanted any more is removed", || {
        let topics = cluster.data_dir(gone).join("topics");
        let dirs = std::fs::read_dir(topics).unwrap();
        let copies = dirs.filter(|topic| topic.as_ref().unwrap().path().join("0").exists());
        (copies.count() == 0).then_some(())
    });
    // What the new broker has counts: with it, one of the others may be missing.
    cluster.kill(replicas[1]);
    load.go_on_for(100);
    cluster.restart(replicas[1]);
    load.finish();
}

#[test]
fn our_client_and_its_group_go_on_when_a_broker_is_killed() {
    const RECORDS: u64 = 3_000;
    let mut cluster = three(&[], 3);
    let brokers: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let produced = Arc::new(AtomicU64::new(0));
    let (to, counted) = (brokers.join(","), Arc::clone(&produced));
    let producer = std::thread::spawn(move || {
        run(async {
            let client = Client::connect(&to).await.unwrap();
            let producer = client.producer().build();
            for chunk in 0..RECORDS / 100 {
                let mut waiting = Vec::new();
                for number in chunk * 100..(chunk + 1) * 100 {
                    let record = Record::to(TOPIC).partition((number % 3) as i32);
                    let value = number.to_string();
                    waiting.push(producer.enqueue(record.value(&value)).await.unwrap());
                }
                for acknowledged in waiting {
                    acknowledged.await.unwrap();
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
            producer.close().await;
        });
    });
    let to = brokers.join(",");
    let consumed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&consumed);
    let consumer = std::thread::spawn(move || {
        run(async {
            let client = Client::connect(&to).await.unwrap();
            let mut consumer = client
                .consumer()
                .group("readers")
                .subscribe([TOPIC])
                .auto_offset_reset(OffsetReset::Earliest)
                .build();
            let mut seen = std::collections::BTreeSet::new();
            while (seen.len() as u64) < RECORDS {
                let record = consumer.next().await.unwrap();
                let value = String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap();
                seen.insert(value.parse::<u64>().unwrap());
                counted.store(seen.len() as u64, Ordering::SeqCst);
            }
            consumer.close().await.unwrap();
        });
    });
    for (round, node) in (1..).zip([1, 2, 3]) {
        eventually("records are consumed", || {
            (consumed.load(Ordering::SeqCst) >= round * RECORDS / 6).then_some(())
        });
        cluster.kill(node);
        cluster.restart(node);
        cluster.wait_in_sync(TOPIC);
    }
    producer.join().unwrap();
    consumer.join().unwrap();
    let mut all: Vec<u64> = Vec::new();
    for partition in 0..3 {
        let (_, log) = whole_log(&cluster.addresses(), TOPIC, partition);
        assert!(log.is_sorted(), "{TOPIC}-{partition} keeps the producer's order");
        all.extend(log);
    }
    all.sort_unstable();
    assert_eq!(all, (0..RECORDS).collect::<Vec<_>>(), "every record once");
}

#[test]
fn librdkafka_produces_on_when_the_leader_is_killed() {
    const RECORDS: u64 = 20_000;
    let mut cluster = three(&[], 1);
    let brokers: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let kcat = Command::new("kcat")
        .args(["-P", "-b", &brokers.join(","), "-t", TOPIC, "-p", "0"])
        .args(["-X", "enable.idempotence=true", "-X", "linger.ms=1"])
        .args(["-X", "batch.num.messages=50"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut kcat) = kcat else {
        eprintln!("skipped: there is no kcat");
        return;
    };
    let mut stdin = kcat.stdin.take().unwrap();
    let leader = cluster.leaders(TOPIC)[0];
    for number in 0..RECORDS {
        if number == RECORDS / 2 {
            stdin.flush().unwrap();
            eventually("kcat produces", || {
                let end = offset_at(&mut cluster.wire(leader), TOPIC, 0, -1);
                (end > 100).then_some(())
            });
            cluster.kill(leader);
        }
        writeln!(stdin, "{number}").unwrap();
    }
    drop(stdin);
    let ended = kcat.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let (start, log) = whole_log(&cluster.addresses(), TOPIC, 0);
    assert_eq!((start, log), (0, (0..RECORDS).collect::<Vec<_>>()));
    let kcat = Command::new("kcat")
        .args(["-C", "-q", "-e", "-b", &brokers.join(","), "-t", TOPIC, "-p", "0"])
        .args(["-o", "beginning"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&kcat.stdout).lines().count() as u64, RECORDS);
}

#[test]
fn strangers_are_refused_and_harm_nobody() {
    let mut cluster = three(&[], 1);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 1);

    // A Kafka client on the port for brokers.
    let mut wire = Wire::connect(cluster.node_address(1)).unwrap();
    let request = ApiVersionsRequest {
        client_software_name: "lost".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    wire.send(&request, 3).unwrap();
    wire.expect_close();

    // A broker that is sent to the port for clients.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut site = cluster.site(9);
    site.data_dir = elsewhere.path().join("9");
    let lost = cluster.command_at(&site, &["--join", &cluster.address(1).to_string()]);
    let lost = StartingBroker::spawn(lost);
    eventually("it says what is wrong", || {
        lost.stderr().contains(&cluster.address(1).to_string()).then_some(())
    });
    drop(lost);

    // A new broker with the id of another.
    let mut site = cluster.site(9);
    site.node = 2;
    site.data_dir = elsewhere.path().join("2");
    let twin = cluster.command_at(&site, &["--join", &cluster.node_address(1).to_string()]);
    let said = StartingBroker::spawn(twin).wait().map(|_| ()).unwrap_err();
    assert!(said.contains("the data directory of node 2 was replaced"), "{said}");

    // The data of another cluster under the address of a member.
    let mut other = Cluster::start(BINARY, 3, &[("shards", "1")]);
    other.kill_all();
    cluster.kill(3);
    let mut site = cluster.site(3);
    site.data_dir = other.data_dir(3).to_owned();
    let stranger = cluster.command_at(&site, &["--join", &cluster.node_address(1).to_string()]);
    let stranger = StartingBroker::spawn(stranger);
    eventually("the members notice", || {
        cluster.process(1).stderr().contains("belongs to cluster").then_some(())
    });
    load.go_on_for(300);
    drop(stranger);
    let said = cluster.process(1).stderr();
    let once = |what: &str| assert_eq!(said.matches(what).count(), 1, "{what}: {said}");
    once("belongs to cluster");
    once("what connected to the node port is no broker");
    once("what came by a connection to the clients' port cannot be served");
    cluster.restart(3);
    cluster.wait_in_sync(TOPIC);
    load.go_on_for(100);
    load.finish();
}

/// The index of the first entry that a broker's copy of the controller's log has.
fn first_of_controller_log(cluster: &Cluster, node: i32) -> u64 {
    let files = std::fs::read_dir(cluster.data_dir(node).join("controller")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let first = |name: String| name.strip_suffix(".log")?.rsplit_once('-')?.1.parse().ok();
    names.filter_map(first).min().expect("a segment")
}

/// The controllers have let go of how the image came about: whoever missed it gets the image.
#[test]
fn who_missed_what_the_controllers_forgot_is_sent_the_image() {
    let forgetful = [("shards", "1"), ("metadata.log.max.record.bytes.between.snapshots", "4096")];
    let mut cluster = Cluster::start(BINARY, 3, &forgetful);
    create_replicated(&mut cluster.wire(2), TOPIC, 1, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    cluster.kill(3);
    run(async {
        let admin = admin(&cluster).await;
        let topic = ConfigResource { kind: ResourceType::Topic, name: TOPIC.into() };
        for n in 0..100 {
            let change = ConfigChange::Set("retention.ms".into(), (3_600_000 + n).to_string());
            let changes = [(topic.clone(), vec![change])];
            let outcomes = admin.alter_configs(&changes, false).await.unwrap();
            outcomes.into_iter().for_each(Result::unwrap);
        }
        let grown = NewPartitions { topic: TOPIC.into(), count: 3, assignment: None };
        let outcomes = admin.create_partitions(&[grown], false).await.unwrap();
        outcomes.into_iter().for_each(Result::unwrap);
    });
    eventually("the log is cut", || (first_of_controller_log(&cluster, 1) > 50).then_some(()));
    let seen = |cluster: &Cluster, node: i32| {
        let what = format!("broker {node} has the image");
        eventually(&what, || {
            let partitions = thalweg_tests::cluster::describe(&mut cluster.wire(node), TOPIC)?;
            (partitions.len() == 3).then_some(())
        });
        assert!(first_of_controller_log(cluster, node) > 50, "broker {node} began anew");
    };
    cluster.restart(3);
    seen(&cluster, 3);
    cluster.join(cluster.site(4));
    seen(&cluster, 4);

    // What they got is theirs: it survives, and two of three controllers are enough again.
    cluster.kill_all();
    cluster.start_all();
    (1..=4).for_each(|node| seen(&cluster, node));
    cluster.wait_in_sync(TOPIC);
    cluster.kill(1);
    let load = ClusterLoad::start(&cluster.addresses(), TOPIC, 1);
    load.go_on_for(100);
    create_replicated(&mut cluster.wire(3), "another", 1, 3, &[]);
    load.finish();
}
