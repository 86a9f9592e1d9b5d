//! Which brokers get the replicas of new partitions.
//!
//! Copies of a partition are spread over racks first; then they go where fewest replicas are.
//! Among the chosen, the one that is the preferred leader of fewest partitions comes first. Equals
//! are taken in an order that turns by one broker with every round, so that no two brokers share
//! all their partitions. Fenced and drained brokers get nothing.

use std::collections::BTreeMap;

use thiserror::Error;

use super::assignment::Assignment;
use super::image::Image;

/// Why no placement exists.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum PlacementError {
    /// More copies than brokers, or none.
    #[error(
        "replication factor {wanted} is not between 1 and the number of brokers that take replicas ({brokers})"
    )]
    ReplicationFactor { wanted: i16, brokers: usize },
    /// An explicit assignment that cannot be honoured.
    #[error("replica assignment: {0}")]
    Assignment(String),
}

/// Places `count` partitions with `replication_factor` copies each.
pub(crate) fn place(
    image: &Image,
    count: usize,
    replication_factor: i16,
) -> Result<Vec<Assignment>, PlacementError> {
    let mut candidates = Candidate::of(image);
    let copies = usize::try_from(replication_factor).unwrap_or(0);
    if copies == 0 || copies > candidates.len() {
        return Err(PlacementError::ReplicationFactor {
            wanted: replication_factor,
            brokers: candidates.len(),
        });
    }
    Ok((0..count).map(|_| Assignment::new(place_one(&mut candidates, copies))).collect())
}

/// A broker that takes replicas.
struct Candidate<'a> {
    node: i32,
    /// A broker without a rack is a rack of its own.
    rack: Result<&'a str, i32>,
    replicas: usize,
    leaderships: usize,
}

