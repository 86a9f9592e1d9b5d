//! Which assignment strategy a group uses: one that every member knows, chosen by vote.

use std::collections::{BTreeMap, HashMap};

use thalweg_protocol::KafkaStr;

use super::member::{MemberInfo, Protocol};
use super::{ClassicGroup, State};

/// How many members know each strategy.
#[derive(Clone, Debug, Default)]
pub(super) struct ProtocolCounts(HashMap<KafkaStr, usize>);

impl ProtocolCounts {
    pub(super) fn add(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            *self.0.entry(name.clone()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, protocols: &[Protocol]) {
        for name in distinct(protocols) {
            if let Some(count) = self.0.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(name);
                }
            }
        }
    }

    fn is_known_to(&self, protocol: &str, members: usize) -> bool {
        self.0.get(protocol).is_some_and(|count| *count == members)
    }
}

/// A member that names a strategy twice knows it once.
fn distinct(protocols: &[Protocol]) -> impl Iterator<Item = &KafkaStr> {
    let mut seen = std::collections::HashSet::new();
    protocols.iter().map(|protocol| &protocol.name).filter(move |name| seen.insert(*name))
}

impl ClassicGroup {
    /// Whether someone with these protocols can be a member beside those there are.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let members = self.members.len();
        // All may have left while the group still waits for more: then nobody has to agree.
        let is_known =
            |known: &Protocol| members == 0 || self.counts.is_known_to(&known.name, members);
        self.protocol_type.as_ref().is_some_and(|known| *known == protocol_type)
            && protocols.iter().any(is_known)
    }

    /// The winner of the vote: every member votes for the first of its strategies that all know.
    /// A tie goes to the one that the leader prefers.
    pub(super) fn vote(&self) -> Option<KafkaStr> {
        self.vote_with(None)
    }

    /// The winner if the member `instead.0` were to know what `instead.1` says.
    pub(super) fn vote_with(&self, instead: Option<(&str, &MemberInfo)>) -> Option<KafkaStr> {
        let mut counts = std::borrow::Cow::Borrowed(&self.counts);
        if let Some((member_id, info)) = instead
            && let Some(member) = self.members.get(member_id)
        {
            counts.to_mut().remove(&member.info.protocols);
            counts.to_mut().add(&info.protocols);
        }
        let protocols_of = |id: &KafkaStr| match instead {
            Some((member_id, info)) if *id == member_id => Some(&info.protocols),
            _ => self.members.get(id).map(|member| &member.info.protocols),
        };
        let all = self.members.len();
        let mut votes = BTreeMap::<&KafkaStr, usize>::new();
        for protocols in self.members.keys().filter_map(protocols_of) {
            let vote = protocols.iter().find(|known| counts.is_known_to(&known.name, all));
            if let Some(vote) = vote {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let preferred = self.leader.as_ref().and_then(protocols_of);
        let rank = |name: &KafkaStr| {
            let place = preferred.and_then(|list| list.iter().position(|it| it.name == *name));
            std::cmp::Reverse(place.unwrap_or(usize::MAX))
        };
        let winner = votes.into_iter().max_by_key(|(name, votes)| (*votes, rank(name)));
        winner.map(|(name, _)| name.clone())
    }
}
