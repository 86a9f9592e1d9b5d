//! What DescribeGroups and ListGroups show of a classic group, and when its offsets may go.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};

use super::member::Member;
use super::{ClassicGroup, State};

/// From when on an offset's retention counts, and which offsets are kept whatever their age.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Retention<'a> {
    /// Nothing expires now.
    Kept,
    /// From its commit, except in the topics that members read.
    SinceCommit { unless_in: Option<Cow<'a, BTreeSet<KafkaStr>>> },
    /// From the moment at which the group became empty (KIP-211).
    Since(i64),
}

impl ClassicGroup {
    /// The group with its members. What they carry is shown of a stable group only.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.state == State::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let shown = |bytes: Bytes| if stable { bytes } else { Bytes::new() };
        let member = |(id, member): (&KafkaStr, &Member)| DescribedGroupMember {
            member_id: id.clone(),
            group_instance_id: member.info.instance_id.clone(),
            client_id: member.info.client_id.clone(),
            client_host: member.info.client_host.clone(),
            member_metadata: shown(member.info.metadata(&protocol)),
            member_assignment: shown(member.assignment.clone()),
            ..DescribedGroupMember::default()
        };
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.iter().map(member).collect(),
            protocol_data: protocol,
            ..DescribedGroup::default()
        }
    }

    /// How the offsets of this group age.
    pub(crate) fn retention(&self) -> Retention<'_> {
        match (&self.state, &self.protocol_type) {
            (State::Empty, Some(_)) if self.state_since_ms >= 0 => {
                Retention::Since(self.state_since_ms)
            }
            (State::Empty, _) => Retention::SinceCommit { unless_in: None },
            (State::Stable, Some(_)) if self.is_of_consumers() && self.subscribed.is_some() => {
                Retention::SinceCommit { unless_in: self.subscribed.as_ref().map(Cow::Borrowed) }
            }
            _ => Retention::Kept,
        }
    }
}
