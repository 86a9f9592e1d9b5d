//! The classic group protocol as a pure state machine: JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
//! and what time does to members. Kafka's `ClassicGroup` and `GroupMetadataManager` set the rules.
//!
//! ```text
//! Empty ──join──► PreparingRebalance ──all joined, or time is up──► CompletingRebalance
//!   ▲                ▲   ▲   │ no members left                              │ the leader's
//!   └────────────────┼───┼───┘                                              ▼ assignment
//!                    │   └────── join, leave, silence, no sync ───────── Stable
//!                    └─────────────────────────────────────────────────────┘
//! ```
//!
//! A group that is dead is not there at all. Every waiter given to the machine is answered exactly
//! once. Only what stands in `to_record` survives a restart: a generation with its members and
//! assignment, or an empty group.

mod describe;
mod expiry;
mod handover;
mod heartbeat;
mod join;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod record;
mod static_member;
pub(crate) mod subscription;
mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use thalweg_protocol::{ErrorCode, KafkaStr};

use super::deadlines::Deadlines;
use super::turn::Turn;
use protocols::ProtocolCounts;

pub(crate) use describe::Retention;
pub(crate) use join::{Join, refused as refused_join};
pub(crate) use leave::Leave;
pub(crate) use member::{Member, MemberInfo, Protocol};
pub(crate) use sync::{Sync, refused as refused_sync};

/// Where a group stands, under Kafka's names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance {
        /// When those who have joined go on without the others.
        deadline: u64,
        /// Set while the group forms from nothing.
        initial: Option<InitialDelay>,
    },
    CompletingRebalance,
    Stable,
}

/// How much longer a new group may wait for more members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InitialDelay {
    /// Someone came since the deadline was set: it is put off once more.
    member_added: bool,
    remaining_ms: u64,
}

impl State {
    /// Kafka's name for the state.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance { .. } => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The protocol type of consumers; Kafka Connect's workers have another.
pub(crate) const CONSUMER: &str = "consumer";

/// A classic group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: KafkaStr,
    state: State,
    generation: i32,
    /// Unset until the first member: a group that only has offsets is of no type.
    protocol_type: Option<KafkaStr>,
    /// The strategy in use; unset while empty.
    protocol: Option<KafkaStr>,
    leader: Option<KafkaStr>,
    members: BTreeMap<KafkaStr, Member>,
    static_members: HashMap<KafkaStr, KafkaStr>,
    /// Ids that were given out and have not come back (KIP-394).
    pending: HashSet<KafkaStr>,
    /// Members that wait for their JoinGroup to be answered.
    joined: usize,
    counts: ProtocolCounts,
    metadata_bytes: usize,
    /// Topics that the members of this generation read; unknown if their metadata is not a
    /// consumer's.
    subscribed: Option<BTreeSet<KafkaStr>>,
    /// When the current state was entered, by the time of day; −1 if nobody knows.
    state_since_ms: i64,
    /// By when every member must have sent SyncGroup.
    sync_deadline: Option<u64>,
    sessions: Deadlines,
}

impl ClassicGroup {
    /// A group without members that has never had any.
    pub(crate) fn new(id: KafkaStr) -> ClassicGroup {
        ClassicGroup {
            id,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending: HashSet::new(),
            joined: 0,
            counts: ProtocolCounts::default(),
            metadata_bytes: 0,
            subscribed: None,
            state_since_ms: -1,
            sync_deadline: None,
            sessions: Deadlines::default(),
        }
    }

    /// A group that has no members left from when it was a consumer group: its generations go on
    /// where epochs were.
    pub(crate) fn continuing(id: KafkaStr, epoch: i32) -> ClassicGroup {
        ClassicGroup { generation: epoch, ..ClassicGroup::new(id) }
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether it has nothing that anyone could miss: no members, none on their way.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.pending.is_empty()
    }

    /// Whether it has had members, or has some.
    pub(crate) fn has_history(&self) -> bool {
        self.generation > 0 || !self.members.is_empty()
    }

    /// `consumer` for consumers; none for a group that only has offsets.
    pub(crate) fn protocol_type(&self) -> Option<&KafkaStr> {
        self.protocol_type.as_ref()
    }

    /// Whether its members are consumers, whose metadata we can read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|kind| *kind == CONSUMER)
    }

    /// Whether it reads `topic`. When in doubt, it does.
    pub(crate) fn reads_topic(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// When time has something to do here next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let rebalance = match self.state {
            State::PreparingRebalance { deadline, .. } => Some(deadline),
            _ => self.sync_deadline,
        };
        [rebalance, self.sessions.next()].into_iter().flatten().min()
    }

    /// Checks that the sender of a request is who it says it is.
    fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&KafkaStr>,
    ) -> Result<(), ErrorCode> {
        let known = match instance_id {
            Some(instance_id) => match self.static_members.get(instance_id) {
                Some(current) if *current != member_id => return Err(ErrorCode::FencedInstanceId),
                known => known.is_some(),
            },
            None => self.members.contains_key(member_id),
        };
        if known { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn check_generation(&self, generation: i32) -> Result<(), ErrorCode> {
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_ref().is_some_and(|leader| *leader == member_id)
    }

    fn enter(&mut self, state: State, turn: &Turn<'_>) {
        tracing::debug!(group = %self.id, from = self.state.name(), to = state.name(),
            generation = self.generation, "group");
        self.state = state;
        self.state_since_ms = turn.wall_ms;
    }

    /// Starts the member's session anew.
    fn restart_session(&mut self, member_id: &KafkaStr, turn: &Turn<'_>) {
        if let Some((member_id, member)) = self.members.get_key_value(member_id) {
            self.sessions.set(member_id, turn.after_ms(member.info.session_timeout_ms));
        }
    }

    /// The longest that any member asked the others to wait.
    fn rebalance_timeout_ms(&self) -> i32 {
        let timeouts = self.members.values().map(|member| member.info.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0)
    }

    fn all_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }
}

#[cfg(test)]
impl ClassicGroup {
    /// Panics unless everything that is kept twice says the same.
    pub(crate) fn check_invariants(&self) {
        let waiting = self.members.values().filter(|member| member.awaiting_join.is_some());
        assert_eq!(waiting.count(), self.joined);
        let bytes: usize = self.members.values().map(|member| member.info.metadata_bytes()).sum();
        assert_eq!(bytes, self.metadata_bytes);
        for (id, member) in &self.members {
            if let Some(name) = &member.info.instance_id {
                assert_eq!(self.static_members.get(name), Some(id), "{name} is someone else");
            }
            let waits_to_sync = member.awaiting_sync.is_some();
            assert!(!waits_to_sync || self.state == State::CompletingRebalance, "{id}");
        }
        let statics = self.members.values().filter(|member| member.info.instance_id.is_some());
        assert_eq!(statics.count(), self.static_members.len());
        let leader = self.leader.as_ref();
        assert_eq!(leader.is_some(), !self.members.is_empty(), "one leader, if any member");
        assert!(leader.is_none_or(|leader| self.members.contains_key(leader)));
        assert_eq!(self.state == State::Empty, self.members.is_empty() && self.is_settled());
    }

    fn is_settled(&self) -> bool {
        !matches!(self.state, State::PreparingRebalance { .. })
    }
}
