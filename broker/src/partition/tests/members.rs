//! Replicas come and go while the partition is written to.

use super::*;

impl World {
    fn voters(&self, node: i32) -> Vec<i32> {
        let partition = self.partition(node).expect("it runs");
        let members = partition.group.borrow().members().clone();
        assert!(members.learners.is_empty() && !members.is_joint());
        members.voters.into_iter().collect()
    }
}

#[test]
fn a_partition_moves_to_other_brokers_with_everything_it_holds() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let leader = world.leader().await;
        for n in 0..30 {
            leader.write(&format!("record {n}")).await.expect("acknowledged");
        }
        let expected = leader.all_entries().await.len();
        world.retarget(&[4, 5, 2]);
        world.start(4).await;
        world.start(5).await;
        world
            .until("the new replicas lead alone", |world| {
                let new = world.partition(2).expect("it runs");
                let members = new.group.borrow().members().clone();
                members.voters.iter().eq(&[2, 4, 5]) && !members.is_joint()
            })
            .await;
        for gone in [1, 3] {
            world.power_cut(gone, 1);
        }
        let leader = world.leader().await;
        assert_eq!(leader.write("after").await.expect("acknowledged"), 30);
        world.converge().await;
        for node in [2, 4, 5] {
            assert_eq!(world.voters(node), [2, 4, 5]);
            let entries = world.partition(node).expect("it runs").all_entries().await;
            assert!(entries.len() > expected);
        }
        // The members are known after a restart, too.
        for node in [2, 4, 5] {
            world.power_cut(node, 2);
            world.start(node).await;
        }
        world.leader().await.write("again").await.expect("acknowledged");
        assert_eq!(world.voters(4), [2, 4, 5]);
    });
}

#[test]
fn a_lone_replica_gets_company() {
    simulate(async {
        let world = World::new(&[1], &[]).await;
        let leader = world.leader().await;
        leader.write("alone").await.expect("acknowledged");
        world.retarget(&[1, 2, 3]);
        world.start(2).await;
        world.start(3).await;
        world
            .until("three vote", |world| {
                (1..4).all(|node| {
                    let partition = world.partition(node).expect("it runs");
                    partition.group.borrow().members().voters.len() == 3
                })
            })
            .await;
        world.isolate(1);
        let new = world.leader_among(|node| node != 1).await;
        assert_eq!(new.write("without the first").await.expect("acknowledged"), 1);
    });
}
