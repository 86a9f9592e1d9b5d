//! Which partition a record goes to when it does not say so itself. `enqueue` asks, once for each
//! record.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::murmur2::partition_for;
use crate::backoff::Jitter;
use crate::record::Record;

/// The rule for choosing partitions. A partition named by the record itself overrides each of them.
#[derive(Clone, Default)]
pub enum Partitioner {
    /// Records with a key go where Java's producer would send them (murmur2). Those without stay on
    /// one partition until a batch's worth has gone there, then move to another (KIP-794).
    #[default]
    KeyHash,
    /// Every record stays on one partition until a batch's worth has gone there, whatever its key.
    Sticky,
    /// Each record goes to the partition after the one before, whatever its key.
    RoundRobin,
    /// As the function says, which is given the record and the number of partitions, and names one
    /// from 0.
    Custom(Arc<ChoosePartition>),
}

/// A function that chooses partitions.
pub type ChoosePartition = dyn Fn(&Record<'_>, i32) -> i32 + Send + Sync;

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Partitioner::KeyHash => "KeyHash",
            Partitioner::Sticky => "Sticky",
            Partitioner::RoundRobin => "RoundRobin",
            Partitioner::Custom(_) => "Custom",
        })
    }
}

/// What choosing remembers about one topic.
#[derive(Debug, Default)]
pub(super) struct Choice {
    sticky: Mutex<Sticky>,
    turn: AtomicU32,
}

#[derive(Debug, Default)]
struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Choice {
    /// The partition for `record`, among `partition_count`, which is positive. `is_available` tells
    /// those that have a leader; the others are left alone where the rule has a choice.
    pub(super) fn partition(
        &self,
        partitioner: &Partitioner,
        record: &Record<'_>,
        partition_count: i32,
        batch_bytes: usize,
        is_available: impl Fn(i32) -> bool,
        jitter: &Jitter,
    ) -> i32 {
        match (partitioner, record.key) {
            (Partitioner::KeyHash, Some(key)) => partition_for(key, partition_count),
            (Partitioner::KeyHash | Partitioner::Sticky, _) => {
                let random = || jitter.below(partition_count.unsigned_abs() as usize) as i32;
                let draw = || {
                    let first = random();
                    let after = (0..partition_count).map(|step| (first + step) % partition_count);
                    after.into_iter().find(|partition| is_available(*partition)).unwrap_or(first)
                };
                self.stick(record.size_max(), batch_bytes, partition_count, draw)
            }
            (Partitioner::RoundRobin, _) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                (turn % partition_count.unsigned_abs()).cast_signed()
            }
            (Partitioner::Custom(choose), _) => choose(record, partition_count),
        }
    }

    fn stick(
        &self,
        size: usize,
        batch_bytes: usize,
        partition_count: i32,
        draw: impl Fn() -> i32,
    ) -> i32 {
        let mut sticky = self.sticky.lock().expect("no one panics while holding this lock");
        let current = sticky.partition.filter(|partition| *partition < partition_count);
        let partition = match current {
            Some(partition) if sticky.bytes < batch_bytes => partition,
            _ => {
                sticky.bytes = 0;
                draw()
            }
        };
        sticky.partition = Some(partition);
        sticky.bytes += size;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(choice: &Choice, partitioner: &Partitioner, record: &Record<'_>) -> i32 {
        let is_available = |partition| partition != 2;
        choice.partition(partitioner, record, 4, 1000, is_available, &Jitter::new())
    }

    #[test]
    fn keys_decide_and_records_without_stay_for_a_batch() {
        let (choice, rule) = (Choice::default(), Partitioner::KeyHash);
        let keyed = Record::to("t").key("21");
        assert_eq!(choose(&choice, &rule, &keyed), partition_for(b"21", 4));
        let value = [0; 200];
        let plain = Record::to("t").value(&value);
        let partitions: Vec<i32> = (0..200).map(|_| choose(&choice, &rule, &plain)).collect();
        let stays: Vec<&[i32]> = partitions.chunk_by(|a, b| a == b).collect();
        assert!(stays[0].len() >= 5 && stays.len() > 4, "{stays:?}");
        assert!(!partitions.contains(&2), "partition 2 has no leader");
    }

    #[test]
    fn other_rules_ignore_keys() {
        let choice = Choice::default();
        let keyed = Record::to("t").key("21");
        let turns: Vec<i32> =
            (0..6).map(|_| choose(&choice, &Partitioner::RoundRobin, &keyed)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0, 1]);
        let last = Partitioner::Custom(Arc::new(|_, count| count - 1));
        assert_eq!(choose(&choice, &last, &keyed), 3);
    }
}
