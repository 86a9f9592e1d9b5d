//! As evenly as possible, with as few changes as possible, and nothing to two members at once
//! (KIP-429).
//!
//! Every member first keeps what it has and may have. What nobody has goes to whoever has least;
//! then partitions move from whoever has more to whoever has less until no single move evens
//! anything out. Last, whatever changes hands is left out: its owner gives it up when it sees that,
//! and the rebalance which that causes gives it to the new owner.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Division, PartitionCounts, Subscriber, by_topic};
use crate::topic_partition::TopicPartition;

pub(super) fn divide(members: &[Subscriber], counts: &PartitionCounts) -> Division {
    let subscribers = by_topic(members, counts);
    let mut loads = vec![0usize; members.len()];
    let mut owners: BTreeMap<TopicPartition, usize> = BTreeMap::new();
    for (partition, place) in kept(members, counts, &subscribers) {
        loads[place] += 1;
        owners.insert(partition, place);
    }
    for partition in homeless(&owners, counts, &subscribers) {
        if let Some(place) = least_loaded(&subscribers, &loads, &partition.topic) {
            loads[place] += 1;
            owners.insert(partition, place);
        }
    }
    even_out(&mut owners, &mut loads, &subscribers);
    hold_back(members, owners)
}

type Subscribers<'a> = BTreeMap<&'a Arc<str>, Vec<usize>>;

/// Who keeps what: the claim of the latest generation counts, and none if two members have that.
fn kept(
    members: &[Subscriber],
    counts: &PartitionCounts,
    subscribers: &Subscribers<'_>,
) -> HashMap<TopicPartition, usize> {
    let mut claims: HashMap<&TopicPartition, (i32, Option<usize>)> = HashMap::new();
    for (place, member) in members.iter().enumerate() {
        // Once is enough, whatever a member says.
        for partition in member.owned.iter().collect::<HashSet<_>>() {
            let claim = claims.entry(partition).or_insert((i32::MIN, None));
            if member.generation > claim.0 {
                *claim = (member.generation, Some(place));
            } else if member.generation == claim.0 {
                claim.1 = None;
            }
        }
    }
    let may_have = |partition: &TopicPartition, place: usize| {
        let count = counts.get(&partition.topic).copied().unwrap_or_default();
        let is_subscribed =
            subscribers.get(&partition.topic).is_some_and(|all| all.contains(&place));
        (0..count).contains(&partition.partition) && is_subscribed
    };
    claims
        .into_iter()
        .filter_map(|(partition, (_, place))| Some((partition.clone(), place?)))
        .filter(|(partition, place)| may_have(partition, *place))
        .collect()
}

/// The partitions that nobody keeps, those with the fewest subscribers first: they have the least
/// choice.
fn homeless(
    owners: &BTreeMap<TopicPartition, usize>,
    counts: &PartitionCounts,
    subscribers: &Subscribers<'_>,
) -> Vec<TopicPartition> {
    let mut topics: Vec<_> = subscribers.iter().collect();
    topics.sort_by_key(|(_, subscribers)| subscribers.len());
    let all = topics.into_iter().flat_map(|(topic, _)| {
        let count = counts.get(*topic).copied().unwrap_or_default();
        (0..count).map(|partition| TopicPartition::new(Arc::clone(topic), partition))
    });
    all.filter(|partition| !owners.contains_key(partition)).collect()
}

fn least_loaded(subscribers: &Subscribers<'_>, loads: &[usize], topic: &Arc<str>) -> Option<usize> {
    subscribers.get(topic)?.iter().copied().min_by_key(|place| loads[*place])
}

/// Each move makes the loads more even, so it comes to an end.
fn even_out(
    owners: &mut BTreeMap<TopicPartition, usize>,
    loads: &mut [usize],
    subscribers: &Subscribers<'_>,
) {
    let mut has_moved = true;
    while std::mem::take(&mut has_moved) {
        for (partition, owner) in owners.iter_mut() {
            let target = least_loaded(subscribers, loads, &partition.topic);
            if let Some(target) = target.filter(|target| loads[*target] + 1 < loads[*owner]) {
                loads[*owner] -= 1;
                loads[target] += 1;
                *owner = target;
                has_moved = true;
            }
        }
    }
}

/// The division, without what another member still has.
fn hold_back(members: &[Subscriber], owners: BTreeMap<TopicPartition, usize>) -> Division {
    let mut claimants: HashMap<&TopicPartition, HashSet<usize>> = HashMap::new();
    for (place, member) in members.iter().enumerate() {
        for partition in &member.owned {
            claimants.entry(partition).or_default().insert(place);
        }
    }
    let mut division: Division = vec![Vec::new(); members.len()];
    for (partition, place) in owners {
        let mut claimants = claimants.get(&partition).into_iter().flatten();
        if claimants.all(|claimant| *claimant == place) {
            division[place].push(partition);
        }
    }
    division
}
