//! Where the two protocols meet: which of them a group speaks, and when it goes over to the other.
//!
//! The first member decides. A classic group of consumers that has members goes over when one of
//! the newer protocol joins, and comes back when the last of these is gone. Offsets stay as they
//! are.

use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::ConsumerGroupHeartbeatResponse;
use thalweg_protocol::messages::consumer_group_describe::DescribedGroup;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::classic::ClassicGroup;
use super::consumer::{ConsumerGroup, Heartbeat, Refusal};
use super::groups::{Group, GroupKind, Groups};
use super::turn::Turn;

impl Groups {
    /// ConsumerGroupHeartbeat. A group begins with its first member, and so does a group that had
    /// only offsets, or members of the other protocol that are all gone.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        id: &KafkaStr,
        heartbeat: &Heartbeat,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        heartbeat.check(&turn.settings.consumer)?;
        let mut generation = 0;
        let prior = match self.get_mut(id).map(|group| &mut group.kind) {
            Some(GroupKind::Consumer(consumer)) => {
                let response = consumer.heartbeat(heartbeat, turn)?;
                self.maybe_downgrade(id, turn);
                return Ok(response);
            }
            None if heartbeat.joins() => Vec::new(),
            Some(GroupKind::Classic(classic)) if heartbeat.joins() && classic.is_empty() => {
                generation = classic.generation();
                classic.has_history().then(|| classic.tombstone()).into_iter().collect()
            }
            Some(GroupKind::Classic(_)) if heartbeat.joins() => {
                return self.upgrade(id, heartbeat, turn);
            }
            Some(GroupKind::Classic(_)) => return not_found(id, "is not a consumer group"),
            None => return not_found(id, "does not exist"),
        };
        let mut consumer = ConsumerGroup::continuing(id.clone(), generation);
        let response = consumer.stay(heartbeat, &prior, turn)?;
        self.entry(id).kind = GroupKind::Consumer(consumer);
        Ok(response)
    }

    /// The first member of the newer protocol joins a classic group that has members.
    fn upgrade(
        &mut self,
        id: &KafkaStr,
        heartbeat: &Heartbeat,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Some(group) = self.get_mut(id) else { return not_found(id, "does not exist") };
        let GroupKind::Classic(classic) = &mut group.kind else {
            return not_found(id, "is not a classic group");
        };
        let settings = &turn.settings.consumer;
        if !settings.migration.upgrade || classic.members().count() > settings.members_max {
            return not_found(id, "is a classic group and may not become a consumer group");
        }
        let Some((mut consumer, prior)) = ConsumerGroup::from_classic(classic, turn) else {
            return not_found(id, "is a classic group, not all of whose members are consumers");
        };
        let response = consumer.stay(heartbeat, &prior, turn)?;
        tracing::info!(group = %id, "the first member of the consumer protocol is here");
        classic.hand_over(turn);
        group.kind = GroupKind::Consumer(consumer);
        Ok(response)
    }

    /// ConsumerGroupDescribe of one group, if it is there and a consumer group.
    pub(crate) fn describe_consumer(&self, id: &str, turn: &Turn<'_>) -> Option<DescribedGroup> {
        match &self.get(id)?.kind {
            GroupKind::Consumer(consumer) => Some(consumer.describe(turn)),
            GroupKind::Classic(_) => None,
        }
    }

    /// Makes a consumer group that only has classic members left a classic one, if it may be. If
    /// that fails the group goes on as it is, until the next time.
    pub(super) fn maybe_downgrade(&mut self, id: &KafkaStr, turn: &mut Turn<'_>) {
        let Some(group) = self.get_mut(id) else { return };
        let GroupKind::Consumer(consumer) = &group.kind else { return };
        if !turn.settings.consumer.migration.downgrade || !consumer.is_all_classic() {
            return;
        }
        let Some((mut classic, records)) = consumer.to_classic(turn) else { return };
        if let Err(code) = turn.journal.append(&records) {
            tracing::warn!(group = %id, %code, "could not become a classic group yet");
            return;
        }
        tracing::info!(group = %id, "the last member of the consumer protocol is gone");
        classic.resume(turn);
        group.kind = GroupKind::Classic(classic);
    }

    /// Makes a consumer group without members a classic one, for a classic member that joins.
    pub(super) fn make_classic_if_empty(
        &mut self,
        id: &KafkaStr,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let Some(group) = self.get_mut(id) else { return Ok(()) };
        let GroupKind::Consumer(consumer) = &group.kind else { return Ok(()) };
        if !consumer.is_empty() {
            return Ok(());
        }
        turn.journal.append(&consumer.tombstones())?;
        let classic = ClassicGroup::continuing(id.clone(), consumer.epoch());
        group.kind = GroupKind::Classic(classic);
        Ok(())
    }
}

impl Group {
    /// Takes over a record of a consumer group; whatever the group was before, it is one now. The
    /// record that ends its epoch ends the group.
    pub(super) fn replay_consumer(&mut self, record: &Record) {
        match &mut self.kind {
            GroupKind::Consumer(_) if matches!(record, Record::ConsumerGroupMetadata(_, None)) => {
                self.kind = GroupKind::Classic(ClassicGroup::new(record.group_id().detached()));
            }
            GroupKind::Consumer(consumer) => consumer.replay(record),
            GroupKind::Classic(_) if record.is_tombstone() => {}
            GroupKind::Classic(_) => {
                let mut consumer = ConsumerGroup::new(record.group_id().detached());
                consumer.replay(record);
                self.kind = GroupKind::Consumer(consumer);
            }
        }
    }
}

fn not_found<T>(id: &KafkaStr, why: &str) -> Result<T, Refusal> {
    let message = format!("The group {id} {why}.").into();
    Err(Refusal { code: ErrorCode::GroupIdNotFound, message })
}
