//! Three broker processes: what clients notice of a broker that is killed, stopped, paused, away
//! for long, or new.

use thalweg_tests::cluster::Cluster;
use thalweg_tests::cluster_load::ClusterLoad;
use thalweg_tests::topic::create_replicated;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const TOPIC: &str = "kept";

#[test]
fn killing_each_leader_in_turn_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(BINARY, 3, &[("shards", "1")]);
    create_replicated(&mut cluster.wire(1), TOPIC, 2, 3, &[]);
    cluster.wait_in_sync(TOPIC);
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
