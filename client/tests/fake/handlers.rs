//! What the fake brokers answer.

use std::sync::Arc;
use std::time::Duration;

use thalweg_client::protocol::messages::api_versions::ApiVersion;
use thalweg_client::protocol::messages::fetch::{
    AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use thalweg_client::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use thalweg_client::protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_client::protocol::messages::produce::{
    self, PartitionProduceResponse, TopicProduceResponse,
};
use thalweg_client::protocol::messages::{
    ApiVersionsResponse, ConsumerGroupHeartbeatRequest, FetchRequest, FetchResponse,
    FindCoordinatorRequest, HeartbeatRequest, HeartbeatResponse, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, ProduceResponse, SyncGroupRequest, SyncGroupResponse,
};
use thalweg_client::protocol::{
    ApiKey, ErrorCode, Frame, KafkaStr, Message, Reader, Records, RequestHeader, SERVED,
    encode_response,
};

use super::{Fault, Shared, State, epochs, group};

pub(crate) enum Reply {
    Frame(Frame),
    /// The request wants no answer.
    Nothing,
    Close,
}

pub(crate) async fn answer(
    shared: &Arc<Shared>,
    id: i32,
    header: &RequestHeader,
    mut body: Reader,
    fault: Option<&Fault>,
) -> Reply {
    let version = header.api_version;
    let (before, after) = match fault {
        Some(Fault::Refuse(error)) => (Some(*error), None),
        Some(Fault::DoAndRefuse(error)) => (None, Some(*error)),
        _ => (None, None),
    };
    match header.api_key {
        ApiKey::ApiVersions => versions(&mut shared.lock(), header),
        ApiKey::Metadata => {
            let request = MetadataRequest::decode(&mut body, version).expect("well-formed");
            frame(header, &metadata(&shared.lock(), &request))
        }
        ApiKey::InitProducerId => {
            let mut state = shared.lock();
            state.next_producer_id += 1;
            let response = InitProducerIdResponse {
                error_code: before.unwrap_or(ErrorCode::None).code(),
                producer_id: state.next_producer_id,
                ..InitProducerIdResponse::default()
            };
            frame(header, &response)
        }
        ApiKey::Produce => {
            let request = ProduceRequest::decode(&mut body, version).expect("well-formed");
            let response = produce(&mut shared.lock(), id, &request, before, after);
            if request.acks == 0 { Reply::Nothing } else { frame(header, &response) }
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(&mut body, version).expect("well-formed");
            frame(header, &offsets(&mut shared.lock(), id, &request, before))
        }
        ApiKey::Fetch => {
            let request = FetchRequest::decode(&mut body, version).expect("well-formed");
            let (response, is_empty) = fetch(&mut shared.lock(), id, &request, before);
            if is_empty {
                // As short a long poll as lets others have a turn.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            frame(header, &response)
        }
        _ => group_answer(shared, id, header, body, before).await,
    }
}

async fn group_answer(
    shared: &Arc<Shared>,
    id: i32,
    header: &RequestHeader,
    mut body: Reader,
    before: Option<ErrorCode>,
) -> Reply {
    let version = header.api_version;
    let code = before.unwrap_or(ErrorCode::None).code();
    match header.api_key {
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::decode(&mut body, version).expect("well-formed");
            let mut response = group::find(&mut shared.lock(), &request);
            response.coordinators.iter_mut().for_each(|it| it.error_code = code);
            frame(header, &response)
        }
        ApiKey::JoinGroup => {
            let request = JoinGroupRequest::decode(&mut body, version).expect("well-formed");
            if before.is_some() {
                let response = JoinGroupResponse { error_code: code, ..Default::default() };
                return frame(header, &response);
            }
            frame(header, &group::join(shared, id, &request).await)
        }
        ApiKey::SyncGroup => {
            let request = SyncGroupRequest::decode(&mut body, version).expect("well-formed");
            if before.is_some() {
                let response = SyncGroupResponse { error_code: code, ..Default::default() };
                return frame(header, &response);
            }
            frame(header, &group::sync(shared, id, &request).await)
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::decode(&mut body, version).expect("well-formed");
            let known = group::heartbeat(&mut shared.lock(), id, &request);
            let error_code = before.unwrap_or(known).code();
            frame(header, &HeartbeatResponse { error_code, ..HeartbeatResponse::default() })
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::decode(&mut body, version).expect("well-formed");
            let response = group::leave(&mut shared.lock(), id, &request);
            shared.groups.notify_waiters();
            frame(header, &response)
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let request = ConsumerGroupHeartbeatRequest::decode(&mut body, version);
            let request = request.expect("well-formed");
            let mut response = epochs::heartbeat(&mut shared.lock(), &request);
            if before.is_some() {
                response.error_code = code;
            }
            frame(header, &response)
        }
        ApiKey::OffsetCommit => {
            let request = OffsetCommitRequest::decode(&mut body, version).expect("well-formed");
            frame(header, &group::commit(&mut shared.lock(), id, &request, before))
        }
        ApiKey::OffsetFetch => {
            let request = OffsetFetchRequest::decode(&mut body, version).expect("well-formed");
            frame(header, &group::fetch(&mut shared.lock(), id, &request, before))
        }
        _ => Reply::Close,
    }
}

fn frame<M: Message>(header: &RequestHeader, response: &M) -> Reply {
    let frame = encode_response(header.correlation_id, response, header.api_version);
    Reply::Frame(frame.expect("it can be written at the version asked for"))
}

/// KIP-511: a version that is too high is answered as version 0, with the range to choose from.
fn versions(state: &mut State, header: &RequestHeader) -> Reply {
    let known = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::Metadata,
        ApiKey::ApiVersions,
        ApiKey::InitProducerId,
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::LeaveGroup,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::ConsumerGroupHeartbeat,
    ];
    let max = |key: ApiKey, ours: i16| state.versions_max.get(&key).copied().unwrap_or(ours);
    let range = |key: ApiKey| {
        let served = SERVED.iter().find(|api| api.key == key).expect("served");
        ApiVersion {
            api_key: key.into(),
            min_version: *served.versions.start(),
            max_version: max(key, *served.versions.end()),
            ..ApiVersion::default()
        }
    };
    let own = range(ApiKey::ApiVersions);
    if header.api_version > own.max_version {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![own],
            ..ApiVersionsResponse::default()
        };
        let frame = encode_response(header.correlation_id, &response, 0);
        return Reply::Frame(frame.expect("version 0 can be written"));
    }
    let api_keys = known.into_iter().map(range).collect();
    frame(header, &ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() })
}

