//! What is acknowledged stays, whoever leads.

use super::*;

#[test]
fn replicas_hold_the_same_bytes_and_follow_the_commit() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let leader = world.leader().await;
        assert_eq!(leader.env.node, 1, "the first replica is preferred");
        for n in 0..50 {
            assert_eq!(leader.write(&format!("record {n}")).await.expect("acknowledged"), n);
        }
        world.converge().await;
        let expected = leader.all_entries().await;
        for node in 2..4 {
            let replica = world.partition(node).expect("it runs");
            assert_eq!(replica.high_watermark(), 50);
            assert_eq!(replica.all_entries().await, expected, "replica {node}");
        }
    });
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_its_rest_gives_way() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let old = world.leader().await;
        old.write("kept").await.expect("acknowledged");
        world.isolate(old.env.node);
        let lost: Vec<_> =
            (0..5).map(|n| old.append(batch(&format!("lost {n}")), Acks::All)).collect();
        let new = world.leader_among(|node| node != old.env.node).await;
        assert!(new.serving_epoch() > old.serving_epoch().or(Some(0)));
        assert_eq!(new.write("new").await.expect("acknowledged"), 1, "the offset was free");
        for ticket in lost {
            let outcome = timeout(PATIENCE, ticket.expect("taken").done()).await;
            assert!(!matches!(outcome, Ok(Ok(()))), "acknowledged without a majority");
        }
        world.heal();
        world.converge().await;
        assert_eq!(old.all_entries().await, new.all_entries().await);
        assert_eq!(old.high_watermark(), 2);
    });
}

#[test]
fn acknowledged_records_survive_a_power_cut_of_all_replicas() {
    for seed in 0..20 {
        simulate(async move {
            let world = World::new(&[1, 2, 3], &[]).await;
            let leader = world.leader().await;
            let mut acknowledged = Vec::new();
            for n in 0..20 {
                acknowledged.push(leader.write(&format!("record {n}")).await.expect("a majority"));
            }
            for n in 0..3 {
                // On its way when the power goes.
                let _ = leader.append(batch(&format!("unknown {n}")), Acks::All);
            }
            for node in 1..4 {
                world.power_cut(node, seed * 3 + u64::from(node.unsigned_abs()));
            }
            for node in 1..4 {
                world.start(node).await;
            }
            let leader = world.leader().await;
            assert!(leader.high_watermark() >= 20, "seed {seed}");
            leader.write("after").await.expect("acknowledged");
            world.converge().await;
            let expected = leader.all_entries().await;
            for node in 1..4 {
                let replica = world.partition(node).expect("it runs");
                assert_eq!(replica.all_entries().await, expected, "seed {seed}, replica {node}");
            }
        });
    }
}

#[test]
fn a_replica_that_was_away_too_long_begins_where_the_log_begins_now() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[("segment.bytes", "1048576")]).await;
        let leader = world.leader().await;
        let value = "x".repeat(100_000);
        for _ in 0..5 {
            leader.write(&value).await.expect("acknowledged");
        }
        world.power_cut(3, 1);
        for _ in 0..40 {
            leader.write(&value).await.expect("two of three are enough");
        }
        assert_eq!(Rc::clone(&leader).delete_records(35).await.expect("deleted"), 35);
        world.until("old segments are gone", |_| leader.log.first_index() > 7).await;
        world.start(3).await;
        world.converge().await;
        let late = world.partition(3).expect("it runs");
        world.until("the log start is the same", |_| late.log.log_start_offset() == 35).await;
        assert!(late.log.first_index() > 7, "it got a log that begins later");
        assert_eq!(late.high_watermark(), 45);
        // It counts again: the third replica may go.
        world.isolate(2);
        assert_eq!(leader.write("more").await.expect("acknowledged"), 45);
    });
}

#[test]
fn leadership_is_handed_over_and_what_follows_is_refused_until_then() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let old = world.leader().await;
        old.write("before").await.expect("acknowledged");
        world.converge().await;
        old.transfer_leadership(3).expect("it is caught up");
        let new = world.leader_among(|node| node == 3).await;
        world.until("the old leader knows", |_| !old.is_serving()).await;
        assert!(matches!(old.write("late").await, Err(PartitionError::NotLeader)));
        assert_eq!(new.write("after").await.expect("acknowledged"), 1);
        assert!(matches!(new.transfer_leadership(9), Err(PartitionError::NotCaughtUp(9))));
    });
}

#[test]
fn a_repeat_after_a_change_of_leaders_gets_the_original_offset() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let old = world.leader().await;
        let options = BatchOptions {
            producer_id: 77,
            producer_epoch: 0,
            base_sequence: 0,
            ..BatchOptions::default()
        };
        let numbered = batch_of("once", &options);
        old.write("before").await.expect("acknowledged");
        let mut ticket = old.append(numbered.clone(), Acks::All).expect("taken");
        ticket.done().await.expect("acknowledged");
        world.isolate(old.env.node);
        let new = world.leader_among(|node| node != old.env.node).await;
        let mut again = new.append(numbered, Acks::All).expect("taken for a repeat");
        again.done().await.expect("it is there already");
        assert_eq!((ticket.base_offset, again.base_offset), (1, 1));
        assert_eq!(new.high_watermark(), 2);
    });
}

#[test]
fn too_few_replicas_in_sync_refuse_what_wants_more() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[("min.insync.replicas", "3")]).await;
        let leader = world.leader().await;
        leader.write("all three").await.expect("acknowledged");
        world.isolate(3);
        world.until("the third is missed", |_| leader.group.borrow().voters_in_sync() == 2).await;
        let refused = leader.write("two").await;
        assert!(matches!(
            refused,
            Err(PartitionError::NotEnoughReplicas { replicas: 2, wanted: 3 })
        ));
    });
}
