//! Which brokers get the replicas of new partitions.
//!
//! Replicas go round the brokers from a starting point that moves with every topic, so that
//! leaders (the first replica) spread evenly.

use thiserror::Error;

use super::image::{Assignment, Image};

/// Why no placement exists.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum PlacementError {
    /// More copies than brokers, or none.
    #[error("replication factor {wanted} is not between 1 and the number of brokers ({brokers})")]
    ReplicationFactor { wanted: i16, brokers: usize },
    /// An explicit assignment that cannot be honoured.
    #[error("replica assignment: {0}")]
    Assignment(String),
}

/// Places `count` partitions with `replication_factor` copies each, the first of them being
/// partition `first_partition` of its topic.
pub(crate) fn place(
    image: &Image,
    first_partition: usize,
    count: usize,
    replication_factor: i16,
) -> Result<Vec<Assignment>, PlacementError> {
    let brokers: Vec<i32> = image.brokers.keys().copied().collect();
    let copies = usize::try_from(replication_factor).unwrap_or(0);
    if copies == 0 || copies > brokers.len() {
        return Err(PlacementError::ReplicationFactor {
            wanted: replication_factor,
            brokers: brokers.len(),
        });
    }
    let start = image.topics.len() + first_partition;
    let ring = |from: usize| brokers.iter().cycle().skip(from % brokers.len()).take(copies);
    Ok((0..count)
        .map(|partition| Assignment { replicas: ring(start + partition).copied().collect() })
        .collect())
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
    Ok(chosen.into_iter().map(|(_, replicas)| Assignment { replicas }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::image::Broker;

    fn image(brokers: &[i32]) -> Image {
        let broker = Broker { host: "h".to_owned(), port: 1, rack: None };
        Image {
            brokers: brokers.iter().map(|id| (*id, broker.clone())).collect(),
            ..Image::default()
        }
    }

    #[test]
    fn leaders_go_round_the_brokers() {
        let placed = place(&image(&[1, 2, 3]), 0, 6, 2).expect("three brokers hold two copies");
        let leaders: Vec<i32> = placed.iter().map(|a| a.replicas[0]).collect();
        assert_eq!(leaders, [1, 2, 3, 1, 2, 3]);
        assert!(placed.iter().all(|a| a.replicas[0] != a.replicas[1]));
    }

    #[test]
    fn copies_need_as_many_brokers() {
        for wanted in [0, 2, i16::MAX] {
            assert_eq!(
                place(&image(&[1]), 0, 1, wanted),
                Err(PlacementError::ReplicationFactor { wanted, brokers: 1 })
            );
        }
    }

    #[test]
    fn explicit_assignments_are_checked() {
        let image = image(&[1, 2]);
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
