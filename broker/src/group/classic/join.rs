//! JoinGroup: who may enter, who must ask again with an id, and when joining starts a rebalance.
//!
//! `groups` calls `join` with a waiter, which is answered here at once or by `rebalance` when the
//! generation begins. `joined` always counts the members that wait.

use thalweg_protocol::messages::JoinGroupResponse;
use thalweg_protocol::messages::join_group::JoinGroupResponseMember;
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::member::{Member, MemberInfo};
use super::{ClassicGroup, State};
use crate::group::turn::{Turn, Waiter};

/// How long a member that has never been answered may wait: nobody sees its connection close.
const NEW_MEMBER_PATIENCE_MS: i32 = 5 * 60 * 1000;
/// Metadata that all members of a group together may bring. What is written of it must fit a
/// batch, which is a good deal smaller.
const METADATA_BYTES_MAX: usize = 64 << 20;

/// A JoinGroup request, as far as the group cares. Nothing in it holds on to the request's frame.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Empty for a member that is new.
    pub(crate) member_id: KafkaStr,
    /// The id that a new member gets.
    pub(crate) new_member_id: KafkaStr,
    pub(crate) protocol_type: KafkaStr,
    pub(crate) info: MemberInfo,
    /// Whether the client comes back with its new id before it is a member (KIP-394, version 4).
    pub(crate) asks_for_id_first: bool,
    /// Whether a leader can be told to leave the assignment alone (KIP-814, version 9).
    pub(crate) can_skip_assignment: bool,
    pub(crate) reason: Option<KafkaStr>,
}

impl Join {
    fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("none given")
    }
}

/// A JoinGroup that fails.
pub(crate) fn refused(member_id: &KafkaStr, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        member_id: member_id.clone(),
        protocol_name: None,
        ..JoinGroupResponse::default()
    }
}

impl ClassicGroup {
    /// A member joins; `waiter` is answered now or when the generation is complete.
    pub(crate) fn join(&mut self, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        let is_new = join.member_id.is_empty();
        if !self.has_room_for(&join, turn) {
            let code = ErrorCode::GroupMaxSizeReached;
            turn.answer_join(waiter, refused(&KafkaStr::default(), code));
            if self.members.contains_key(&join.member_id) {
                self.remove_member(&join.member_id, ErrorCode::UnknownMemberId, turn);
                self.on_members_lost(turn);
            }
        } else if !self.supports(&join.protocol_type, &join.info.protocols) {
            let code = ErrorCode::InconsistentGroupProtocol;
            turn.answer_join(waiter, refused(&join.member_id, code));
        } else if is_new {
            self.join_new(join, waiter, turn);
        } else if join.info.instance_id.is_none() && self.pending.contains(&join.member_id) {
            let member_id = join.member_id.clone();
            self.add_member(member_id, join, waiter, turn);
        } else {
            self.join_existing(join, waiter, turn);
        }
    }

