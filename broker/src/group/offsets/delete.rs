//! Forgetting offsets because someone says so: OffsetDelete, DeleteGroups, a topic that is gone.

use thalweg_protocol::group_record::Record;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::tombstone;
use crate::group::groups::{GroupKind, Groups};
use crate::group::turn::Turn;

/// Tombstones written as one batch: far from the largest batch a partition takes.
const TOMBSTONES_TOGETHER: usize = 1000;

impl Groups {
    /// OffsetDelete: forgets these partitions; the outcome of each, or why all are refused.
    pub(crate) fn delete_offsets(
        &mut self,
        group_id: &KafkaStr,
        partitions: &[(KafkaStr, i32)],
        turn: &mut Turn<'_>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let group = self.get(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        match &group.kind {
            // Only consumers tell the broker what they read.
            GroupKind::Classic(classic) if !classic.is_empty() && !classic.is_of_consumers() => {
                return Err(ErrorCode::NonEmptyGroup);
            }
            GroupKind::Classic(_) | GroupKind::Consumer(_) => {}
        }
        let outcome = |(topic, _): &(KafkaStr, i32)| match group.reads_topic(topic) {
            true => ErrorCode::GroupSubscribedToTopic,
            false => ErrorCode::None,
        };
        let outcomes: Vec<ErrorCode> = partitions.iter().map(outcome).collect();
        let forgotten = partitions.iter().zip(&outcomes).filter(|((topic, partition), code)| {
            code.is_none() && group.offsets.get(topic, *partition).is_some()
        });
        let records: Vec<Record> = forgotten
            .map(|((topic, partition), _)| tombstone(group_id, topic, *partition))
            .collect();
        self.write(&records, turn)?;
        Ok(outcomes)
    }

    /// DeleteGroups: forgets a group without members, and its offsets.
    pub(crate) fn delete_group(
        &mut self,
        group_id: &KafkaStr,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let group = self.get(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let offsets = group.offsets.iter();
        let mut records: Vec<Record> =
            offsets.map(|(topic, partition, _)| tombstone(group_id, topic, partition)).collect();
        records.extend(group.tombstones());
        self.write(&records, turn)?;
        self.forget(group_id);
        Ok(())
    }

    /// Topics are gone, and with them what this group knew of them.
    pub(crate) fn delete_topics(
        &mut self,
        group_id: &KafkaStr,
        is_gone: impl Fn(&KafkaStr, uuid::Uuid) -> bool,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let Some(group) = self.get(group_id) else { return Ok(()) };
        let gone = group.offsets.iter().filter(|(topic, _, at)| is_gone(topic, at.topic_id));
        let records: Vec<Record> =
            gone.map(|(topic, partition, _)| tombstone(group_id, topic, partition)).collect();
        self.write(&records, turn)
    }

    /// Writes tombstones and takes them over. What fails half-way is done as far as it came.
    pub(super) fn write(
        &mut self,
        records: &[Record],
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        for together in records.chunks(TOMBSTONES_TOGETHER) {
            turn.journal.append(together)?;
            for record in together {
                self.replay(record);
            }
        }
        Ok(())
    }
}
