//! Topics are created while brokers are killed: what was acknowledged is whole, what was refused is
//! not there, and of the rest all brokers know the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thalweg_protocol::messages::create_topics::CreatableTopic;
use thalweg_protocol::messages::metadata::MetadataResponseTopic;
use thalweg_protocol::messages::{CreateTopicsRequest, MetadataRequest};
use thalweg_protocol::{ErrorCode, KafkaStr};
use thalweg_tests::cluster::Cluster;
use thalweg_tests::leader::{Leader, connect};
use thalweg_tests::topic::{batch, produce};
use thalweg_tests::wait::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const PARTITIONS: i32 = 2;
/// The last version in which topics go by name and nothing else is needed.
const METADATA: i16 = 9;

/// What became of a topic, as far as its creator was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Created,
    Refused,
    /// The answer was lost, or says that nobody knows.
    Nothing,
}

/// Creates topics one after the other, each by another broker, until told to stop.
struct Creator {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    thread: JoinHandle<BTreeMap<String, Told>>,
}

impl Creator {
    fn start(brokers: Vec<SocketAddr>) -> Creator {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::<AtomicUsize>::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            let mut told = BTreeMap::new();
            for (n, broker) in brokers.iter().cycle().enumerate() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let name = format!("topic-{n}");
                let outcome = create(*broker, &name);
                if outcome == Told::Created {
                    counted.fetch_add(1, Ordering::SeqCst);
                } else {
                    // Whoever is down is not asked a thousand times.
                    std::thread::sleep(Duration::from_millis(10));
                }
                told.insert(name, outcome);
            }
            told
        });
        Creator { stop, acknowledged, thread }
    }

    fn go_on_for(&self, more: usize) {
        let goal = self.acknowledged.load(Ordering::SeqCst) + more;
        eventually("topics are created", || {
            assert!(!self.thread.is_finished(), "the creator has failed");
            (self.acknowledged.load(Ordering::SeqCst) >= goal).then_some(())
        });
    }

    fn finish(self) -> BTreeMap<String, Told> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the creator does not panic")
    }
}

fn create(broker: SocketAddr, name: &str) -> Told {
    // Nothing was sent, so nothing can have come of it.
    let Ok(mut wire) = connect(broker) else { return Told::Refused };
    let topic = CreatableTopic {
        name: KafkaStr::copied_from(name),
        num_partitions: PARTITIONS,
        replication_factor: 3,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 3_000, ..Default::default() };
    let Ok(response) = wire.call(&request, 7) else { return Told::Nothing };
    match ErrorCode::from(response.topics[0].error_code) {
        ErrorCode::None => Told::Created,
        // One of the brokers has been away for so long that it is not counted on.
        ErrorCode::InvalidReplicationFactor => Told::Refused,
        ErrorCode::RequestTimedOut | ErrorCode::NotController => Told::Nothing,
        code => panic!("{name}: {code:?}: {:?}", response.topics[0].error_message),
    }
}

fn topics(cluster: &Cluster, node: i32) -> BTreeMap<String, MetadataResponseTopic> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let response = cluster.wire(node).call(&request, METADATA).expect("Metadata is answered");
    let named = |topic: MetadataResponseTopic| (topic.name.clone().unwrap().to_string(), topic);
    response.topics.into_iter().map(named).collect()
}

/// Whether a partition of every replica is led, by the same broker wherever it is asked for.
fn is_whole(topic: &MetadataResponseTopic) -> bool {
    let partitions = &topic.partitions;
    i32::try_from(partitions.len()) == Ok(PARTITIONS)
        && partitions.iter().all(|it| it.leader_id > 0 && it.replica_nodes.len() == 3)
}

#[test]
fn topics_survive_kills_while_they_are_created() {
    let mut cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    let creator = Creator::start(cluster.addresses());
    for node in [1, 2, 3] {
        creator.go_on_for(3);
        cluster.kill(node);
        // Two of three controllers are enough.
        creator.go_on_for(1);
        cluster.restart(node);
    }
    creator.go_on_for(3);
    cluster.kill_all();
    let told = creator.finish();
    cluster.start_all();

    let with = |wanted: Told| {
        let names = told.iter().filter(move |(_, told)| **told == wanted);
        names.map(|(name, _)| name.clone()).collect::<BTreeSet<String>>()
    };
    let there = eventually("all brokers know the same topics, and all are led", || {
        let known = [1, 2, 3].map(|node| topics(&cluster, node));
        let names = known[0].keys().cloned().collect::<BTreeSet<String>>();
        let same = known.iter().all(|known| known.keys().eq(&names));
        let whole = known.iter().flat_map(BTreeMap::values).all(is_whole);
        (same && whole).then_some(names)
    });
    let lost: Vec<_> = with(Told::Created).difference(&there).cloned().collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let refused: Vec<_> = with(Told::Refused).intersection(&there).cloned().collect();
    assert!(refused.is_empty(), "refused and there: {refused:?}");
    assert!(there.iter().all(|name| told.contains_key(name)), "{there:?}");

    for name in &there {
        for partition in 0..PARTITIONS {
            let mut leader = Leader::new(&cluster.addresses(), name, partition);
            eventually(&format!("{name}-{partition} takes a record"), || {
                let written =
                    leader.wire().and_then(|it| produce(it, name, partition, batch(&["one"])));
                match written {
                    Ok(written) if written.error_code == 0 => Some(()),
                    _ => {
                        leader.lost();
                        None
                    }
                }
            });
        }
    }
    cluster.assert_well();
}
