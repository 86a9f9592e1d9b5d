//! Forgetting offsets because of their age: `offsets.retention.minutes` from the moment a group
//! became empty, or from the commit if the group never had members or no longer reads the topic
//! (KIP-211). An empty group without offsets is forgotten itself.

use thalweg_protocol::group_record::Record;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::{CommittedOffset, tombstone};
use crate::group::classic::Retention;
use crate::group::groups::{GroupKind, Groups};
use crate::group::turn::Turn;

impl Groups {
    /// Forgets what is too old in one group.
    pub(crate) fn expire(
        &mut self,
        group_id: &KafkaStr,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let Some(group) = self.get(group_id) else { return Ok(()) };
        let retention = match &group.kind {
            GroupKind::Classic(classic) => classic.retention(),
            GroupKind::Consumer(consumer) => consumer.retention(),
        };
        let expired = group
            .offsets
            .iter()
            .filter(|(topic, _, offset)| is_expired(&retention, topic, offset, turn));
        let mut records: Vec<Record> =
            expired.map(|(topic, partition, _)| tombstone(group_id, topic, partition)).collect();
        let all = records.len() == group.offsets.iter().count();
        let forgotten = all && group.is_idle();
        if forgotten {
            records.extend(group.tombstones());
        }
        if !records.is_empty() {
            tracing::info!(group = %group_id, offsets = records.len(), forgotten, "offsets expired");
        }
        self.write(&records, turn)?;
        if forgotten {
            self.forget(group_id);
        }
        Ok(())
    }
}

fn is_expired(
    retention: &Retention<'_>,
    topic: &str,
    offset: &CommittedOffset,
    turn: &Turn<'_>,
) -> bool {
    let since = match retention {
        Retention::Kept => return false,
        Retention::SinceCommit { unless_in: Some(topics) } if topics.contains(topic) => {
            return false;
        }
        Retention::SinceCommit { .. } => offset.commit_timestamp_ms,
        Retention::Since(since) => *since,
    };
    match offset.expire_timestamp_ms {
        -1 => turn.wall_ms.saturating_sub(since) >= turn.settings.offsets_retention_ms,
        expire_ms => turn.wall_ms >= expire_ms,
    }
}
