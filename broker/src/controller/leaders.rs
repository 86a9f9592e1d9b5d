//! Who leads which partition, and which replicas lag, as the shards of all brokers announce it.
//!
//! Leadership is never written to the controller's log: the highest term wins. Shards publish
//! into one table that readers load whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thalweg_storage::votes::GroupId;
use tokio::sync::watch;
use uuid::Uuid;

/// A partition's leader in the newest term heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: i32,
    pub(crate) epoch: i32,
}

/// What a leader says of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) leader: Leader,
    /// Members that have not been caught up for a while.
    pub(crate) lagging: Vec<i32>,
}

type Table = HashMap<Uuid, Arc<Vec<Option<Announced>>>>;

/// The leadership table of one broker.
pub(crate) struct Leaders {
    table: ArcSwap<Table>,
    changes: watch::Sender<u64>,
}

impl Default for Leaders {
    fn default() -> Self {
        Leaders { table: ArcSwap::default(), changes: watch::Sender::new(0) }
    }
}

impl Leaders {
    /// The leader of a partition, unless none is known.
    pub(crate) fn get(&self, topic: Uuid, partition: i32) -> Option<Leader> {
        self.announced(topic, partition, |announced| announced.leader)
    }

    /// The members of a partition that its leader has seen lag.
    pub(crate) fn lagging(&self, topic: Uuid, partition: i32) -> Vec<i32> {
        let lagging = |announced: &Announced| announced.lagging.clone();
        self.announced(topic, partition, lagging).unwrap_or_default()
    }

    fn announced<T>(
        &self,
        topic: Uuid,
        partition: i32,
        look: impl FnOnce(&Announced) -> T,
    ) -> Option<T> {
        let table = self.table.load();
        table.get(&topic)?.get(usize::try_from(partition).ok()?)?.as_ref().map(look)
    }

    /// Takes in announcements; one from an older term than the known one changes nothing.
    pub(crate) fn announce(&self, all: &[(GroupId, Announced)]) {
        self.table.rcu(|table| {
            let mut next = Table::clone(table);
            for (GroupId { topic, partition }, announced) in all {
                let Ok(slot) = usize::try_from(*partition) else { continue };
                let partitions = Arc::make_mut(next.entry(*topic).or_default());
                if partitions.len() <= slot {
                    partitions.resize(slot + 1, None);
                }
                if let Some(known) = partitions.get_mut(slot)
                    && known.as_ref().is_none_or(|it| it.leader.epoch <= announced.leader.epoch)
                {
                    *known = Some(announced.clone());
                }
            }
            next
        });
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Word of announcements from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Forgets a deleted topic.
    pub(crate) fn forget(&self, topic: Uuid) {
        self.table.rcu(|table| {
            let mut next = Table::clone(table);
            next.remove(&topic);
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_term_wins_whatever_the_order() {
        let topic = Uuid::from_u128(7);
        let (old, new) = (Leader { node: 1, epoch: 3 }, Leader { node: 2, epoch: 4 });
        for order in [[old, new], [new, old]] {
            let leaders = Leaders::default();
            for leader in order {
                let announced = Announced { leader, lagging: vec![leader.epoch] };
                leaders.announce(&[(GroupId { topic, partition: 2 }, announced)]);
            }
            assert_eq!(leaders.get(topic, 2), Some(new));
            assert_eq!(leaders.lagging(topic, 2), [4]);
            assert_eq!(leaders.get(topic, 0), None);
            leaders.forget(topic);
            assert_eq!(leaders.get(topic, 2), None);
        }
    }
}
