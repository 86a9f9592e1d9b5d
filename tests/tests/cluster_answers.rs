//! What three brokers answer in Kafka's words about where things are: replicas by hand, the replica
//! in a client's rack, leader epochs after a change of leaders, and who the controllers are.

use std::future::Future;

use thalweg_client::admin::Admin;
use thalweg_client::{Client, TopicPartition};
use thalweg_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic};
use thalweg_protocol::messages::describe_quorum::{
    PartitionData as Quorum, RequestedPartition, RequestedTopic,
};
use thalweg_protocol::messages::fetch::PartitionData;
use thalweg_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use thalweg_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use thalweg_protocol::messages::{
    CreateTopicsRequest, DescribeQuorumRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use thalweg_protocol::{ErrorCode, KafkaStr, NodeId};
use thalweg_tests::cluster::{Cluster, describe};
use thalweg_tests::topic::{
    LATEST, batch, batches, create_replicated, fetch_request, offset_at, produce,
};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";
/// The last versions in which topics go by name.
const FETCH: i16 = 12;

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn admin(cluster: &Cluster) -> Admin {
    let brokers: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let client = Client::connect(&brokers.join(",")).await;
    client.expect("one of the brokers answers").admin()
}

fn write(wire: &mut Wire, records: usize) {
    for n in 0..records {
        let produced = produce(wire, TOPIC, 0, batch(&[n.to_string()])).expect("answered");
        assert_eq!(ErrorCode::from(produced.error_code), ErrorCode::None);
    }
}

/// Partitions, and the brokers of each.
type ByHand<'a> = &'a [(i32, &'a [i32])];

fn create_by_hand(wire: &mut Wire, name: &str, assignment: ByHand<'_>) -> ErrorCode {
    let assignments = assignment.iter().map(|(partition, brokers)| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: KafkaStr::copied_from(name),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response = wire.call(&request, 7).expect("CreateTopics is answered");
    ErrorCode::from(response.topics[0].error_code)
}

#[test]
fn replicas_by_hand_are_where_they_were_put() {
    let cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    let wanted: ByHand<'_> = &[(1, &[2, 3]), (0, &[3, 1]), (2, &[1, 2])];
    assert_eq!(create_by_hand(&mut cluster.wire(2), TOPIC, wanted), ErrorCode::None);
    cluster.wait_in_sync(TOPIC);
    // The first of a new partition's replicas leads it.
    assert_eq!(cluster.leaders(TOPIC), [3, 2, 1]);
    for node in 1..=3 {
        let found = describe(&mut cluster.wire(node), TOPIC).expect("it is there");
        let replicas: Vec<_> = found.into_iter().map(|it| it.replica_nodes).collect();
        assert_eq!(replicas, [[3, 1], [2, 3], [1, 2]]);
    }
    let absurd: [(&str, ByHand<'_>); 6] = [
        ("a broker that is not there", &[(0, &[1, 9])]),
        ("a broker twice", &[(0, &[1, 1])]),
        ("no broker", &[(0, &[])]),
        ("a partition left out", &[(0, &[1]), (2, &[1])]),
        ("not equally many each", &[(0, &[1, 2]), (1, &[1])]),
        ("a partition twice", &[(0, &[1]), (0, &[2])]),
    ];
    for (what, assignment) in absurd {
        let code = create_by_hand(&mut cluster.wire(1), "refused", assignment);
        assert_eq!(code, ErrorCode::InvalidReplicaAssignment, "{what}");
        assert!(describe(&mut cluster.wire(1), "refused").is_none(), "{what}");
    }
}

/// Fetches from the beginning as a client in `rack`.
fn fetch_in(cluster: &Cluster, node: i32, rack: &str) -> PartitionData {
    let mut request = fetch_request(TOPIC, 0, 0);
    request.rack_id = KafkaStr::copied_from(rack);
    let response = cluster.wire(node).call(&request, FETCH).expect("Fetch is answered");
    let mut topics = response.responses;
    let data = topics[0].partitions.remove(0);
    assert_eq!(ErrorCode::from(data.error_code), ErrorCode::None, "rack {rack} at {node}");
    data
}

/// Waits until a leader sends clients in `rack` to `replica` (−1: serves them itself).
fn wait_preferred(cluster: &Cluster, leader: i32, rack: &str, replica: i32) {
    eventually(&format!("{leader} sends clients in {rack} to {replica}"), || {
        let data = fetch_in(cluster, leader, rack);
        let records = batches(data.clone()).len();
        assert_eq!(records == 0, data.preferred_read_replica >= 0, "either of the two");
        (data.preferred_read_replica == replica).then_some(())
    });
}

/// KIP-392.
#[test]
fn a_client_is_sent_to_the_replica_in_its_rack_while_that_one_keeps_up() {
    // Nobody is fenced here: a replica that lags is still one that lives.
    let settings = [("shards", "1"), ("broker.session.timeout.ms", "600000")];
    let mut cluster = Cluster::planned(BINARY, &settings);
    for node in 1..=3_u8 {
        let mut site = cluster.site(node);
        site.settings.push(("rack".to_owned(), format!("rack-{node}")));
        cluster.plan(site);
    }
    cluster.start_all();
    assert_eq!(create_by_hand(&mut cluster.wire(1), TOPIC, &[(0, &[1, 2])]), ErrorCode::None);
    cluster.wait_in_sync(TOPIC);
    assert_eq!(cluster.leaders(TOPIC), [1]);
    write(&mut cluster.wire(1), 10);

    wait_preferred(&cluster, 1, "rack-2", 2);
    let near = eventually("the replica knows that all is committed", || {
        let data = fetch_in(&cluster, 2, "rack-2");
        (data.high_watermark == 10).then_some(data)
    });
    assert_eq!(batches(near), batches(fetch_in(&cluster, 1, "rack-1")), "the same records");
    for rack in ["", "rack-1", "rack-3", "rack-9"] {
        let data = fetch_in(&cluster, 1, rack);
        assert_eq!((data.preferred_read_replica, batches(data).len()), (-1, 10), "rack '{rack}'");
    }

    // One that only gets its copy is no better than one that has none.
    cluster.pause(3);
    let change = (TopicPartition::new(TOPIC, 0), Some([1, 2, 3].map(NodeId).to_vec()));
    let begun = run(async {
        admin(&cluster).await.alter_partition_reassignments(&[change]).await.expect("answered")
    });
    begun.into_iter().for_each(|outcome| outcome.expect("begun"));
    eventually("it is on its way", || {
        let found = describe(&mut cluster.wire(1), TOPIC)?;
        found[0].replica_nodes.contains(&3).then_some(())
    });
    assert_eq!(fetch_in(&cluster, 1, "rack-3").preferred_read_replica, -1);
    cluster.resume(3);
    wait_preferred(&cluster, 1, "rack-3", 3);

    // One that lags would let its clients wait.
    cluster.pause(2);
    wait_preferred(&cluster, 1, "rack-2", -1);
    assert_eq!(fetch_in(&cluster, 1, "rack-3").preferred_read_replica, 3);
    cluster.resume(2);
    wait_preferred(&cluster, 1, "rack-2", 2);
}

/// What a broker says to a client that believes in an epoch: to Fetch, ListOffsets and
/// OffsetForLeaderEpoch alike.
fn code_for(wire: &mut Wire, epoch: i32) -> ErrorCode {
    let mut request = fetch_request(TOPIC, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    let fetched = wire.call(&request, FETCH).expect("Fetch is answered");
    let code = fetched.responses[0].partitions[0].error_code;

    let partition = ListOffsetsPartition {
        current_leader_epoch: epoch,
        timestamp: LATEST,
        ..Default::default()
    };
    let topic = ListOffsetsTopic {
        name: KafkaStr::copied_from(TOPIC),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let listed = wire.call(&request, 6).expect("ListOffsets is answered");
    assert_eq!(listed.topics[0].partitions[0].error_code, code, "epoch {epoch}");

    assert_eq!(epoch_end(wire, epoch, 0).0, ErrorCode::from(code), "epoch {epoch}");
    ErrorCode::from(code)
}

/// Where `epoch` ended, as a client sees it that believes in `current`.
fn epoch_end(wire: &mut Wire, current: i32, epoch: i32) -> (ErrorCode, i32, i64) {
    let partition = OffsetForLeaderPartition {
        current_leader_epoch: current,
        leader_epoch: epoch,
        ..Default::default()
    };
    let topic = OffsetForLeaderTopic {
        topic: KafkaStr::copied_from(TOPIC),
        partitions: vec![partition],
        ..Default::default()
    };
    let request =
        OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let answer = wire.call(&request, 4).expect("OffsetForLeaderEpoch is answered");
    let end = &answer.topics[0].partitions[0];
    (ErrorCode::from(end.error_code), end.leader_epoch, end.end_offset)
}

/// Leader and epoch, as soon as every running broker names the same.
fn agreed_leader(cluster: &Cluster, newer_than: i32) -> (i32, i32) {
    eventually("all brokers know the leader", || {
        let running = cluster.nodes().filter(|node| cluster.is_running(*node));
        let known = running.map(|node| {
            let partition = describe(&mut cluster.wire(node), TOPIC)?.remove(0);
            let known = (partition.leader_id, partition.leader_epoch);
            (known.0 >= 0 && known.1 > newer_than).then_some(known)
        });
        let mut known = known.collect::<Option<Vec<_>>>()?;
        known.dedup();
        (known.len() == 1).then(|| known[0])
    })
}

#[test]
fn after_a_change_of_leaders_every_broker_knows_and_old_epochs_are_fenced() {
    let mut cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    create_replicated(&mut cluster.wire(2), TOPIC, 1, 3, &[]);
    cluster.wait_in_sync(TOPIC);
    let (old, old_epoch) = agreed_leader(&cluster, -1);
    write(&mut cluster.wire(old), 10);
    assert_eq!(code_for(&mut cluster.wire(old), old_epoch), ErrorCode::None);
    assert_eq!(code_for(&mut cluster.wire(old), old_epoch + 1), ErrorCode::UnknownLeaderEpoch);

    cluster.kill(old);
    let (new, epoch) = agreed_leader(&cluster, old_epoch);
    assert_ne!(new, old);
    let wire = &mut cluster.wire(new);
    write(wire, 5);
    assert_eq!(code_for(wire, old_epoch), ErrorCode::FencedLeaderEpoch);
    assert_eq!(code_for(wire, epoch), ErrorCode::None);
    assert_eq!(code_for(wire, -1), ErrorCode::None, "whoever names none is not fenced");
    assert_eq!(code_for(wire, epoch + 1), ErrorCode::UnknownLeaderEpoch);
    // The old leader's records are all there, and the new one's follow.
    assert_eq!(epoch_end(wire, epoch, old_epoch), (ErrorCode::None, old_epoch, 10));
    assert_eq!(epoch_end(wire, epoch, epoch), (ErrorCode::None, epoch, 15));
    assert_eq!(epoch_end(wire, epoch, epoch + 1), (ErrorCode::None, -1, -1));

    // The old one learns of it, and says so to clients that have not.
    cluster.restart(old);
    assert_eq!(agreed_leader(&cluster, old_epoch), (new, epoch));
    let mut request = fetch_request(TOPIC, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    let answer = cluster.wire(old).call(&request, FETCH).expect("Fetch is answered");
    let refused = &answer.responses[0].partitions[0];
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::NotLeaderOrFollower);
    let told = (refused.current_leader.leader_id, refused.current_leader.leader_epoch);
    assert_eq!(told, (new, epoch));
    assert_eq!(offset_at(&mut cluster.wire(new), TOPIC, 0, LATEST), 15);
}

fn quorum(cluster: &Cluster, node: i32) -> (Quorum, Vec<i32>) {
    let topic = RequestedTopic {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![RequestedPartition::default()],
        ..Default::default()
    };
    let request = DescribeQuorumRequest { topics: vec![topic], ..Default::default() };
    let answer = cluster.wire(node).call(&request, 2).expect("DescribeQuorum is answered");
    assert_eq!(answer.error_code, 0);
    let quorum = answer.topics[0].partitions[0].clone();
    assert_eq!(quorum.error_code, 0);
    (quorum, answer.nodes.iter().map(|node| node.node_id).collect())
}

#[test]
fn every_broker_knows_the_controllers_and_the_active_one_how_far_they_are() {
    let mut cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    let ids = |replicas: &[thalweg_protocol::messages::describe_quorum::ReplicaState]| {
        replicas.iter().map(|replica| replica.replica_id).collect::<Vec<_>>()
    };
    // All brokers say the same of it, once they have heard.
    let agreed = |cluster: &Cluster, without: i32, observers: &[i32]| {
        eventually("all brokers know the same controllers", || {
            let running = cluster.nodes().filter(|node| cluster.is_running(*node));
            let mut leaders = Vec::new();
            for node in running {
                let (quorum, nodes) = quorum(cluster, node);
                let as_expected = ids(&quorum.current_voters) == [1, 2, 3]
                    && ids(&quorum.observers) == observers
                    && nodes == [1, 2, 3];
                if !as_expected || quorum.leader_id < 0 || quorum.leader_id == without {
                    return None;
                }
                leaders.push((quorum.leader_id, quorum.leader_epoch));
            }
            leaders.dedup();
            (leaders.len() == 1).then(|| leaders[0])
        })
    };
    let (active, epoch) = agreed(&cluster, -1, &[]);
    let (before, _) = quorum(&cluster, active);
    create_replicated(&mut cluster.wire(active), TOPIC, 1, 3, &[]);
    cluster.join(cluster.site(4));
    assert_eq!(agreed(&cluster, -1, &[4]), (active, epoch), "a fourth one only follows");
    eventually("all are seen to have everything", || {
        let (now, _) = quorum(&cluster, active);
        let all = now.current_voters.iter().chain(&now.observers);
        let everything = all.clone().all(|it| it.log_end_offset >= now.high_watermark);
        (everything && now.high_watermark > before.high_watermark).then_some(())
    });

    cluster.kill(active);
    let (next, next_epoch) = agreed(&cluster, active, &[4]);
    assert!(next != active && next_epoch > epoch, "{next} in epoch {next_epoch}");
}
