//! A group with members goes from one protocol to the other: a classic group of consumers becomes a
//! consumer group when a member of the newer protocol joins it, and a consumer group that only has
//! classic members left becomes a classic group again (`group.consumer.migration.policy`).

use std::collections::BTreeMap;
use std::rc::Rc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::group_record::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata, Record,
};

use super::embedded::{Subscription, parse_assignment, write_assignment};
use super::member::{ClassicInfo, Current, Member, MemberInfo, MemberState};
use super::{ConsumerGroup, record};
use crate::group::classic::{self, CONSUMER, ClassicGroup};
use crate::group::turn::Turn;

impl ConsumerGroup {
    /// A consumer group with the members of `classic`, as they are, and the records that make it.
    /// `None` if these are not consumers, or are led by an assignor of their own.
    pub(crate) fn from_classic(
        classic: &ClassicGroup,
        turn: &Turn<'_>,
    ) -> Option<(ConsumerGroup, Vec<Record>)> {
        if classic.protocol_type().is_none_or(|kind| *kind != CONSUMER) {
            return None;
        }
        let (id, epoch) = (&classic.id, classic.generation());
        let mut records = vec![record::group(id, epoch, 0)];
        let members: Vec<_> = classic
            .members()
            .map(|(member_id, member)| Some((member_id, converted(member, epoch, turn)?)))
            .collect::<Option<_>>()?;
        for (member_id, member) in &members {
            records.push(record::member(id, member_id, Some(&member.info)));
        }
        for (member_id, member) in &members {
            let target = member.current.assigned.keys().copied().collect();
            records.push(record::target(id, member_id, Some(&target)));
        }
        records.push(record::assignment_epoch(id, epoch, turn.wall_ms));
        for (member_id, member) in &members {
            records.push(record::current(id, member_id, Some(&member.current)));
        }
        let mut group = ConsumerGroup::new(id.clone());
        records.iter().for_each(|record| group.replay(record));
        group.on_loaded(turn);
        records.insert(0, classic.tombstone());
        Some((group, records))
    }

    /// Whether all members speak the classic protocol.
    pub(crate) fn is_all_classic(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(Member::is_classic)
    }

    /// The classic group of the same members, and the records that make it, this one's end among
    /// them. `None` if there is no strategy that all of them know.
    pub(crate) fn to_classic(&self, turn: &Turn<'_>) -> Option<(ClassicGroup, Vec<Record>)> {
        let protocol = self.common_protocol()?;
        let key = GroupMetadataKey { group: self.id.clone(), ..GroupMetadataKey::default() };
        let members = self.members.iter();
        let value = GroupMetadataValue {
            protocol_type: CONSUMER.into(),
            generation: self.epoch,
            leader: self.members.keys().next().cloned(),
            current_state_timestamp: turn.wall_ms,
            members: members.map(|(id, it)| classic_record(id, it, &protocol, turn)).collect(),
            protocol: Some(protocol),
            ..GroupMetadataValue::default()
        };
        let classic = ClassicGroup::from_record(&key, &value);
        let mut records = self.tombstones();
        records.push(Record::GroupMetadata(key, Some(value)));
        Some((classic, records))
    }

    /// The strategy that all members know and most prefer.
    fn common_protocol(&self) -> Option<KafkaStr> {
        let lists: Vec<Vec<&KafkaStr>> = self
            .members
            .values()
            .map(|member| {
                let classic = member.info.classic.iter();
                classic.flat_map(|it| it.protocols.iter().map(|(name, _)| name)).collect()
            })
            .collect();
        let mut votes = BTreeMap::<&KafkaStr, usize>::new();
        for list in &lists {
            let known_to_all = |name: &&&KafkaStr| lists.iter().all(|other| other.contains(*name));
            *votes.entry(list.iter().find(known_to_all)?).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
    }
}

fn converted(member: &classic::Member, epoch: i32, turn: &Turn<'_>) -> Option<Member> {
    let said = &member.info;
    let subscription = Subscription::parse(&said.protocols.first()?.metadata)?;
    let assigned = parse_assignment(&member.assignment, turn.image)?;
    let protocols = said.protocols.iter().map(|it| (it.name.clone(), it.metadata.clone()));
    let info = MemberInfo {
        instance_id: said.instance_id.clone(),
        rack_id: subscription.rack_id,
        client_id: said.client_id.clone(),
        client_host: said.client_host.clone(),
        topic_names: subscription.topics,
        rebalance_timeout_ms: said.rebalance_timeout_ms,
        classic: Some(ClassicInfo {
            session_timeout_ms: said.session_timeout_ms,
            protocols: protocols.collect(),
        }),
        ..MemberInfo::default()
    };
    let current = Current {
        epoch,
        previous_epoch: epoch,
        state: MemberState::Stable,
        assigned: assigned.into_iter().map(|at| (at, epoch)).collect(),
        ..Current::default()
    };
    Some(Member { info: Rc::new(info), current: Rc::new(current) })
}

fn classic_record(
    id: &KafkaStr,
    member: &Member,
    protocol: &KafkaStr,
    turn: &Turn<'_>,
) -> MemberMetadata {
    let info = &member.info;
    let classic = info.classic.clone().unwrap_or_default();
    let known = classic.protocols.into_iter().find(|(name, _)| name == protocol);
    let subscription = known.map(|(_, metadata)| metadata).unwrap_or_default();
    let version = Subscription::parse(&subscription).map_or(0, |it| it.version);
    MemberMetadata {
        member_id: id.clone(),
        group_instance_id: info.instance_id.clone(),
        client_id: info.client_id.clone(),
        client_host: info.client_host.clone(),
        rebalance_timeout: info.rebalance_timeout_ms,
        session_timeout: classic.session_timeout_ms,
        assignment: write_assignment(version, member.current.assigned.keys(), turn.image),
        subscription,
        ..MemberMetadata::default()
    }
}
