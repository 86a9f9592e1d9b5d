//! Many seeds of everything at once: writers that retry, links that are cut, power that fails, and
//! members that change; afterwards everything acknowledged is there once, in one order, everywhere.

use super::*;

/// A small generator of its own, so that a seed means the same for ever (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn node(&mut self) -> i32 {
        i32::try_from(self.below(NODES)).expect("few") + 1
    }
}

const NODES: u64 = 4;

/// What a writer knows: the value is at the offset, for ever.
type Acknowledged = Rc<RefCell<BTreeMap<i64, String>>>;

/// Writes numbered values to whoever leads, each until it is acknowledged, as an idempotent
/// producer.
async fn write_on(world: Rc<World>, producer: i64, acknowledged: Acknowledged) {
    for sequence in 0.. {
        let value = format!("{producer}/{sequence}");
        let options = BatchOptions {
            producer_id: producer,
            producer_epoch: 0,
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        let batch = batch_of(&value, &options);
        loop {
            let leader = world.leader().await;
            let Ok(mut ticket) = leader.append(batch.clone(), Acks::All) else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            if let Ok(Ok(())) = timeout(Duration::from_secs(2), ticket.done()).await {
                let known = acknowledged.borrow_mut().insert(ticket.base_offset, value);
                assert_eq!(known, None, "offset {} was given out twice", ticket.base_offset);
                break;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn storm(seed: u64) {
    let mut dice = Dice(seed);
    let world = World::new(&[1, 2, 3], &[("internal.segment.bytes", "65536")]).await;
    world.start(4).await;
    let acknowledged = Acknowledged::default();
    let writers: Vec<_> = (1..4)
        .map(|producer| {
            spawn_local(write_on(Rc::clone(&world), producer, Rc::clone(&acknowledged)))
        })
        .collect();
    for _ in 0..40 {
        sleep(Duration::from_millis(dice.below(1500))).await;
        let node = dice.node();
        match dice.below(6) {
            0 => world.isolate(node),
            1 => {
                // One way only.
                let other = dice.node();
                world.cut.borrow_mut().insert((node, other));
            }
            2 => world.heal(),
            3 => {
                world.power_cut(node, dice.roll());
                sleep(Duration::from_millis(dice.below(800))).await;
                world.start(node).await;
            }
            4 => {
                let all: Vec<_> = world.replicas.borrow().keys().copied().collect();
                for node in &all {
                    world.power_cut(*node, dice.roll());
                }
                for node in all {
                    world.start(node).await;
                }
            }
            _ => {
                let out = dice.node();
                let target: Vec<i32> = (1..5).filter(|node| *node != out).collect();
                world.retarget(&target);
            }
        }
    }
    world.heal();
    world
        .until(&format!("everybody has everything (seed {seed})"), |world| {
            let ends: HashSet<_> = world
                .members()
                .iter()
                .filter_map(|node| Some(world.partition(*node)?.high_watermark()))
                .collect();
            let wanted = acknowledged.borrow().keys().next_back().copied().unwrap_or(0);
            ends.len() == 1 && ends.iter().all(|end| *end > wanted)
        })
        .await;
    writers.iter().for_each(|writer| writer.abort());
    sleep(Duration::from_secs(5)).await;
    let acknowledged = acknowledged.borrow().clone();
    check(&world, &acknowledged, seed).await;
}

async fn check(world: &World, acknowledged: &BTreeMap<i64, String>, seed: u64) {
    assert!(acknowledged.len() > 50, "seed {seed} got {} records through", acknowledged.len());
    let mut logs = Vec::new();
    for node in world.members() {
        let replica = world.partition(node).expect("it runs");
        let entries = replica.all_entries().await;
        let mut values = BTreeMap::new();
        for entry in &entries {
            let header = thalweg_protocol::batch::BatchHeader::parse(&entry.header).expect("valid");
            if !header.attributes.is_internal() {
                let body = String::from_utf8_lossy(&entry.body).into_owned();
                values.insert(header.base_offset, body);
            }
        }
        for (offset, value) in acknowledged {
            let found = values.get(offset);
            assert!(
                found.is_some_and(|body| body.contains(value)),
                "seed {seed}: {value} was acknowledged at {offset}, where broker {node} has {found:?}"
            );
        }
        logs.push((node, entries));
    }
    let (first, rest) = logs.split_first().expect("members");
    for (node, entries) in rest {
        let common = entries.len().min(first.1.len());
        assert_eq!(
            entries[..common],
            first.1[..common],
            "seed {seed}: brokers {node}, {}",
            first.0
        );
    }
}

impl World {
    /// The voters, as their leader has them.
    fn members(&self) -> Vec<i32> {
        let replicas = self.replicas.borrow();
        let leader = replicas
            .values()
            .filter(|it| it.partition.is_serving())
            .max_by_key(|it| it.partition.serving_epoch());
        let members = leader.map(|it| it.partition.group.borrow().members().clone());
        members.map(|members| members.voters.into_iter().collect()).unwrap_or_default()
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_happens() {
    let seeds = std::env::var("STORM_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let from = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in from..from + seeds.unwrap_or(20) {
        simulate(storm(seed));
    }
}
