//! How a command fails: what it says on stderr, and the exit code that scripts can rely on.
//!
//! Every command returns a `Failure`; only `main` turns it into text and a number. A number once
//! given to a kind of failure keeps it, because scripts compare it.

use std::io;
use std::process::ExitCode;

use thalweg_client::admin::{AdminError, ItemError};
use thalweg_client::consumer::{CommitError, ConsumeError, ConsumeFault, ConsumerError};
use thalweg_client::producer::{ProduceError, ProduceFault};
use thalweg_client::protocol::ErrorCode;
use thalweg_client::{
    ClientError, GroupError, GroupFault, PartitionError, PartitionFault, TopicFault,
};
use thiserror::Error;

use super::output::counted;
use crate::broker::StartError;
use crate::config::ConfigError;

/// What the process tells its caller. The numbers are documented in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Damaged = 5,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Item(#[from] ItemError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Failed(String),
    #[error("{} damaged; the broker keeps these bytes and serves the others", counted(*.0 as u64, "range"))]
    Damaged(usize),
    /// Told to stop a second time while stopping.
    #[error("ended without waiting")]
    Interrupted,
    /// Some of several items failed, each of which has been reported.
    #[error("{failed} of {all} failed")]
    Several { failed: usize, all: usize, worst: Box<Failure> },
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Failure {
        match error {
            ConsumerError::Partition(error) => error.into(),
            ConsumerError::Group(error) => error.into(),
        }
    }
}

impl Failure {
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Failure::Io { what: what.into(), source }
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            Failure::Client(ClientError::Address(_)) | Failure::Usage(_) => Exit::Usage,
            Failure::Config(_) => Exit::Usage,
            Failure::Client(ClientError::Unreachable(_))
            | Failure::Admin(AdminError::Unanswered(_)) => Exit::Unreachable,
            Failure::Admin(AdminError::Refused(error)) | Failure::Item(error) => {
                of_code(error.error)
            }
            Failure::Partition(error) => of_partition(&error.fault),
            Failure::Group(error) => of_group(&error.fault),
            Failure::Consume(error) => match &error.fault {
                ConsumeFault::Topic(fault) => of_topic(fault),
                ConsumeFault::NoSuchPartition { .. } => Exit::NotFound,
                ConsumeFault::Unanswered(_) => Exit::Unreachable,
                ConsumeFault::Start(error) => of_partition(&error.fault),
                ConsumeFault::Refused(code) => of_code(*code),
                _ => Exit::Failed,
            },
            Failure::Produce(error) => match &error.fault {
                ProduceFault::Topic(fault) => of_topic(fault),
                ProduceFault::NoSuchPartition { .. } => Exit::NotFound,
                ProduceFault::Refused { error, .. } => of_code(*error),
                _ => Exit::Failed,
            },
            Failure::Commit(CommitError::Group(error)) => of_group(&error.fault),
            Failure::Commit(_) => Exit::Failed,
            Failure::NotFound(_) => Exit::NotFound,
            Failure::Damaged(_) => Exit::Damaged,
            Failure::Interrupted => Exit::Interrupted,
            Failure::Several { worst, .. } => worst.exit(),
            Failure::Start(_) | Failure::Output(_) | Failure::Io { .. } | Failure::Failed(_) => {
                Exit::Failed
            }
        }
    }

    /// What to try next, where the message does not say so itself.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::Client(ClientError::Unreachable(_)) => Some(
                "Start a broker with 'thalweg serve', or name another with --brokers HOST:PORT \
                 or THALWEG_BROKERS.",
            ),
            Failure::Several { worst, .. } => worst.hint(),
            Failure::Item(error) if error.error == ErrorCode::TopicAlreadyExists => {
                Some("--if-not-exists leaves a topic as it is.")
            }
            Failure::Usage(_) | Failure::Config(_) | Failure::NotFound(_) => None,
            Failure::Group(_) if self.exit() == Exit::NotFound => {
                Some("'thalweg group list' shows which groups there are.")
            }
            _ if self.exit() == Exit::NotFound => {
                Some("'thalweg topic list' shows which topics there are.")
            }
            _ => None,
        }
    }

    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Exit::NotFound,
        _ => Exit::Failed,
    }
}

fn of_group(fault: &GroupFault) -> Exit {
    match fault {
        GroupFault::Refused(ErrorCode::GroupIdNotFound) => Exit::NotFound,
        GroupFault::Refused(code) => of_code(*code),
        GroupFault::Unanswered(_) => Exit::Unreachable,
        GroupFault::LeftOut => Exit::Failed,
    }
}

fn of_topic(fault: &TopicFault) -> Exit {
    match fault {
        TopicFault::Refused(code) => of_code(*code),
        TopicFault::Unanswered(_) => Exit::Unreachable,
    }
}

fn of_partition(fault: &PartitionFault) -> Exit {
    match fault {
        PartitionFault::Topic(fault) => of_topic(fault),
        PartitionFault::NoSuchPartition { .. } => Exit::NotFound,
        PartitionFault::Unanswered(_) => Exit::Unreachable,
        PartitionFault::Refused(code) => of_code(*code),
        PartitionFault::NoLeader | PartitionFault::LeftOut => Exit::Failed,
    }
}

/// The outcomes of an operation on several items: each failure is reported on stderr, and what they
/// come to together is the outcome. One item alone fails as itself.
pub(super) fn settle<T, E: Into<Failure>>(
    outcomes: impl IntoIterator<Item = Result<T, E>>,
) -> (Vec<T>, Result<(), Failure>) {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => done.push(value),
            Err(error) => failures.push(error.into()),
        }
    }
    let (failed, all) = (failures.len(), failures.len() + done.len());
    if all > 1 {
        failures.iter().for_each(|failure| eprintln!("error: {failure}"));
    }
    let outcome = match failures.pop() {
        None => Ok(()),
        Some(only) if all == 1 => Err(only),
        Some(worst) => Err(Failure::Several { failed, all, worst: Box::new(worst) }),
    };
    (done, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_topic_has_its_own_exit_code_and_a_hint() {
        let error = ItemError {
            item: "t".into(),
            error: ErrorCode::UnknownTopicOrPartition,
            message: None,
        };
        let failure = Failure::from(error);
        assert_eq!(failure.exit(), Exit::NotFound);
        assert!(failure.hint().is_some_and(|hint| hint.contains("topic list")));
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures_to_write() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_closed_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_closed_pipe());
    }
}
