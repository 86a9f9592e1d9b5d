//! OffsetCommit: checked against the group, written as one batch, remembered at once.

use thalweg_protocol::group_record::{OffsetCommitValue, Record};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::key;
use crate::group::assignor::TopicPartition;
use crate::group::groups::{Group, GroupKind, Groups};
use crate::group::turn::Turn;

/// Offsets that a member, or someone outside any group, wants kept.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) group_id: KafkaStr,
    pub(crate) member_id: KafkaStr,
    pub(crate) instance_id: Option<KafkaStr>,
    /// A classic generation or a consumer group's member epoch; −1 outside of groups.
    pub(crate) generation: i32,
    pub(crate) version: i16,
    pub(crate) offsets: Vec<NewOffset>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct NewOffset {
    pub(crate) topic: KafkaStr,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: KafkaStr,
    /// How long the client of version 2 to 4 wants it kept, −1 for the group's rule.
    pub(crate) retention_ms: i64,
}

/// The first version that knows GROUP_ID_NOT_FOUND.
const GROUP_NOT_FOUND_SINCE: i16 = 9;

impl Groups {
    /// Commits offsets; the outcome of each, or why all are refused.
    pub(crate) fn commit(
        &mut self,
        commit: &Commit,
        turn: &mut Turn<'_>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        match self.get_mut(&commit.group_id) {
            Some(group) => check(group, commit, turn)?,
            // A consumer that manages itself, or an admin: the group begins with its offsets.
            None if commit.generation < 0 => {}
            None if commit.version >= GROUP_NOT_FOUND_SINCE => {
                return Err(ErrorCode::GroupIdNotFound);
            }
            None => return Err(ErrorCode::IllegalGeneration),
        }
        let metadata_max = turn.settings.offset_metadata_bytes_max;
        let outcome = |offset: &NewOffset| match offset.metadata.len() > metadata_max {
            true => ErrorCode::OffsetMetadataTooLarge,
            false => ErrorCode::None,
        };
        let outcomes: Vec<ErrorCode> = commit.offsets.iter().map(outcome).collect();
        let accepted = commit.offsets.iter().zip(&outcomes).filter(|(_, code)| code.is_none());
        let records: Vec<Record> =
            accepted.map(|(offset, _)| record(&commit.group_id, offset, turn.wall_ms)).collect();
        if !records.is_empty() {
            turn.journal.append(&records).map_err(|code| match code {
                ErrorCode::UnknownServerError => ErrorCode::InvalidCommitOffsetSize,
                code => code,
            })?;
            for record in &records {
                self.replay(record);
            }
        }
        Ok(outcomes)
    }
}

fn check(group: &mut Group, commit: &Commit, turn: &Turn<'_>) -> Result<(), ErrorCode> {
    match &mut group.kind {
        GroupKind::Classic(classic) => {
            let instance_id = commit.instance_id.as_ref();
            classic.check_commit(&commit.member_id, instance_id, commit.generation)?;
            classic.on_commit(&commit.member_id, turn);
            Ok(())
        }
        GroupKind::Consumer(consumer) => {
            let partitions = commit.offsets.iter().map(|offset| TopicPartition {
                topic_id: offset.topic_id,
                partition: offset.partition,
            });
            let (member_id, epoch) = (&commit.member_id, commit.generation);
            let checked = consumer.check_commit(commit.version, member_id, epoch, partitions);
            checked.map_err(|refusal| refusal.code)
        }
    }
}

fn record(group_id: &KafkaStr, offset: &NewOffset, wall_ms: i64) -> Record {
    let value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp: wall_ms,
        expire_timestamp: match offset.retention_ms {
            -1 => -1,
            retention_ms => wall_ms.saturating_add(retention_ms),
        },
        topic_id: offset.topic_id,
        ..OffsetCommitValue::default()
    };
    Record::OffsetCommit(key(group_id, &offset.topic, offset.partition), Some(value))
}
