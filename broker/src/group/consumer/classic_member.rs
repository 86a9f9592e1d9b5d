//! Members of a consumer group that still speak the classic protocol, while an application moves
//! from one to the other (KIP-848, "online migration"). To them the broker is a leader that they
//! never see: JoinGroup is a full heartbeat, SyncGroup fetches the assignment, and Heartbeat tells
//! them to join again when there is something to give up or to get. Kafka's
//! `classicGroup…ToConsumerGroup` set the rules.

use thalweg_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::draft::Draft;
use super::embedded::{Subscription, existing, write_assignment};
use super::member::{ClassicInfo, Member, MemberInfo, MemberState};
use super::{ConsumerGroup, Refusal};
use crate::group::classic::{CONSUMER, Join, Leave, Sync, refused_join, refused_sync};
use crate::group::turn::{Turn, Waiter};

impl ConsumerGroup {
    /// JoinGroup, which is answered at once.
    pub(crate) fn join(&mut self, join: &Join, waiter: Waiter, turn: &mut Turn<'_>) {
        let joined = self.try_join(join, turn);
        let refused = |refusal: Refusal| refused_join(&join.member_id, refusal.code);
        turn.answer_join(waiter, joined.unwrap_or_else(refused));
    }

    fn try_join(&mut self, join: &Join, turn: &mut Turn<'_>) -> Result<JoinGroupResponse, Refusal> {
        let inconsistent = Refusal::from(ErrorCode::InconsistentGroupProtocol);
        let first = join.info.protocols.first().filter(|_| self.supports(join));
        let first = first.ok_or_else(|| inconsistent.clone())?;
        let is_static = join.info.instance_id.is_some();
        let id = match join.member_id.is_empty() {
            true if !is_static && join.asks_for_id_first => {
                let code = ErrorCode::MemberIdRequired;
                return Ok(refused_join(&join.new_member_id, code));
            }
            true => join.new_member_id.clone(),
            false => join.member_id.clone(),
        };
        let subscription = Subscription::parse(&first.metadata).ok_or(inconsistent)?;
        let owned = existing(&subscription.owned, turn.image);

        let mut draft = Draft::new(self, turn.image);
        draft.admit_classic(&id, join.info.instance_id.as_ref(), turn)?;
        let subscribed = draft.subscribe(&id, |_| info(join, &subscription), turn)?;
        // A classic member waits for its assignment, and asks again at once if it gets an old one.
        draft.update_targets(turn);
        draft.reconcile(&id, Some(&owned), subscribed);
        let assigned = draft.assignment_epoch != draft.group.assignment_epoch;
        let records = draft.records;
        self.commit(&[], &records, turn)?;
        if assigned {
            self.assigned_ms = Some(turn.now_ms);
        }
        self.image_seen = Some(turn.image.applied);

        let Some((id, member)) = self.members.get_key_value(&id) else {
            return Err(ErrorCode::UnknownMemberId.into());
        };
        self.sessions.set(id, turn.after_ms(join.info.session_timeout_ms));
        // By then it must have asked for its assignment.
        self.revocations.set(id, turn.after_ms(join.info.rebalance_timeout_ms));
        Ok(JoinGroupResponse {
            generation_id: member.current.epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol_name: Some(first.name.clone()),
            member_id: id.clone(),
            ..JoinGroupResponse::default()
        })
    }

    /// Whether the one who joins could also be led by each of the classic members there are.
    fn supports(&self, join: &Join) -> bool {
        let mut classic = self.members.values().filter_map(|member| member.info.classic.as_ref());
        let knows = |info: &ClassicInfo| {
            let names = info.protocols.iter().map(|(name, _)| name);
            names.into_iter().any(|name| join.info.protocols.iter().any(|it| it.name == *name))
        };
        join.protocol_type == CONSUMER && classic.all(knows)
    }

    /// SyncGroup, which is answered at once.
    pub(crate) fn sync(&mut self, sync: &Sync, waiter: Waiter, turn: &mut Turn<'_>) {
        let synced = self.try_sync(sync, turn);
        turn.answer_sync(waiter, synced.unwrap_or_else(refused_sync));
    }