fn metadata(state: &State, request: &MetadataRequest) -> MetadataResponse {
    let brokers = (1..).zip(&state.ports).map(|(node_id, port)| MetadataResponseBroker {
        node_id,
        host: "127.0.0.1".into(),
        port: i32::from(*port),
        ..MetadataResponseBroker::default()
    });
    let names: Vec<KafkaStr> = match &request.topics {
        Some(topics) => topics.iter().filter_map(|topic| topic.name.clone()).collect(),
        None if state.hides_topics => Vec::new(),
        None => state.topics.keys().map(|name| KafkaStr::copied_from(name)).collect(),
    };
    let topics = names.into_iter().map(|name| {
        let known = state.topics.get(name.as_str()).filter(|_| !state.hides_topics);
        let Some(topic) = known else {
            return MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                name: Some(name),
                ..MetadataResponseTopic::default()
            };
        };
        let partitions = (0..).zip(&topic.partitions).map(|(partition_index, partition)| {
            MetadataResponsePartition {
                partition_index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                ..MetadataResponsePartition::default()
            }
        });
        MetadataResponseTopic {
            name: Some(name),
            topic_id: topic.id,
            partitions: partitions.collect(),
            ..MetadataResponseTopic::default()
        }
    });
    MetadataResponse {
        brokers: brokers.collect(),
        controller_id: 1,
        topics: topics.collect(),
        ..MetadataResponse::default()
    }
}

