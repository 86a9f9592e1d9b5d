//! Fetch (key 1), versions 4–18.
//!
//! The request waits until `min_bytes` are there or `max_wait_ms` are over. The answer's records
//! are sent from the slices they are given as, uncopied. From version 7 a session spares both sides
//! the repetition of unchanged partitions (KIP-227); from 13 topics go by id instead of name
//! (KIP-516).

use uuid::Uuid;

use crate::primitives::{KafkaStr, Records};
use crate::table::message;

message! {
    /// The partitions to read, or how a session's set of partitions changed.
    pub struct FetchRequest (Fetch, versions 4..=18, flexible since 12) {
        /// The follower that asks, or −1 for a consumer.
        replica_id: i32 = -1, 0..=14;
        max_wait_ms: i32, 0..;
        min_bytes: i32, 0..;
        /// A limit for the whole answer, exceeded only by a first batch that is larger.
        max_bytes: i32 = i32::MAX, 3.., absent ignored;
        /// 0: all committed records; 1: only those of decided transactions.
        isolation_level: i8, 4.., absent ignored;
        /// 0 for no session, or to open one.
        session_id: i32, 7.., absent ignored;
        /// −1: no session; 0: open one; otherwise one more than in the request before.
        session_epoch: i32 = -1, 7.., absent ignored;
        topics: Vec<FetchTopic>, 0..;
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ForgottenTopic>, 7..;
        /// The consumer's rack, so that a near replica can be preferred (KIP-392).
        rack_id: KafkaStr, 11.., absent ignored;
        /// Set by KRaft voters only.
        cluster_id: Option<KafkaStr> = None, 12.., nullable 12.., tag 0, absent ignored;
        /// Takes the place of `replica_id` (KIP-903).
        replica_state: ReplicaState, 15.., tag 1;
    }

    /// Which follower asks, and in which of its lives.
    pub struct ReplicaState {
        replica_id: i32 = -1, 15..;
        replica_epoch: i64 = -1, 15..;
    }

    /// The partitions to read of one topic.
    pub struct FetchTopic {
        topic: KafkaStr, 0..=12, absent ignored;
        topic_id: Uuid, 13.., absent ignored;
        partitions: Vec<FetchPartition>, 0..;
    }

    /// Where to read in one partition.
    pub struct FetchPartition {
        partition: i32, 0..;
        /// The epoch the client believes is current, or −1 not to be fenced (KIP-320).
        current_leader_epoch: i32 = -1, 9.., absent ignored;
        fetch_offset: i64, 0..;
        /// The epoch of the last record the client has, to notice a divergence (KIP-595).
        last_fetched_epoch: i32 = -1, 12..;
        /// A follower's own log start offset.
        log_start_offset: i64 = -1, 5.., absent ignored;
        partition_max_bytes: i32, 0..;
        /// The directory a follower stores into.
        replica_directory_id: Uuid, 17.., tag 0, absent ignored;
        /// The high watermark the follower knows.
        high_watermark: i64 = i64::MAX, 18.., tag 1, absent ignored;
    }

    /// The partitions of one topic that leave the session.
    pub struct ForgottenTopic {
        topic: KafkaStr, 7..=12, absent ignored;
        topic_id: Uuid, 13.., absent ignored;
        partitions: Vec<i32>, 7..;
    }
}

message! {
    /// Records, by topic and partition.
    pub struct FetchResponse (Fetch, versions 4..=18, flexible since 12) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        error_code: i16, 7.., absent ignored;
        /// 0 for no session, or to open one.
        session_id: i32, 7..;
        responses: Vec<FetchableTopicResponse>, 0..;
        /// Where the leaders named in this answer are reached (KIP-951).
        node_endpoints: Vec<NodeEndpoint>, 16.., tag 0;
    }

    /// The records of one topic.
    pub struct FetchableTopicResponse {
        topic: KafkaStr, 0..=12, absent ignored;
        topic_id: Uuid, 13.., absent ignored;
        partitions: Vec<PartitionData>, 0..;
    }

    /// The records of one partition.
    pub struct PartitionData {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        /// The end of what is committed.
        high_watermark: i64, 0..;
        /// The end of what is committed and decided: no open transaction begins below it.
        last_stable_offset: i64 = -1, 4.., absent ignored;
        /// The oldest offset there is.
        log_start_offset: i64 = -1, 5.., absent ignored;
        /// Null when read uncommitted.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
            4.., nullable 4.., absent ignored;
        /// A nearer replica to read from, or −1.
        preferred_read_replica: i32 = -1, 11..;
        /// Whole batches; empty, never null, when there is nothing.
        records: Option<Records> = Some(Records::empty()), 0.., nullable 0..;
        /// Set when the client's last epoch ends earlier here than the client has read.
        diverging_epoch: EpochEndOffset, 12.., tag 0;
        /// Who leads instead, after NOT_LEADER_OR_FOLLOWER (KIP-951).
        current_leader: LeaderIdAndEpoch, 12.., tag 1;
        /// Used by KRaft's metadata log only.
        snapshot_id: SnapshotId, 12.., tag 2;
    }

    /// The largest epoch not above the client's, and where it ends.
    pub struct EpochEndOffset {
        epoch: i32 = -1, 12..;
        end_offset: i64 = -1, 12..;
    }

    /// A partition's leader.
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, 12..;
        leader_epoch: i32 = -1, 12..;
    }

    /// A snapshot of KRaft's metadata log.
    pub struct SnapshotId {
        end_offset: i64 = -1, 0..;
        epoch: i32 = -1, 0..;
    }

    /// A transaction whose records a committed read must skip.
    pub struct AbortedTransaction {
        producer_id: i64, 4..;
        first_offset: i64, 4..;
    }

    /// Where a broker is reached.
    pub struct NodeEndpoint {
        node_id: i32, 16..;
        host: KafkaStr, 16..;
        port: i32, 16..;
        rack: Option<KafkaStr> = None, 16.., nullable 16..;
    }
}
