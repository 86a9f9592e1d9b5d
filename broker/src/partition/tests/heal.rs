//! Damage on one replica is found and healed from another, and until then that one does not lead.

use thalweg_protocol::batch::Batches;

use super::*;
use crate::partition::ReadSpec;

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

/// All that readers are given, from the first offset to the high watermark.
async fn served(partition: &Rc<Partition>) -> Result<Vec<u8>, PartitionError> {
    let (mut next, mut all) = (0, Vec::new());
    while next < partition.high_watermark() {
        let spec = ReadSpec {
            offset: next,
            max_bytes: 1 << 20,
            min_one: true,
            current_leader_epoch: -1,
            follower_may: false,
            waiter: None,
        };
        let records = Bytes::from(partition.read(spec).await?.records.concat());
        for batch in Batches::new(records) {
            let batch = batch.expect("a batch");
            batch.verify_crc().expect("undamaged");
            assert_eq!(batch.header().base_offset, next, "nothing is left out");
            next = batch.header().next_offset();
            all.extend_from_slice(batch.bytes());
        }
    }
    Ok(all)
}

/// Its cache is empty: what it serves comes from its disk.
#[test]
fn a_damaged_replica_that_is_told_to_lead_serves_what_was_written() {
    simulate(async {
        let world = filled().await;
        let leader = world.leader().await;
        let written = served(&leader).await.expect("readable");
        let node = leader.env.node % 3 + 1;
        world.power_cut(node, 1);
        world.damage(node);
        world.start(node).await;
        let damaged = world.partition(node).expect("it runs");
        world.scrub(node).await;
        assert!(!damaged.log.damage().is_empty(), "the damage is seen");
        // Asked to lead until it does.
        let led = async {
            while !damaged.is_serving() {
                let _ = world.leader().await.transfer_leadership(node);
                sleep(TICK).await;
            }
        };
        timeout(PATIENCE, led).await.expect("it leads in the end");
        assert_eq!(served(&damaged).await.expect("readable"), written);
        assert!(damaged.log.damage().is_empty(), "it leads once it is healed");
        // And it leads on when the one that had led before is gone.
        world.power_cut(leader.env.node, 1);
        damaged.write("after").await.expect("acknowledged");
    });
}

#[test]
fn damage_that_nobody_can_heal_is_refused_and_healed_when_somebody_can() {
    simulate(async {
        let world = filled().await;
        let written = served(&world.leader().await).await.expect("readable");
        for node in [1, 2, 3] {
            world.power_cut(node, 1);
        }
        for node in [1, 2] {
            world.damage(node);
            world.start(node).await;
            world.scrub(node).await;
        }
        // After a minute without help they vote again, and one of them leads with its damage.
        sleep(PATIENCE * 4).await;
        let forced = world.leader().await;
        assert!(!forced.log.damage().is_empty(), "nobody could heal it");
        let refused = served(&forced).await;
        assert!(matches!(refused, Err(PartitionError::Read(_))), "{refused:?}");
        assert_eq!(forced.write("on top").await.expect("acknowledged"), 40);

        world.start(3).await;
        world
            .until("both are healed", |world| {
                let healed =
                    |node| world.partition(node).is_some_and(|it| it.log.damage().is_empty());
                healed(1) && healed(2)
            })
            .await;
        let all = served(&world.leader().await).await.expect("readable");
        assert!(all.starts_with(&written) && all.len() > written.len());
    });
}