fn produce(
    state: &mut State,
    id: i32,
    request: &ProduceRequest,
    before: Option<ErrorCode>,
    after: Option<ErrorCode>,
) -> ProduceResponse {
    let mut responses = Vec::new();
    for topic in &request.topic_data {
        let name = state.topic_name(topic.topic_id).unwrap_or_else(|| topic.name.to_string());
        let partitions = topic.partition_data.iter().map(|data| {
            let mut response = PartitionProduceResponse {
                index: data.index,
                base_offset: -1,
                ..Default::default()
            };
            let Some(partition) = state.partition(&name, data.index) else {
                response.error_code = ErrorCode::UnknownTopicOrPartition.code();
                return response;
            };
            let bytes = data.records.clone().unwrap_or_default().into_bytes();
            let outcome = match before {
                Some(error) => Err(error),
                None if partition.leader != id => Err(ErrorCode::NotLeaderOrFollower),
                None => partition.append(&bytes),
            };
            let outcome = after.map_or(outcome, Err);
            match outcome {
                Ok(offset) => response.base_offset = offset,
                Err(error) => response.error_code = error.code(),
            }
            if response.error_code == ErrorCode::NotLeaderOrFollower.code() {
                response.current_leader = produce::LeaderIdAndEpoch {
                    leader_id: partition.leader,
                    leader_epoch: partition.leader_epoch,
                    ..Default::default()
                };
            }
            response
        });
        responses.push(TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: partitions.collect(),
            ..TopicProduceResponse::default()
        });
    }
    ProduceResponse { responses, ..ProduceResponse::default() }
}

fn offsets(
    state: &mut State,
    id: i32,
    request: &ListOffsetsRequest,
    before: Option<ErrorCode>,
) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let mut response = ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                ..ListOffsetsPartitionResponse::default()
            };
            let error = match state.partition(&topic.name, asked.partition_index) {
                _ if before.is_some() => before,
                None => Some(ErrorCode::UnknownTopicOrPartition),
                Some(partition) if partition.leader != id => Some(ErrorCode::NotLeaderOrFollower),
                Some(partition) => {
                    response.offset = match asked.timestamp {
                        -2 => partition.log_start,
                        -1 => partition.end,
                        // No record here is stamped with a time worth looking up.
                        _ => -1,
                    };
                    None
                }
            };
            response.error_code = error.unwrap_or(ErrorCode::None).code();
            response
        });
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..ListOffsetsTopicResponse::default()
        }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

/// The answer, and whether there is nothing in it.
fn fetch(
    state: &mut State,
    id: i32,
    request: &FetchRequest,
    before: Option<ErrorCode>,
) -> (FetchResponse, bool) {
    let mut is_empty = true;
    let mut room = usize::try_from(request.max_bytes).unwrap_or_default();
    let mut responses = Vec::new();
    for topic in &request.topics {
        let name = state.topic_name(topic.topic_id).unwrap_or_else(|| topic.topic.to_string());
        let partitions = topic.partitions.iter().map(|asked| {
            let mut data =
                PartitionData { partition_index: asked.partition, ..PartitionData::default() };
            let Some(partition) = state.partition(&name, asked.partition) else {
                data.error_code = ErrorCode::UnknownTopicOrPartition.code();
                return data;
            };
            let known = partition.log_start..=partition.end;
            let error = match before {
                Some(error) => Some(error),
                None if partition.leader != id => Some(ErrorCode::NotLeaderOrFollower),
                None if !known.contains(&asked.fetch_offset) => Some(ErrorCode::OffsetOutOfRange),
                None => None,
            };
            data.error_code = error.unwrap_or(ErrorCode::None).code();
            data.high_watermark = partition.end;
            data.last_stable_offset = partition.last_stable_offset.unwrap_or(partition.end);
            data.log_start_offset = partition.log_start;
            data.aborted_transactions = (request.isolation_level == 1)
                .then(|| partition.aborted.clone() as Vec<AbortedTransaction>);
            if error == Some(ErrorCode::NotLeaderOrFollower) {
                data.current_leader = LeaderIdAndEpoch {
                    leader_id: partition.leader,
                    leader_epoch: partition.leader_epoch,
                    ..LeaderIdAndEpoch::default()
                };
            }
            if error.is_none() {
                let limit = usize::try_from(asked.partition_max_bytes).unwrap_or_default();
                // The first that has something gives it whole; those after it what is left.
                let mut batches = partition.read(asked.fetch_offset, limit);
                batches.retain(|_| room > 0);
                room = room.saturating_sub(batches.iter().map(bytes::Bytes::len).sum());
                is_empty &= batches.is_empty();
                data.records = Some(Records::from(batches));
            } else {
                is_empty = false;
            }
            data
        });
        responses.push(FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
            ..FetchableTopicResponse::default()
        });
    }
    (FetchResponse { responses, ..FetchResponse::default() }, is_empty)
}
