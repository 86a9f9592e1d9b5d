//! The consumer groups' part of the broker's configuration.

use std::str::FromStr;
use std::sync::Arc;

use crate::group::assignor::Assignor;

/// How consumer groups behave, under Kafka's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`.
    pub assignment_interval_ms: u64,
    /// `group.consumer.max.size`.
    pub members_max: usize,
    /// `group.consumer.assignors`.
    pub assignors: Assignors,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
}

/// Whether a group may change its protocol while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationPolicy {
    /// A classic group becomes a consumer group when a member of the consumer protocol joins.
    pub upgrade: bool,
    /// A consumer group becomes a classic group when the last member of the consumer protocol
    /// is gone and members of the classic protocol remain.
    pub downgrade: bool,
}

/// A word that names no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a migration policy")]
pub struct UnknownPolicy;

impl FromStr for MigrationPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let (upgrade, downgrade) = match text {
            "bidirectional" => (true, true),
            "upgrade" => (true, false),
            "downgrade" => (false, true),
            "disabled" => (false, false),
            _ => return Err(UnknownPolicy),
        };
        Ok(MigrationPolicy { upgrade, downgrade })
    }
}

/// The strategies that members may ask for; the first is for those that ask for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignors(Arc<[Assignor]>);

/// A list of strategies in which one is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a strategy of this broker")]
pub struct UnknownAssignor;

impl FromStr for Assignors {
    type Err = UnknownAssignor;

    fn from_str(text: &str) -> Result<Self, UnknownAssignor> {
        let assignors = text.split(',').map(|name| Assignor::named(name).ok_or(UnknownAssignor));
        Ok(Assignors(assignors.collect::<Result<_, _>>()?))
    }
}

impl Assignors {
    /// All, the default first.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Assignor> {
        self.0.iter()
    }

    /// The strategy where members want none in particular.
    pub(super) fn default_assignor(&self) -> Assignor {
        self.0.first().copied().unwrap_or(Assignor::Uniform)
    }
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        ConsumerSettings {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            assignment_interval_ms: 1_000,
            members_max: usize::MAX,
            assignors: Assignors(Arc::new(Assignor::ALL)),
            migration: MigrationPolicy { upgrade: true, downgrade: true },
        }
    }
}
