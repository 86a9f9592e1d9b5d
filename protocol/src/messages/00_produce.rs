//! Produce (key 0), versions 3–13; 0–2 are known only so that they can be refused in their own
//! form.
//!
//! Each partition's records are one slice of the frame. With `acks` 0 there is no answer at all.
//! From version 13 topics go by id instead of name (KIP-516).

use uuid::Uuid;

use crate::primitives::{KafkaStr, Records};
use crate::table::message;

message! {
    /// Record batches to append, by topic and partition.
    pub struct ProduceRequest (Produce, versions 0..=13, flexible since 9) {
        /// Null unless the producer is transactional.
        transactional_id: Option<KafkaStr> = None, 3.., nullable 3..;
        /// 0: send no answer; 1: answer after the leader's append; −1: after the replicas have it.
        acks: i16, 0..;
        /// Milliseconds to wait for the acknowledgements.
        timeout_ms: i32, 0..;
        topic_data: Vec<TopicProduceData>, 0..;
    }

    /// The batches for one topic.
    pub struct TopicProduceData {
        name: KafkaStr, 0..=12, absent ignored;
        topic_id: Uuid, 13.., absent ignored;
        partition_data: Vec<PartitionProduceData>, 0..;
    }

    /// The batches for one partition.
    pub struct PartitionProduceData {
        index: i32, 0..;
        records: Option<Records> = Some(Records::empty()), 0.., nullable 0..;
    }
}

message! {
    /// Where the batches ended up.
    pub struct ProduceResponse (Produce, versions 0..=13, flexible since 9) {
        responses: Vec<TopicProduceResponse>, 0..;
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        /// Where the leaders named in this answer are reached (KIP-951).
        node_endpoints: Vec<NodeEndpoint>, 10.., tag 0;
    }

    /// The outcome for one topic.
    pub struct TopicProduceResponse {
        name: KafkaStr, 0..=12, absent ignored;
        topic_id: Uuid, 13.., absent ignored;
        partition_responses: Vec<PartitionProduceResponse>, 0..;
    }

    /// The outcome for one partition.
    pub struct PartitionProduceResponse {
        index: i32, 0..;
        error_code: i16, 0..;
        /// The offset of the first record, or −1.
        base_offset: i64, 0..;
        /// When the broker stamped the records, or −1 where the client's timestamps stand.
        log_append_time_ms: i64 = -1, 2.., absent ignored;
        /// The oldest offset of the partition.
        log_start_offset: i64 = -1, 5.., absent ignored;
        /// The records on whose account the whole batch was refused (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage>, 8.., absent ignored;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = None, 8.., nullable 8.., absent ignored;
        /// Who leads instead, after NOT_LEADER_OR_FOLLOWER (KIP-951). Set it at no lower version.
        current_leader: LeaderIdAndEpoch, 10.., tag 0;
    }

    /// A record that was refused.
    pub struct BatchIndexAndErrorMessage {
        /// The record's place in its batch, from 0.
        batch_index: i32, 8..;
        batch_index_error_message: Option<KafkaStr> = None, 8.., nullable 8..;
    }

    /// A partition's leader.
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, 10..;
        leader_epoch: i32 = -1, 10..;
    }

    /// Where a broker is reached.
    pub struct NodeEndpoint {
        node_id: i32, 10..;
        host: KafkaStr, 10..;
        port: i32, 10..;
        rack: Option<KafkaStr> = None, 10.., nullable 10..;
    }
}
