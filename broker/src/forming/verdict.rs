//! What the other brokers' answers come to: pure, so that every combination can be tried.

use std::collections::BTreeMap;

use super::asking::{Answer, AskError};
use super::{FormError, Newcomer};
use crate::config::HostPort;
use crate::node_rpc::handshake::{Founder, HandshakeError, Welcome};

/// What follows from one round of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is a cluster, and this broker belongs to it.
    Adopt {
        /// Its id.
        cluster_id: String,
        /// Its founders.
        voters: Vec<Founder>,
    },
    /// There is none, everybody is here, and it is this broker that decides.
    Found {
        /// Everybody, by id.
        voters: Vec<Founder>,
    },
    /// It is not clear yet.
    Wait {
        /// Who is missing, each with the reason.
        for_whom: Vec<String>,
    },
}

/// What `answers`, one from each of the others, mean for `own`.
pub(super) fn judge(own: &Newcomer, answers: &[Answer]) -> Result<Verdict, FormError> {
    // A cluster that is there counts before anything that somebody outside of it says.
    for (address, answer) in answers {
        if let Ok(Welcome { cluster_id: Some(cluster_id), voters, .. }) = answer {
            return own.adopt(address, cluster_id, voters);
        }
    }
    let mut present = BTreeMap::from([(own.node, own.founder())]);
    let mut missing = Vec::new();
    for (address, answer) in answers {
        match answer {
            Err(AskError::Handshake(HandshakeError::Refused(reason))) => {
                let (address, reason) = (address.clone(), reason.clone());
                return Err(FormError::Refused { address, reason });
            }
            Err(error) => missing.push(format!("{address} ({error})")),
            Ok(fresh) if fresh.disk == own.disk => return Err(FormError::Itself(address.clone())),
            Ok(fresh) if fresh.node == own.node => {
                return Err(FormError::DuplicateId { node: own.node, address: address.clone() });
            }
            Ok(fresh) => {
                let Welcome { node, disk, .. } = *fresh;
                if let Some(reason) = own.not_with(fresh, present.get(&node)) {
                    missing.push(format!("{address} ({reason})"));
                }
                present.insert(node, Founder { node, disk, address: address.to_string() });
            }
        }
    }
    let lowest = present.values().next().filter(|founder| founder.node != own.node);
    if let Some(Founder { node, address, .. }) = lowest
        && missing.is_empty()
    {
        missing.push(format!("{address} (node {node}, the lowest, forms the cluster)"));
    }
    if !missing.is_empty() {
        return Ok(Verdict::Wait { for_whom: missing });
    }
    Ok(Verdict::Found { voters: present.into_values().collect() })
}

impl Newcomer {
    /// Whether the cluster that the broker at `address` belongs to is this broker's too.
    fn adopt(
        &self,
        address: &HostPort,
        cluster_id: &str,
        voters: &[Founder],
    ) -> Result<Verdict, FormError> {
        let is_joining = self.seeds.is_empty();
        match voters.iter().find(|founder| founder.node == self.node) {
            Some(founder) if founder.disk != self.disk => {
                Err(FormError::Replaced { node: self.node })
            }
            None if !is_joining => Err(FormError::FoundedWithout {
                address: address.clone(),
                cluster_id: cluster_id.to_owned(),
                node: self.node,
            }),
            Some(_) | None => {
                Ok(Verdict::Adopt { cluster_id: cluster_id.to_owned(), voters: voters.to_vec() })
            }
        }
    }

    /// Why no cluster can be founded with `fresh` as things are; `twin` has the same id.
    fn not_with(&self, fresh: &Welcome, twin: Option<&Founder>) -> Option<String> {
        if self.seeds.is_empty() {
            return Some("it belongs to no cluster yet".to_owned());
        }
        if let Some(twin) = twin {
            let Founder { node, address, .. } = twin;
            return Some(format!("it is node {node}, and so is the broker at {address}"));
        }
        if fresh.seeds.is_empty() {
            return Some("it was not told to found a cluster".to_owned());
        }
        let theirs: Vec<HostPort> = fresh.seeds.iter().filter_map(|it| it.parse().ok()).collect();
        let has_all = |all: &[HostPort], some: &[HostPort]| {
            some.iter().all(|one| all.iter().any(|other| other.is_same_place(one)))
        };
        let is_same = theirs.len() == fresh.seeds.len()
            && has_all(&theirs, &self.seeds)
            && has_all(&self.seeds, &theirs);
        (!is_same).then(|| format!("it was given other seeds: {}", fresh.seeds.join(",")))
    }
}
