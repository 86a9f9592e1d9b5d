//! Replicas come and go while the partition is written to.

use super::*;
use crate::replication::membership::MemberChange;

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
fn a_leader_without_a_vote_makes_way() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let leader = world.leader().await;
        leader.write("before").await.expect("acknowledged");
        // As if it had come to lead while a removal that another leader began was under way.
        let gone = leader.env.node;
        let change = MemberChange { removed: vec![gone], ..MemberChange::default() };
        leader.group.borrow_mut().propose_members(change).expect("it leads");
        let next = world.leader_among(|node| node != gone).await;
        next.write("after").await.expect("acknowledged");
        world
            .until("it has its vote again", |world| {
                let partition = world.partition(gone).expect("it runs");
                partition.group.borrow().members().voters.contains(&gone)
            })
            .await;
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

#[test]
fn a_replica_that_comes_back_empty_has_no_say_before_it_has_the_log() {
    simulate(async {
        let world = World::new(&[1], &[]).await;
        world.leader().await.write("only on 1").await.expect("acknowledged");
        world.retarget(&[2]);
        world.start(2).await;
        let moved = |world: &World, to: i32| {
            let partition = world.partition(to).expect("it runs");
            let members = partition.group.borrow().members().clone();
            members.is_alone(to) && world.assignment.borrow().target.is_none()
        };
        world.until("it has moved", |world| moved(world, 2)).await;
        // Broker 1 removes its copy, and later gets the partition back.
        world.power_cut(1, 1);
        world.disks.borrow_mut().remove(&1);
        world.leader().await.write("only on 2").await.expect("acknowledged");
        // It starts before anybody has written to it.
        world.isolate(2);
        world.retarget(&[1]);
        world.start(1).await;
        sleep(Duration::from_secs(20)).await;
        let back = world.partition(1).expect("it runs");
        assert!(!back.is_serving(), "it took itself for the partition");
        assert!(world.assignment.borrow().target.is_some(), "it ended its own reassignment");
        world.heal();
        world.until("it has moved back", |world| moved(world, 1)).await;
        let leader = world.leader_among(|node| node == 1).await;
        assert_eq!(leader.high_watermark(), 2);
        assert_eq!(leader.write("after").await.expect("acknowledged"), 2);
    });
}

#[test]
fn members_are_known_after_a_crash_right_after_they_changed() {
    for seed in 0..10 {
        simulate(async move {
            let world = World::new(&[1], &[]).await;
            world.leader().await.write("alone").await.expect("acknowledged");
            world.retarget(&[1, 2, 3]);
            world.start(2).await;
            world.start(3).await;
            world
                .until("three vote", |world| {
                    let partition = world.partition(1).expect("it runs");
                    partition.group.borrow().members().voters.len() == 3
                })
                .await;
            let old = world.leader().await;
            // Taken by the old leader alone, never by the others.
            world.isolate(1);
            let _ = old.append(batch("uncommitted"), Acks::All);
            sleep(Duration::from_millis(100)).await;
            world.power_cut(1, seed);
            let new = world.leader_among(|node| node != 1).await;
            let offset = new.write("committed by 2 and 3").await.expect("acknowledged");
            world.heal();
            world.start(1).await;
            world.converge().await;
            let first = world.partition(1).expect("it runs");
            assert_eq!(first.all_entries().await, new.all_entries().await, "seed {seed}");
            assert!(first.high_watermark() > offset);
        });
    }
}