    fn try_sync(&mut self, sync: &Sync, turn: &Turn<'_>) -> Result<SyncGroupResponse, ErrorCode> {
        let id =
            self.classic_member(&sync.member_id, sync.instance_id.as_ref(), sync.generation)?;
        let member = self.members.get(&id).ok_or(ErrorCode::UnknownMemberId)?;
        let first = member.info.classic.as_ref().and_then(|classic| classic.protocols.first());
        let (name, metadata) = first.ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let differs = |given: &Option<KafkaStr>, ours: &str| {
            given.as_ref().is_some_and(|given| given.as_str() != ours)
        };
        if differs(&sync.protocol_type, CONSUMER) || differs(&sync.protocol_name, name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // Whoever is to give something up has to hear of that first.
        let is_behind = self.epoch > member.current.epoch;
        if is_behind && member.current.state != MemberState::Unrevoked {
            self.expect_to_join(&id, turn);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let version = Subscription::parse(metadata).map_or(0, |it| it.version);
        let assignment = write_assignment(version, member.current.assigned.keys(), turn.image);
        let response = SyncGroupResponse {
            protocol_type: Some(CONSUMER.into()),
            protocol_name: Some(name.clone()),
            assignment,
            ..SyncGroupResponse::default()
        };
        self.revocations.remove(&id);
        self.restart_classic_session(&id, turn);
        Ok(response)
    }

    /// Heartbeat. REBALANCE_IN_PROGRESS tells the member to join again.
    pub(crate) fn classic_heartbeat(
        &mut self,
        member_id: &KafkaStr,
        instance_id: Option<&KafkaStr>,
        generation: i32,
        turn: &Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let id = self.classic_member(member_id, instance_id, generation)?;
        self.restart_classic_session(&id, turn);
        let member = self.members.get(&id).ok_or(ErrorCode::UnknownMemberId)?;
        let has_news = match member.current.state {
            MemberState::Unrevoked => true,
            MemberState::Unreleased => !self.waits_for_others(&id, member),
            MemberState::Stable | MemberState::Unknown => false,
        };
        if has_news || member.current.epoch < self.epoch {
            self.expect_to_join(&id, turn);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup: the outcome of each member. An admin may send any static member away.
    pub(crate) fn leave_classic(
        &mut self,
        leaves: &[Leave],
        turn: &mut Turn<'_>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let mut gone: Vec<KafkaStr> = Vec::new();
        let mut outcomes = Vec::new();
        for leave in leaves {
            let id = match &leave.instance_id {
                None => self.member(&leave.member_id).map(|_| leave.member_id.clone()),
                Some(name) if leave.member_id.is_empty() => {
                    let id = self.static_members.get(name).cloned();
                    id.ok_or_else(|| ErrorCode::UnknownMemberId.into())
                }
                Some(name) => self.static_member(name, &leave.member_id).cloned(),
            };
            outcomes.push(match id {
                Err(refusal) => refusal.code,
                Ok(id) if gone.contains(&id) => ErrorCode::UnknownMemberId,
                Ok(id) => {
                    tracing::info!(group = %self.id, member = %id,
                        reason = leave.reason.as_deref().unwrap_or("none given"), "leaving");
                    gone.push(id);
                    ErrorCode::None
                }
            });
        }
        if !gone.is_empty() {
            self.remove_members(&gone, turn)?;
        }
        Ok(outcomes)
    }

    /// The id of a member that speaks the classic protocol and states the right generation.
    fn classic_member(
        &self,
        member_id: &KafkaStr,
        instance_id: Option<&KafkaStr>,
        generation: i32,
    ) -> Result<KafkaStr, ErrorCode> {
        if let Some(instance_id) = instance_id {
            self.static_member(instance_id, member_id).map_err(|refusal| refusal.code)?;
        }
        let member = self.members.get_key_value(member_id);
        let (id, member) =
            member.filter(|(_, it)| it.is_classic()).ok_or(ErrorCode::UnknownMemberId)?;
        if member.current.epoch != generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(id.clone())
    }

    /// Whether something that the member is to have is still with somebody else.
    fn waits_for_others(&self, id: &KafkaStr, member: &Member) -> bool {
        let target = self.targets.get(id).into_iter().flatten();
        let mut missing = target.filter(|at| !member.current.assigned.contains_key(at));
        missing.any(|at| self.owners.get(at).is_some_and(|owner| owner != id))
    }

    /// The member was told to join again; it has as long as it said it would need.
    fn expect_to_join(&mut self, id: &KafkaStr, turn: &Turn<'_>) {
        let Some(member) = self.members.get(id) else { return };
        if !self.revocations.contains(id) {
            self.revocations.set(id, turn.after_ms(member.info.rebalance_timeout_ms));
        }
    }

    pub(super) fn restart_classic_session(&mut self, id: &KafkaStr, turn: &Turn<'_>) {
        let Some(member) = self.members.get(id) else { return };
        if let Some(classic) = &member.info.classic {
            self.sessions.set(id, turn.after_ms(classic.session_timeout_ms));
        }
    }
}

/// What a member that joins by the classic protocol says of itself.
fn info(join: &Join, subscription: &Subscription) -> MemberInfo {
    let said = &join.info;
    let protocols = said.protocols.iter().map(|it| (it.name.clone(), it.metadata.clone()));
    MemberInfo {
        instance_id: said.instance_id.clone(),
        rack_id: subscription.rack_id.clone(),
        client_id: said.client_id.clone(),
        client_host: said.client_host.clone(),
        topic_names: subscription.topics.clone(),
        topic_regex: None,
        rebalance_timeout_ms: said.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicInfo {
            session_timeout_ms: said.session_timeout_ms,
            protocols: protocols.collect(),
        }),
    }
}

impl Draft<'_> {
    /// Makes room for the member that joins: a new one, itself, or the static one of its name.
    fn admit_classic(
        &mut self,
        id: &KafkaStr,
        instance_id: Option<&KafkaStr>,
        turn: &Turn<'_>,
    ) -> Result<(), Refusal> {
        let group = self.group;
        match instance_id.and_then(|name| group.static_members.get(name)) {
            Some(old_id) if old_id != id => self.replace(old_id, id),
            Some(_) => {}
            None if group.members.contains_key(id) => {}
            None => self.check_size(turn)?,
        }
        Ok(())
    }
}