impl<'a> Candidate<'a> {
    fn of(image: &'a Image) -> Vec<Candidate<'a>> {
        let (mut replicas, mut leaderships) = (BTreeMap::new(), BTreeMap::new());
        for assignment in image.topics.values().flat_map(|topic| &topic.partitions) {
            for node in assignment.members() {
                *replicas.entry(node).or_default() += 1;
            }
            let wanted = assignment.target.as_ref().unwrap_or(&assignment.replicas);
            if let Some(preferred) = wanted.first() {
                *leaderships.entry(*preferred).or_default() += 1;
            }
        }
        let taking = image.live_brokers().filter(|(node, _)| !image.is_drained(*node));
        taking
            .map(|(node, broker)| Candidate {
                node,
                rack: broker.rack.as_deref().ok_or(node),
                replicas: replicas.get(&node).copied().unwrap_or(0),
                leaderships: leaderships.get(&node).copied().unwrap_or(0),
            })
            .collect()
    }
}

fn place_one(candidates: &mut [Candidate<'_>], copies: usize) -> Vec<i32> {
    let brokers = candidates.len();
    let round = candidates.iter().map(|it| it.replicas).sum::<usize>() / brokers;
    let turn = |rank: usize| (rank + brokers - round % brokers) % brokers;
    let mut chosen: Vec<usize> = Vec::with_capacity(copies);
    for _ in 0..copies {
        let in_rack = |rack| chosen.iter().filter(|rank| candidates[**rank].rack == rack).count();
        let free = candidates.iter().enumerate().filter(|(rank, _)| !chosen.contains(rank));
        let best = free.min_by_key(|(rank, it)| (in_rack(it.rack), it.replicas, turn(*rank)));
        chosen.extend(best.map(|(rank, _)| rank));
    }
    // The copies that are not preferred keep the order in which they were found.
    let leaderships = |rank: usize| (candidates[rank].leaderships, turn(rank));
    let preferred = (0..copies).min_by_key(|at| leaderships(chosen[*at])).unwrap_or(0);
    chosen[..=preferred].rotate_right(1);
    for rank in &chosen {
        candidates[*rank].replicas += 1;
    }
    candidates[chosen[0]].leaderships += 1;
    chosen.into_iter().map(|rank| candidates[rank].node).collect()
}

/// Checks an assignment the client chose: partitions 0..n without gaps, known brokers, no broker
/// twice, every partition with as many copies as the first.
pub(crate) fn check_explicit(
    image: &Image,
    mut chosen: Vec<(i32, Vec<i32>)>,
) -> Result<Vec<Assignment>, PlacementError> {
    let refuse = |why: String| Err(PlacementError::Assignment(why));
    chosen.sort_by_key(|(partition, _)| *partition);
    let copies = chosen.first().map_or(0, |(_, replicas)| replicas.len());
    for (expected, (partition, replicas)) in (0..).zip(&chosen) {
        if *partition != expected {
            return refuse(format!(
                "partitions must be 0 to n without gaps; {expected} is missing"
            ));
        }
        if replicas.is_empty() || replicas.len() != copies {
            return refuse(format!("partition {partition} has {} replicas", replicas.len()));
        }
        for (nth, replica) in replicas.iter().enumerate() {
            if !image.brokers.contains_key(replica) {
                return refuse(format!("partition {partition} names unknown broker {replica}"));
            }
            if replicas.iter().take(nth).any(|earlier| earlier == replica) {
                return refuse(format!("partition {partition} names broker {replica} twice"));
            }
        }
    }
    Ok(chosen.into_iter().map(|(_, replicas)| Assignment::new(replicas)).collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::controller::image::{Broker, Topic};

    fn image(brokers: &[(i32, Option<&str>)]) -> Image {
        let broker = |rack: Option<&str>| Broker {
            host: "h".to_owned(),
            rack: rack.map(str::to_owned),
            ..Broker::default()
        };
        Image {
            brokers: brokers.iter().map(|(id, rack)| (*id, broker(*rack))).collect(),
            ..Image::default()
        }
    }

    fn plain(brokers: &[i32]) -> Image {
        image(&brokers.iter().map(|id| (*id, None)).collect::<Vec<_>>())
    }

    fn count(placed: &[Assignment], counts: impl Fn(&Assignment, i32) -> bool) -> Vec<usize> {
        (1..=6).map(|node| placed.iter().filter(|it| counts(it, node)).count()).collect()
    }

    #[test]
    fn replicas_and_leaders_are_spread_evenly() {
        let placed = place(&plain(&[1, 2, 3, 4]), 24, 2).expect("four brokers hold two copies");
        assert_eq!(count(&placed, |it, node| it.replicas.contains(&node)), [12, 12, 12, 12, 0, 0]);
        assert_eq!(count(&placed, |it, node| it.replicas[0] == node), [6, 6, 6, 6, 0, 0]);
        let mut shared: Vec<_> =
            placed.iter().filter(|it| it.has_member(1)).map(Assignment::holders).collect();
        shared.sort();
        shared.dedup();
        assert!(shared.len() > 1, "broker 1 shares all its partitions with one other");
    }

    #[test]
    fn no_rack_gets_two_copies_while_another_has_none() {
        let racks = image(&[
            (1, Some("a")),
            (2, Some("a")),
            (3, Some("a")),
            (4, Some("b")),
            (5, Some("c")),
        ]);
        let placed = place(&racks, 12, 3).expect("three racks hold three copies");
        for assignment in &placed {
            assert!(assignment.has_member(4) && assignment.has_member(5), "{assignment:?}");
        }
        assert_eq!(count(&placed, |it, node| it.has_member(node)), [4, 4, 4, 12, 12, 0]);
        let leading = count(&placed, |it, node| it.replicas[0] == node);
        assert!(leading[..5].iter().all(|count| (2..=3).contains(count)), "{leading:?}");
    }

    #[test]
    fn what_is_there_already_counts() {
        let mut image = plain(&[1, 2, 3]);
        image.put_topic(Topic {
            id: Uuid::from_u128(1),
            name: "old".to_owned(),
            partitions: vec![Assignment::new(vec![1, 2]); 3],
            configs: BTreeMap::new(),
        });
        let placed = place(&image, 3, 1).expect("three brokers hold one copy");
        assert_eq!(count(&placed, |it, node| it.has_member(node)), [0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn fenced_and_drained_brokers_get_nothing() {
        let mut image = plain(&[1, 2, 3, 4]);
        image.brokers.get_mut(&2).expect("placed above").fenced = true;
        let drained = BTreeMap::from([("broker.drained".to_owned(), "true".to_owned())]);
        image.broker_configs.insert("3".to_owned(), drained);
        let placed = place(&image, 4, 2).expect("two brokers are left");
        assert_eq!(count(&placed, |it, node| it.has_member(node)), [4, 0, 0, 4, 0, 0]);
        let refused = PlacementError::ReplicationFactor { wanted: 3, brokers: 2 };
        assert_eq!(place(&image, 4, 3), Err(refused));
    }

    #[test]
    fn copies_need_as_many_brokers() {
        for wanted in [0, 2, i16::MAX] {
            assert_eq!(
                place(&plain(&[1]), 1, wanted),
                Err(PlacementError::ReplicationFactor { wanted, brokers: 1 })
            );
        }
    }

    #[test]
    fn explicit_assignments_are_checked() {
        let image = plain(&[1, 2]);
        assert!(check_explicit(&image, vec![(1, vec![2]), (0, vec![1])]).is_ok());
        for bad in [
            vec![(1, vec![1])],
            vec![(0, vec![1]), (0, vec![1])],
            vec![(0, vec![3])],
            vec![(0, vec![1, 1])],
            vec![(0, vec![1, 2]), (1, vec![1])],
            vec![(0, vec![])],
        ] {
            assert!(check_explicit(&image, bad.clone()).is_err(), "{bad:?} passed");
        }
    }
}
