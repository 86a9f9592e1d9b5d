//! ConsumerGroupHeartbeat: joining, staying, and one step towards the target assignment.
//!
//! What a request changes is drafted over the group as it is, written, and only then taken over:
//! nothing has happened where the journal refuses. A heartbeat without news writes nothing.

use std::collections::BTreeSet;

use thalweg_protocol::group_record::Record;
use thalweg_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::draft::Draft;
use super::member::{EPOCH_JOIN, EPOCH_LEAVE, EPOCH_STATIC_LEAVE, Member, MemberInfo, MemberState};
use super::partitions::{from_heartbeat, to_heartbeat};
use super::reconcile::Step;
use super::settings::ConsumerSettings;
use super::{ConsumerGroup, Refusal, refuse};
use crate::group::assignor::{Assignor, TopicPartition};
use crate::group::turn::Turn;

/// A request, and who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) version: i16,
    pub(crate) request: ConsumerGroupHeartbeatRequest,
    pub(crate) client_id: KafkaStr,
    pub(crate) client_host: KafkaStr,
    /// The id of a member that brings none, which is so at version 0.
    pub(crate) new_member_id: KafkaStr,
}

impl Heartbeat {
    /// Whether the group is to be made if there is none.
    pub(crate) fn joins(&self) -> bool {
        self.request.member_epoch == EPOCH_JOIN
    }

    /// Refuses what can be refused without knowing the group.
    pub(crate) fn check(&self, settings: &ConsumerSettings) -> Result<(), Refusal> {
        let request = &self.request;
        let invalid = |message: &'static str| refuse(ErrorCode::InvalidRequest, message);
        let is_empty = |text: &Option<KafkaStr>| text.as_ref().is_some_and(|text| text.is_empty());
        let epoch = request.member_epoch;
        let needs_id = self.version >= 1 || epoch > EPOCH_JOIN || epoch == EPOCH_LEAVE;
        if needs_id && request.member_id.is_empty() {
            return invalid("MemberId can't be empty.");
        }
        if request.group_id.is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if is_empty(&request.instance_id) {
            return invalid("InstanceId can't be empty.");
        }
        if is_empty(&request.rack_id) {
            return invalid("RackId can't be empty.");
        }
        if epoch == EPOCH_JOIN {
            if request.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in the first request.");
            }
            if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            let names_nothing = request.subscribed_topic_names.is_none();
            if names_nothing && request.subscribed_topic_regex.is_none() {
                return invalid("A subscription must be provided when (re-)joining.");
            }
        }
        if epoch == EPOCH_STATIC_LEAVE && request.instance_id.is_none() {
            return invalid("InstanceId can't be null.");
        }
        if epoch < EPOCH_STATIC_LEAVE {
            return invalid("MemberEpoch is invalid.");
        }
        self.check_assignor(settings)
    }

    fn check_assignor(&self, settings: &ConsumerSettings) -> Result<(), Refusal> {
        let Some(name) = &self.request.server_assignor else { return Ok(()) };
        let known = |assignor: &Assignor| assignor.name() == name.as_str();
        if settings.assignors.iter().any(known) {
            return Ok(());
        }
        let names: Vec<&str> = settings.assignors.iter().map(|it| it.name()).collect();
        let names = names.join(", ");
        let message = format!("The assignor {name} is not supported; these are: {names}.");
        refuse(ErrorCode::UnsupportedAssignor, message)
    }

    /// The member as it says it is now: what it leaves out has not changed.
    fn info(&self, before: &MemberInfo) -> MemberInfo {
        let request = &self.request;
        let or = |new: &Option<KafkaStr>, old: &Option<KafkaStr>| new.clone().or(old.clone());
        MemberInfo {
            instance_id: or(&request.instance_id, &before.instance_id),
            rack_id: or(&request.rack_id, &before.rack_id),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topic_names: match &request.subscribed_topic_names {
                Some(names) => names.iter().cloned().collect(),
                None => before.topic_names.clone(),
            },
            // Empty is no pattern any more.
            topic_regex: or(&request.subscribed_topic_regex, &before.topic_regex)
                .filter(|pattern| !pattern.is_empty()),
            rebalance_timeout_ms: match request.rebalance_timeout_ms {
                -1 => before.rebalance_timeout_ms,
                given => given.max(0),
            },
            assignor: or(&request.server_assignor, &before.assignor),
            classic: None,
        }
    }

    /// Whether the member said everything, as it does when it is not sure what we know.
    fn is_full(&self) -> bool {
        let request = &self.request;
        let subscribes =
            request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
        self.joins()
            || (request.rebalance_timeout_ms != -1
                && subscribes
                && request.topic_partitions.is_some())
    }
}

