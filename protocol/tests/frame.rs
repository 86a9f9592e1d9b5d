//! Whole frames: their size prefix, the header each version has, and what is copied.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::protocol::Decodable;
use thalweg_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use thalweg_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, MetadataRequest, MetadataResponse,
    ProduceRequest,
};
use thalweg_protocol::{
    ApiKey, ErrorCode, HeaderError, Message, Reader, Records, RequestHeader, ResponseHeader,
    advertised_versions, encode_request, encode_response, for_each_api, messages, served_versions,
};

/// The frame without its size, which is checked.
fn body(mut frame: Bytes) -> Bytes {
    let size = frame.get_i32();
    assert_eq!(usize::try_from(size), Ok(frame.len()));
    frame
}

macro_rules! every_header {
    ($($api:ident: $request:ident, $response:ident;)+) => {
        #[test]
        fn every_header_is_the_oracles() {
            $(for version in served_versions(ApiKey::$api).expect("served") {
                let request = messages::$request::default();
                // The defaults of a few messages do not exist at all of their versions.
                if let Ok(frame) = encode_request(-77, Some("me".into()), &request, version) {
                    check_request_header::<messages::$request>(&body(frame.into_bytes()), version);
                }
                let response = messages::$response::default();
                if let Ok(frame) = encode_response(-77, &response, version) {
                    let body = body(frame.into_bytes());
                    check_response_header::<messages::$response>(&body, version);
                }
            })+
        }
    };
}

for_each_api!(every_header);

fn check_request_header<M: Message>(bytes: &Bytes, version: i16) {
    let mut theirs = bytes.clone();
    let key = kafka_protocol::messages::ApiKey::try_from(i16::from(M::API_KEY)).expect("a key");
    let form = key.request_header_version(version);
    let header = kafka_protocol::messages::RequestHeader::decode(&mut theirs, form).unwrap();
    assert_eq!(header.request_api_key, i16::from(M::API_KEY));
    assert_eq!(header.request_api_version, version);
    assert_eq!(header.correlation_id, -77);
    assert_eq!(header.client_id.as_deref(), Some("me"));

    let mut reader = Reader::new(bytes.clone());
    let header = RequestHeader::decode(&mut reader).unwrap();
    assert_eq!(header.api_key, M::API_KEY);
    assert_eq!(header.api_version, version);
    assert_eq!(header.correlation_id, -77);
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(reader.remaining(), theirs.len(), "{} {version}", M::API_KEY);
    M::decode(&mut reader, version).unwrap();
    assert!(reader.is_empty());
}

fn check_response_header<M: Message>(bytes: &Bytes, version: i16) {
    let mut theirs = bytes.clone();
    let key = kafka_protocol::messages::ApiKey::try_from(i16::from(M::API_KEY)).expect("a key");
    let form = key.response_header_version(version);
    let header = kafka_protocol::messages::ResponseHeader::decode(&mut theirs, form).unwrap();
    assert_eq!(header.correlation_id, -77);

    let mut reader = Reader::new(bytes.clone());
    let header = ResponseHeader::decode(&mut reader, M::API_KEY, version).unwrap();
    assert_eq!(header.correlation_id, -77);
    assert_eq!(reader.remaining(), theirs.len(), "{} {version}", M::API_KEY);
    M::decode(&mut reader, version).unwrap();
    assert!(reader.is_empty());
}

#[test]
fn a_client_of_any_age_can_read_the_refusal_of_its_api_versions_request() {
    // A version of the far future: only the fixed part of the header can be relied upon.
    let bytes = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 5, 0xde, 0xad]);
    let error = RequestHeader::decode(&mut Reader::new(bytes)).unwrap_err();
    let HeaderError::UnsupportedVersion { api_key, api_version, correlation_id } = error else {
        panic!("{error}");
    };
    assert_eq!((api_key, api_version, correlation_id), (ApiKey::ApiVersions, 99, 5));

    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        ..Default::default()
    };
    let frame = encode_response(correlation_id, &response, 0).unwrap();
    assert_eq!(frame.into_bytes()[..], [0, 0, 0, 10, 0, 0, 0, 5, 0, 35, 0, 0, 0, 0]);
}

#[test]
fn an_api_versions_response_has_no_tagged_fields_in_its_header() {
    let frame = encode_response(1, &ApiVersionsResponse::default(), 4).unwrap();
    // Size, correlation id, error code, empty array, throttle time, no tagged fields.
    assert_eq!(frame.into_bytes()[..], [0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    let frame = encode_response(1, &MetadataResponse::default(), 9).unwrap();
    assert_eq!(frame.into_bytes()[4..9], [0, 0, 0, 1, 0]);
}

#[test]
fn what_we_do_not_speak_is_told_apart() {
    let header = |key: i16, version: i16| {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&key.to_be_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 9, 0xff, 0xff, 0]);
        RequestHeader::decode(&mut Reader::new(bytes.freeze()))
    };
    let unknown = |api_key, api_version| {
        Err(HeaderError::UnknownApi { api_key, api_version, correlation_id: 9 })
    };
    assert_eq!(header(4, 0), unknown(4, 0), "between brokers only");
    assert_eq!(header(1234, 0), unknown(1234, 0), "no such API");
    assert_eq!(header(-1, 0), unknown(-1, 0));
    assert!(matches!(header(3, 14), Err(HeaderError::UnsupportedVersion { .. })));
    assert!(matches!(header(3, -1), Err(HeaderError::UnsupportedVersion { .. })));
    assert_eq!(header(3, 13).unwrap().client_id, None);
}

