//! The one place where an internal error becomes a Kafka code.

use thalweg_protocol::ErrorCode;
use thalweg_storage::error::ReadError;

use crate::controller::ProposeError;
use crate::controller::command::CommandError;
use crate::controller::placement::PlacementError;
use crate::group::journal::JournalError;
use crate::partition::error::PartitionError;
use crate::partition::producers::SequenceError;
use crate::topic_config::AlterError;

/// The code a client gets for a refusal of a partition.
pub(crate) fn of_partition(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::NotLeader | PartitionError::OutcomeUnknown => {
            ErrorCode::NotLeaderOrFollower
        }
        PartitionError::NotYetHere { .. } => ErrorCode::OffsetNotAvailable,
        PartitionError::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        PartitionError::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        PartitionError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        PartitionError::Corrupt(_) => ErrorCode::CorruptMessage,
        PartitionError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
        PartitionError::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
        PartitionError::Transactional => ErrorCode::InvalidTxnState,
        PartitionError::Sequence(error) => of_sequence(*error),
        PartitionError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        PartitionError::TimedOut => ErrorCode::RequestTimedOut,
        PartitionError::NotCaughtUp(_) => ErrorCode::PreferredLeaderNotAvailable,
        PartitionError::DiskFull | PartitionError::Write(_) => ErrorCode::KafkaStorageError,
        PartitionError::Read(error) => of_read(error),
    }
}

fn of_sequence(error: SequenceError) -> ErrorCode {
    match error {
        SequenceError::OldEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        SequenceError::Duplicate { .. } => ErrorCode::DuplicateSequenceNumber,
    }
}

fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Damaged(_) | ReadError::Io(_) | ReadError::IndexOutOfRange { .. } => {
            ErrorCode::KafkaStorageError
        }
        ReadError::Unreadable { .. } => ErrorCode::CorruptMessage,
    }
}

/// The code for a group's request whose records were not taken (Kafka's
/// `appendGroupMetadataErrorToResponseError`).
pub(crate) fn of_journal(error: &JournalError) -> ErrorCode {
    match error {
        JournalError::Append(PartitionError::NotLeader | PartitionError::Write(_)) => {
            ErrorCode::NotCoordinator
        }
        JournalError::Append(
            PartitionError::DiskFull
            | PartitionError::NotEnoughReplicas { .. }
            | PartitionError::TimedOut,
        ) => ErrorCode::CoordinatorNotAvailable,
        JournalError::Append(_) | JournalError::Encode(_) | JournalError::Build(_) => {
            ErrorCode::UnknownServerError
        }
    }
}

/// The code for a command the controller did not carry out.
pub(crate) fn of_propose(error: &ProposeError) -> ErrorCode {
    match error {
        ProposeError::NotController => ErrorCode::NotController,
        ProposeError::OutcomeUnknown => ErrorCode::RequestTimedOut,
        ProposeError::Refused(refusal) => of_command(refusal),
    }
}

fn of_command(refusal: &CommandError) -> ErrorCode {
    match refusal {
        CommandError::TopicExists(_) => ErrorCode::TopicAlreadyExists,
        // As of a creation whose answer was lost.
        CommandError::TopicDeleted(_) => ErrorCode::RequestTimedOut,
        CommandError::UnknownTopic(_) | CommandError::UnknownPartition { .. } => {
            ErrorCode::UnknownTopicOrPartition
        }
        // Retried by the handler, never seen by a client.
        CommandError::ConfigsChanged => ErrorCode::ConcurrentTransactions,
        CommandError::PartitionsChanged { .. } => ErrorCode::InvalidPartitions,
        CommandError::BrokerAlive { .. } => ErrorCode::InvalidRequest,
        CommandError::TopicCollides(..) => ErrorCode::InvalidTopicException,
        CommandError::UnknownBroker(_) => ErrorCode::BrokerIdNotRegistered,
        CommandError::DiskMismatch { .. } | CommandError::Removed { .. } => {
            ErrorCode::DuplicateBrokerRegistration
        }
        CommandError::BrokerInUse { .. } | CommandError::LastBroker(_) => ErrorCode::InvalidRequest,
        CommandError::InvalidReplicas { .. } | CommandError::UnknownReplica(_) => {
            ErrorCode::InvalidReplicaAssignment
        }
        CommandError::ReplicaLeaving { .. } => ErrorCode::ReassignmentInProgress,
        CommandError::NoReassignment | CommandError::TargetChanged => {
            ErrorCode::NoReassignmentInProgress
        }
    }
}

/// The code for replicas that cannot be placed.
pub(crate) fn of_placement(error: &PlacementError) -> ErrorCode {
    match error {
        PlacementError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        PlacementError::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
    }
}

/// The code for a configuration that is refused.
pub(crate) fn of_alteration(error: &AlterError) -> ErrorCode {
    match error {
        AlterError::Invalid(_) => ErrorCode::InvalidConfig,
        _ => ErrorCode::InvalidRequest,
    }
}