impl ConsumerGroup {
    /// A member joins, is alive, or leaves.
    pub(crate) fn heartbeat(
        &mut self,
        heartbeat: &Heartbeat,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        if heartbeat.request.member_epoch < EPOCH_JOIN {
            return self.leave(heartbeat, turn);
        }
        self.stay(heartbeat, &[], turn)
    }

    /// A member joins or is alive. `prior` ends what the group was before, and goes into the log
    /// together with what begins.
    pub(crate) fn stay(
        &mut self,
        heartbeat: &Heartbeat,
        prior: &[Record],
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let owned = heartbeat.request.topic_partitions.as_deref().map(from_heartbeat);
        let mut draft = Draft::new(self, turn.image);
        let id = draft.admit(heartbeat, owned.as_ref(), turn)?;
        let before = draft.member(&id).cloned().unwrap_or_default();
        let subscribed = draft.subscribe(&id, |before| heartbeat.info(before), turn)?;
        if draft.may_assign(turn) {
            draft.update_targets(turn);
        }
        draft.reconcile(&id, owned.as_ref(), subscribed);

        let after = draft.member(&id).cloned().unwrap_or_default();
        let refreshed = draft.may_refresh(turn);
        let assigned = draft.assignment_epoch != self.assignment_epoch;
        let records = draft.records;
        self.commit(prior, &records, turn)?;
        self.image_seen = Some(turn.image.applied);
        if refreshed {
            self.image_resolved = Some(turn.image.applied);
            self.regexes_resolved_ms = Some(turn.now_ms);
        }
        if assigned {
            self.assigned_ms = Some(turn.now_ms);
        }
        self.restart_timers(&id, &before, &after, turn);
        let heartbeat_interval_ms = self.heartbeat_interval_ms(turn);
        Ok(ConsumerGroupHeartbeatResponse {
            heartbeat_interval_ms,
            ..respond(id, heartbeat, &before, &after)
        })
    }

    /// When the member is to be heard of next: where an assignment is due before the usual time, as
    /// soon as it is.
    fn heartbeat_interval_ms(&self, turn: &Turn<'_>) -> i32 {
        let usual_ms = turn.settings.consumer.heartbeat_interval_ms;
        match self.assignment_due_in(turn).filter(|_| self.epoch > self.assignment_epoch) {
            Some(wait_ms) => i32::try_from(wait_ms).unwrap_or(i32::MAX).min(usual_ms),
            None => usual_ms,
        }
    }

    fn restart_timers(&mut self, id: &KafkaStr, before: &Member, after: &Member, turn: &Turn<'_>) {
        // The key that the group keeps, instead of a slice of the request.
        let Some((id, _)) = self.members.get_key_value(id) else { return };
        let session_ms = turn.settings.consumer.session_timeout_ms;
        self.sessions.set(id, turn.after_ms(session_ms));
        if after.current.state != MemberState::Unrevoked {
            self.revocations.remove(id);
        } else if before.current != after.current {
            self.revocations.set(id, turn.after_ms(after.info.rebalance_timeout_ms));
        }
    }
}

