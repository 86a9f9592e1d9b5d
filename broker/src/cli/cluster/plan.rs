//! What should move, as a pure function of what is where.
//!
//! Both plans treat moves that are under way as done, and never make racks worse. Sizes play no
//! part: partitions are counted.

use std::collections::BTreeMap;

use thalweg_client::TopicPartition;

use super::view::{BrokerView, PartitionView, View};

/// A partition that is to have other replicas, or the same in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) partition: TopicPartition,
    pub(super) from: Vec<i32>,
    pub(super) to: Vec<i32>,
}

impl Move {
    /// Whether nothing has to be copied.
    pub(super) fn is_only_order(&self) -> bool {
        self.from.len() == self.to.len() && self.from.iter().all(|node| self.to.contains(node))
    }
}

/// A partition that can be nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) partition: TopicPartition,
    pub(super) replicas: usize,
    /// Brokers that take replicas, the drained one left out.
    pub(super) brokers: usize,
}

/// Everything off `node`: each replica goes to the broker with the fewest, in a rack of its own if
/// there is one.
pub(super) fn drain(view: &View, node: i32) -> Result<Vec<Move>, Stuck> {
    let takes = |broker: &&BrokerView| broker.takes_replicas() && broker.id != node;
    let mut spread = Spread::of(view, view.brokers.iter().filter(takes));
    let mut moves = Vec::new();
    for partition in &view.partitions {
        let from = partition.goal();
        let Some(place) = from.iter().position(|replica| *replica == node) else { continue };
        let Some(instead) = spread.best_instead(&from, place) else {
            return Err(Stuck {
                partition: partition.name.clone(),
                replicas: from.len(),
                brokers: spread.replicas.len(),
            });
        };
        let mut to = from.clone();
        to[place] = instead;
        spread.count(&to, 1);
        spread.count(&from, -1);
        moves.push(Move { partition: partition.name.clone(), from, to });
    }
    Ok(moves)
}

/// As few replicas as possible to others, until no broker has two more than another; then leaders
/// likewise, among the replicas that each partition has then.
pub(super) fn balance(view: &View) -> Vec<Move> {
    let takes = |broker: &&BrokerView| broker.takes_replicas();
    let mut spread = Spread::of(view, view.brokers.iter().filter(takes));
    let still = || view.partitions.iter().filter(|partition| !partition.is_moving);
    let mut goals: Vec<Vec<i32>> = still().map(PartitionView::goal).collect();
    while spread.even_out_replicas(&mut goals) {}
    while spread.even_out_leaders(&mut goals) {}
    let moves = still().zip(goals).map(|(partition, to)| Move {
        partition: partition.name.clone(),
        from: partition.goal(),
        to,
    });
    moves.filter(|it| it.from != it.to).collect()
}

/// How many replicas and preferred leaders each broker has that takes replicas, and where racks
/// are.
struct Spread {
    racks: BTreeMap<i32, String>,
    replicas: BTreeMap<i32, i64>,
    leaders: BTreeMap<i32, i64>,
}

impl Spread {
    fn of<'a>(view: &View, taking: impl Iterator<Item = &'a BrokerView>) -> Spread {
        let rack = |broker: &BrokerView| Some((broker.id, broker.rack.clone()?));
        let replicas: BTreeMap<i32, i64> = taking.map(|broker| (broker.id, 0)).collect();
        let mut spread = Spread {
            racks: view.brokers.iter().filter_map(rack).collect(),
            leaders: replicas.clone(),
            replicas,
        };
        for partition in &view.partitions {
            spread.count(&partition.goal(), 1);
        }
        spread
    }

    fn count(&mut self, replicas: &[i32], by: i64) {
        for node in replicas {
            self.replicas.entry(*node).and_modify(|count| *count += by);
        }
        if let Some(preferred) = replicas.first() {
            self.leaders.entry(*preferred).and_modify(|count| *count += by);
        }
    }

    /// How many of the other replicas stand in the rack of `node`. Who has no rack shares none.
    fn rack_mates(&self, node: i32, replicas: &[i32], place: usize) -> usize {
        let Some(rack) = self.racks.get(&node) else { return 0 };
        let others = replicas.iter().enumerate().filter(|(at, _)| *at != place);
        others.filter(|(_, other)| self.racks.get(other) == Some(rack)).count()
    }

    fn best_instead(&self, replicas: &[i32], place: usize) -> Option<i32> {
        let free = self.replicas.iter().filter(|(node, _)| !replicas.contains(node));
        let best = free.min_by_key(|(node, count)| {
            (self.rack_mates(**node, replicas, place), **count, **node)
        });
        best.map(|(node, _)| *node)
    }

    /// Moves one replica from a broker that has many to one that has at least two fewer, leaders
    /// last; returns whether there was one to move.
    fn even_out_replicas(&mut self, goals: &mut [Vec<i32>]) -> bool {
        for (many, few) in pairs(&self.replicas) {
            let place = |goal: &Vec<i32>| {
                let place = goal.iter().position(|node| *node == many)?;
                let worse = self.rack_mates(few, goal, place) > self.rack_mates(many, goal, place);
                (!goal.contains(&few) && !worse).then_some(place)
            };
            let movable = goals.iter_mut().filter_map(|goal| Some((place(goal)?, goal)));
            if let Some((place, goal)) = movable.max_by_key(|(place, _)| *place) {
                let from = goal.clone();
                goal[place] = few;
                let to = goal.clone();
                self.count(&to, 1);
                self.count(&from, -1);
                return true;
            }
        }
        false
    }

    /// Gives one partition another preferred leader among its replicas, likewise.
    fn even_out_leaders(&mut self, goals: &mut [Vec<i32>]) -> bool {
        for (many, few) in pairs(&self.leaders) {
            let led = goals.iter_mut().filter(|goal| goal.first() == Some(&many));
            let place = |goal: &Vec<i32>| goal.iter().position(|node| *node == few);
            if let Some((place, goal)) = led.filter_map(|goal| Some((place(goal)?, goal))).next() {
                goal.swap(0, place);
                self.leaders.entry(many).and_modify(|count| *count -= 1);
                self.leaders.entry(few).and_modify(|count| *count += 1);
                return true;
            }
        }
        false
    }
}

/// Brokers of which the first has at least two more than the second, the widest apart first.
fn pairs(counts: &BTreeMap<i32, i64>) -> Vec<(i32, i32)> {
    let mut pairs = Vec::new();
    for (many, most) in counts {
        let fewer = counts.iter().filter(|(_, least)| most - **least > 1);
        pairs.extend(fewer.map(|(few, least)| (least - most, *many, *few)));
    }
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, many, few)| (many, few)).collect()
}

#[cfg(test)]
mod tests;