#[test]
fn produce_is_advertised_from_0_but_carried_out_from_3() {
    assert_eq!(advertised_versions(ApiKey::Produce), Some(0..=13));
    assert_eq!(served_versions(ApiKey::Produce), Some(3..=13));
    assert_eq!(served_versions(ApiKey::LeaderAndIsr), None);
    // acks −1, timeout 500, one topic "t", partition 7, records of 2 bytes.
    let bytes = b"\xff\xff\0\0\x01\xf4\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07\0\0\0\x02rr";
    let request = ProduceRequest::decode(&mut Reader::new(Bytes::from_static(bytes)), 0).unwrap();
    assert_eq!((request.acks, request.timeout_ms), (-1, 500));
    assert_eq!(request.topic_data[0].name, "t");
    assert_eq!(request.topic_data[0].partition_data[0].index, 7);
}

#[test]
fn record_slices_are_sent_from_where_they_are() {
    let segment = Bytes::from(vec![7; 4096]);
    let tail = Bytes::from(vec![8; 1000]);
    let partition = |index: i32, slices: Vec<Bytes>| PartitionData {
        partition_index: index,
        records: Some(Records::from(slices)),
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".into(),
            partitions: vec![
                partition(0, vec![segment.slice(96..), tail.clone()]),
                partition(1, vec![]),
                partition(2, vec![tail.slice(..255)]),
                partition(3, vec![tail.slice(..256)]),
            ],
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in served_versions(ApiKey::Fetch).expect("served") {
        let frame = encode_response(1, &response, version).unwrap();
        let shared = [segment.slice(96..), tail.clone(), tail.slice(..256)];
        let positions = shared.map(|slice| {
            let is_it = |buffer: &Bytes| buffer.as_ptr_range() == slice.as_ptr_range();
            frame.buffers().iter().position(is_it).expect("sent as it is")
        });
        assert_eq!(positions[..2], [1, 2], "right after the first headers");
        assert!(frame.buffers().iter().all(|buffer| !buffer.is_empty()));
        assert_eq!(frame.len(), frame.buffers().iter().map(Bytes::len).sum::<usize>());

        let mut reader = Reader::new(body(frame.into_bytes()));
        ResponseHeader::decode(&mut reader, ApiKey::Fetch, version).unwrap();
        let decoded = FetchResponse::decode(&mut reader, version).unwrap();
        let (sent, received) = (&response.responses[0], &decoded.responses[0]);
        assert_eq!(sent.partitions, received.partitions, "version {version}");
    }
}

#[test]
fn a_received_record_slice_is_part_of_the_frame() {
    let frame = body(encode_request(1, None, &produce_of(&[9; 300]), 9).unwrap().into_bytes());
    let mut reader = Reader::new(frame.clone());
    RequestHeader::decode(&mut reader).unwrap();
    let request = ProduceRequest::decode(&mut reader, 9).unwrap();
    let records = request.topic_data[0].partition_data[0].records.clone().expect("records");
    let [slice] = records.slices() else { panic!("one slice") };
    assert!(frame.as_ptr_range().contains(&slice.as_ptr()));
    assert!(frame.as_ptr_range().contains(&request.topic_data[0].name.as_ptr()));
}

fn produce_of(records: &[u8]) -> ProduceRequest {
    use thalweg_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
    let records = Some(Records::from(Bytes::copy_from_slice(records)));
    ProduceRequest {
        topic_data: vec![TopicProduceData {
            name: "topic".into(),
            partition_data: vec![PartitionProduceData { records, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn what_a_version_cannot_say_is_an_error() {
    use thalweg_protocol::EncodeError;
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(
        encode_request(1, None, &all, 0).unwrap_err(),
        EncodeError::Null { field: "MetadataRequest.topics", version: 0 }
    );
    assert!(encode_request(1, None, &all, 1).is_ok());
    let no_creation = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    assert_eq!(
        encode_request(1, None, &no_creation, 3).unwrap_err(),
        EncodeError::NotInVersion {
            field: "MetadataRequest.allow_auto_topic_creation",
            version: 3
        }
    );
    let unsupported = EncodeError::UnsupportedVersion(14);
    assert_eq!(encode_request(1, None, &all, 14).unwrap_err(), unsupported);
    let request = ApiVersionsRequest {
        client_software_name: "x".repeat(1 << 15).into(),
        ..Default::default()
    };
    assert_eq!(encode_request(1, None, &request, 3).unwrap_err(), EncodeError::TooLong(1 << 15));
}