impl Draft<'_> {
    /// The id of the member that the heartbeat is from, which is made or replaced if it joins.
    fn admit(
        &mut self,
        heartbeat: &Heartbeat,
        owned: Option<&BTreeSet<TopicPartition>>,
        turn: &Turn<'_>,
    ) -> Result<KafkaStr, Refusal> {
        let request = &heartbeat.request;
        let id = match request.member_id.is_empty() {
            true => &heartbeat.new_member_id,
            false => &request.member_id,
        };
        let Some(instance_id) = &request.instance_id else {
            match self.group.members.get(id) {
                Some(member) => member.check_epoch(request.member_epoch, owned)?,
                None if heartbeat.joins() => self.check_size(turn)?,
                None => self.group.member(id).map(drop)?,
            }
            return Ok(id.clone());
        };
        if !heartbeat.joins() {
            let id = self.group.static_member(instance_id, id)?;
            self.group.member(id)?.check_epoch(request.member_epoch, owned)?;
            return Ok(id.clone());
        }
        let Some(old_id) = self.group.static_members.get(instance_id) else {
            self.check_size(turn)?;
            return Ok(id.clone());
        };
        if old_id == id {
            // The answer to its first request was lost: nobody but itself knows its id.
            return Ok(id.clone());
        }
        let old = self.group.member(old_id)?;
        if !old.is_classic() && old.current.epoch != EPOCH_STATIC_LEAVE {
            let message = format!("The instance {instance_id} is the member {old_id} still.");
            return refuse(ErrorCode::UnreleasedInstanceId, message);
        }
        self.replace(old_id, id);
        Ok(id.clone())
    }

    pub(super) fn check_size(&self, turn: &Turn<'_>) -> Result<(), Refusal> {
        let members_max = turn.settings.consumer.members_max;
        if self.group.members.len() < members_max {
            return Ok(());
        }
        let message = format!("The group has its {members_max} members already.");
        refuse(ErrorCode::GroupMaxSizeReached, message)
    }

    /// Takes over what the member says of itself, and sends the group to its next epoch if that
    /// or the topics call for another assignment. Returns whether the member's subscription is
    /// another.
    pub(super) fn subscribe(
        &mut self,
        id: &KafkaStr,
        info: impl FnOnce(&MemberInfo) -> MemberInfo,
        turn: &Turn<'_>,
    ) -> Result<bool, Refusal> {
        let before = self.member(id).map(|member| member.info.clone());
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        let info = info(&before);
        let regex_changed = info.topic_regex != before.topic_regex;
        let changed = regex_changed || info.topic_names != before.topic_names;
        let votes_otherwise = info.assignor != before.assignor;
        self.put_info(id, info);

        let topics_changed = self.group.image_seen != Some(self.image.applied);
        let mut bump = self.group.epoch == 0 || is_new || changed || votes_otherwise;
        if regex_changed || self.may_refresh(turn) {
            bump |= self.update_regexes(turn)?;
        }
        if bump || topics_changed {
            let hash = self.metadata_hash();
            if bump || hash != self.group.metadata_hash {
                self.bump_epoch(hash);
            }
        }
        Ok(changed && !is_new)
    }

    /// Moves the member one step towards its target.
    pub(super) fn reconcile(
        &mut self,
        id: &KafkaStr,
        owned: Option<&BTreeSet<TopicPartition>>,
        subscription_changed: bool,
    ) {
        let Some(member) = self.member(id) else { return };
        let nothing = BTreeSet::new();
        let topics = std::cell::OnceCell::new();
        let step = Step {
            assignment_epoch: self.assignment_epoch,
            target: self.target(id).unwrap_or(&nothing),
            owned,
            is_subscribed: &|topic_id: Uuid| {
                topics.get_or_init(|| self.topic_ids(&member.info)).contains(&topic_id)
            },
            is_free: &|at| self.is_free(at, id),
            subscription_changed,
        };
        if let Some(next) = step.from(&member.current) {
            self.put_current(id, next);
        }
    }
}

fn respond(
    id: KafkaStr,
    heartbeat: &Heartbeat,
    before: &Member,
    after: &Member,
) -> ConsumerGroupHeartbeatResponse {
    let (before, after) = (&before.current, &after.current);
    let is_news = heartbeat.is_full() || !before.assigned.keys().eq(after.assigned.keys());
    let assignment = is_news.then(|| Assignment {
        topic_partitions: to_heartbeat(&after.assigned),
        ..Assignment::default()
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(id),
        member_epoch: after.epoch,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
