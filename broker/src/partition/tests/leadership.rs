//! Who leads when nobody has failed: the first replica by itself, and whoever has room.

use thalweg_storage::disk::Space;

use super::*;

impl World {
    /// What the filesystem of a broker says from now on.
    fn set_full(&self, node: i32, full: bool) {
        let available = if full { 0 } else { 100 };
        let partition = self.partition(node).expect("it runs");
        partition.env.space.observe(Space { available, total: 100 });
    }

    fn leads(&self, node: i32) -> bool {
        self.partition(node).is_some_and(|partition| partition.is_serving())
    }
}

#[test]
fn leadership_returns_to_the_first_replica_by_itself_and_only_if_that_is_wanted() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        world.until("the first replica leads", |world| world.leads(1)).await;
        world.power_cut(1, 1);
        let other = world.leader_among(|node| node != 1).await;
        other.write("meanwhile").await.expect("acknowledged");
        world.start(1).await;
        world.converge().await;
        sleep(Duration::from_secs(30)).await;
        assert!(other.is_serving(), "nobody wants it back");

        world.balance.set(true);
        world.until("the first replica leads again", |world| world.leads(1)).await;
        let first = world.leader().await;
        assert_eq!(first.write("after").await.expect("acknowledged"), 1);
    });
}

#[test]
fn a_full_disk_leads_nothing_until_it_has_room() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        world.balance.set(true);
        world.until("the first replica leads", |world| world.leads(1)).await;
        world.set_full(1, true);
        world.leader_among(|node| node != 1).await;
        // The first replica is the preferred one, caught up, and alive. It still takes no records.
        for n in 0..60 {
            let leader = world.leader_among(|node| node != 1).await;
            assert!(!world.leads(1), "after {n} s the full disk leads");
            leader.write("more").await.expect("acknowledged");
            sleep(Duration::from_secs(1)).await;
        }
        world.set_full(1, false);
        world.until("it leads again", |world| world.leads(1)).await;
    });
}

#[test]
fn where_all_disks_are_full_leadership_stays_where_it_is() {
    simulate(async {
        let world = World::new(&[1, 2, 3], &[]).await;
        let leader = world.leader().await;
        let epoch = leader.serving_epoch().expect("it leads");
        (1..=3).for_each(|node| world.set_full(node, true));
        sleep(Duration::from_secs(600)).await;
        let leader = world.leader().await;
        let changes = leader.serving_epoch().expect("it leads") - epoch;
        assert!(changes <= 1, "leadership went on {changes} times");
        assert!(matches!(leader.append(batch("one"), Acks::All), Err(PartitionError::DiskFull)));
    });
}
