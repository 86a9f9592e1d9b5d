//! Damage on one replica is found and healed from another, and until then that one does not lead.

use super::*;

/// Fills a partition with several sealed segments and lets every replica have all of it.
async fn filled() -> Rc<World> {
    let world = World::new(&[1, 2, 3], &[("internal.segment.bytes", "65536")]).await;
    let leader = world.leader().await;
    let value = "x".repeat(8000);
    for _ in 0..40 {
        leader.write(&value).await.expect("acknowledged");
    }
    world.converge().await;
    world
}

impl World {
    /// Turns bits over in the middle of a replica's first segment.
    fn damage(&self, node: i32) {
        let path = format!("/data/partition/{:020}-{:020}.log", 0, 1);
        let disks = self.disks.borrow();
        let disk = disks.get(&node).expect("it has a disk");
        for position in [20_000, 20_001, 36_000] {
            disk.flip_bit(path.as_ref(), position, 3).expect("the segment is that long");
        }
    }

    async fn scrub(&self, node: i32) {
        let replica = self.partition(node).expect("it runs");
        while replica.scrub(1 << 20).await {}
    }
}

#[test]
fn a_follower_finds_damage_and_heals_it() {
    simulate(async {
        let world = filled().await;
        let expected = world.leader().await.all_entries().await;
        world.damage(3);
        world.scrub(3).await;
        let damaged = world.partition(3).expect("it runs");
        assert!(!damaged.log.damage().is_empty(), "the damage is seen");
        world.until("it is healed", |_| damaged.log.damage().is_empty()).await;
        assert_eq!(damaged.all_entries().await, expected);
        // It counts again.
        world.isolate(2);
        world.leader().await.write("more").await.expect("acknowledged by 1 and 3");
    });
}

#[test]
fn a_leader_that_finds_damage_lets_another_lead() {
    simulate(async {
        let world = filled().await;
        let old = world.leader().await;
        let node = old.env.node;
        world.damage(node);
        world.scrub(node).await;
        let new = world.leader_among(|other| other != node).await;
        new.write("after").await.expect("acknowledged");
        world.until("it is healed", |_| old.log.damage().is_empty()).await;
        world.converge().await;
        assert_eq!(old.all_entries().await, new.all_entries().await);
    });
}

#[test]
fn a_damaged_replica_is_not_elected_while_others_have_what_it_lacks() {
    simulate(async {
        let world = filled().await;
        // Nobody can heal it: it hears of nobody.
        world.isolate(3);
        world.damage(3);
        world.scrub(3).await;
        let damaged = world.partition(3).expect("it runs");
        world.until("it notices", |_| damaged.state.borrow().healing.running).await;
        world.heal();
        world.power_cut(1, 1);
        let leader = world.leader_among(|node| node != 1).await;
        assert!(leader.log.damage().is_empty(), "broker {} leads", leader.env.node);
        world.until("it is healed", |_| damaged.log.damage().is_empty()).await;
    });
}

#[test]
fn damage_found_at_a_restart_is_healed_before_it_is_applied() {
    simulate(async {
        let world = filled().await;
        world.power_cut(3, 5);
        world.damage(3);
        world.start(3).await;
        let damaged = world.partition(3).expect("it runs");
        world.scrub(3).await;
        world.until("it is healed", |_| damaged.log.damage().is_empty()).await;
        world.converge().await;
        let expected = world.leader().await.all_entries().await;
        assert_eq!(damaged.all_entries().await, expected);
    });
}