    /// A member that was in already stays in; others come in while there is room. In a rebalance
    /// the first to join again have the room.
    fn has_room_for(&self, join: &Join, turn: &Turn<'_>) -> bool {
        let (member, max) = (self.members.get(&join.member_id), turn.settings.members_max);
        let had = member.map_or(0, |member| member.info.metadata_bytes());
        if self.metadata_bytes - had + join.info.metadata_bytes() > METADATA_BYTES_MAX {
            return false;
        }
        match self.state {
            State::Empty => true,
            State::PreparingRebalance { .. } => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.joined < max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < max
            }
        }
    }

    fn join_new(&mut self, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        let instance_id = join.info.instance_id.as_ref();
        if let Some(old_id) = instance_id.and_then(|id| self.static_members.get(id)) {
            let old_id = old_id.clone();
            self.replace_static_member(&old_id, join, waiter, turn);
        } else if instance_id.is_none() && join.asks_for_id_first {
            self.sessions.set(&join.new_member_id, turn.after_ms(join.info.session_timeout_ms));
            self.pending.insert(join.new_member_id.clone());
            let code = ErrorCode::MemberIdRequired;
            turn.answer_join(waiter, refused(&join.new_member_id, code));
        } else {
            let member_id = join.new_member_id.clone();
            self.add_member(member_id, join, waiter, turn);
        }
    }

    fn add_member(&mut self, id: KafkaStr, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        tracing::info!(group = %self.id, member = %id, reason = join.reason(), "joining");
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if let State::PreparingRebalance { initial: Some(initial), .. } = &mut self.state {
            initial.member_added = true;
        }
        self.counts.add(&join.info.protocols);
        self.metadata_bytes += join.info.metadata_bytes();
        if let Some(instance_id) = &join.info.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        let mut member = Member::new(join.info);
        member.awaiting_join = Some(waiter);
        self.joined += 1;
        self.sessions.set(&id, turn.after_ms(NEW_MEMBER_PATIENCE_MS));
        self.members.insert(id, member);
        self.rebalance_or_complete(turn);
    }

    fn join_existing(&mut self, join: Join, waiter: Waiter, turn: &mut Turn<'_>) {
        let id = join.member_id.clone();
        if let Err(code) = self.check_member(&id, join.info.instance_id.as_ref()) {
            turn.answer_join(waiter, refused(&id, code));
            return;
        }
        let same = |member: &Member| member.info.protocols == join.info.protocols;
        let unchanged = self.members.get(&id).is_some_and(same);
        match self.state {
            State::PreparingRebalance { .. } => {
                self.update_member(&id, join.info, Some(waiter), turn);
                self.maybe_complete_join(turn);
            }
            // It may not have had our first answer: it gets the same again.
            State::CompletingRebalance if unchanged => {
                turn.answer_join(waiter, self.joined_response(&id));
            }
            // A follower that has nothing new to say.
            State::Stable if unchanged && !self.is_leader(&id) => {
                turn.answer_join(waiter, self.joined_response(&id));
            }
            State::CompletingRebalance | State::Stable => {
                tracing::info!(group = %self.id, member = %id, reason = join.reason(),
                    leader = self.is_leader(&id), "joining again");
                self.update_member(&id, join.info, Some(waiter), turn);
                self.prepare_rebalance(turn);
            }
            State::Empty => {
                turn.answer_join(waiter, refused(&id, ErrorCode::UnknownMemberId));
            }
        }
    }

    /// Takes over what a member says of itself now, and the request it waits with.
    pub(super) fn update_member(
        &mut self,
        id: &KafkaStr,
        info: MemberInfo,
        waiter: Option<Waiter>,
        turn: &mut Turn<'_>,
    ) {
        let Some(member) = self.members.get_mut(id) else { return };
        self.counts.remove(&member.info.protocols);
        self.counts.add(&info.protocols);
        self.metadata_bytes =
            self.metadata_bytes - member.info.metadata_bytes() + info.metadata_bytes();
        // A static member stays one, also when it forgets to say so.
        let instance_id = member.info.instance_id.take();
        member.info = MemberInfo { instance_id, ..info };
        let before = std::mem::replace(&mut member.awaiting_join, waiter);
        self.joined = self.joined + usize::from(waiter.is_some()) - usize::from(before.is_some());
        // The client gave up that request, or its connection, and sent this one.
        if let Some(before) = before {
            turn.answer_join(before, refused(id, ErrorCode::RebalanceInProgress));
        }
    }

    /// The current generation, as a member is told of it; only the leader hears of the others.
    pub(super) fn joined_response(&self, member_id: &KafkaStr) -> JoinGroupResponse {
        let members = if self.is_leader(member_id) { self.member_list() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.clone(),
            members,
            ..JoinGroupResponse::default()
        }
    }

    /// All members with their metadata for the strategy in use.
    pub(super) fn member_list(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.clone().unwrap_or_default();
        let member = |(id, member): (&KafkaStr, &Member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.info.instance_id.clone(),
            metadata: member.info.metadata(&protocol),
            ..JoinGroupResponseMember::default()
        };
        self.members.iter().map(member).collect()
    }

    pub(super) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::PreparingRebalance { .. } => self.maybe_complete_join(turn),
            State::Empty | State::CompletingRebalance | State::Stable => {
                self.prepare_rebalance(turn);
            }
        }
    }
}
