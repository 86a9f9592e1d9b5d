//! Connections against brokers that misbehave: every fault ends in an error that names it, and none
//! spoils what comes after it.

mod fake;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fake::{FakeCluster, Fault};
use thalweg_client::error::{Disconnect, RequestFault};
use thalweg_client::protocol::messages::{
    ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataResponse,
};
use thalweg_client::protocol::{
    ApiKey, ErrorCode, Message, Reader, RequestHeader, SERVED, encode_response,
};
use thalweg_client::{Client, ClientBuilder, ClientError, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(200);
/// A wait that no test outlives: nothing is tried twice.
const EVER: Duration = Duration::from_secs(3600);

fn builder(bootstrap: &str) -> ClientBuilder {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(10));
    Client::builder(bootstrap)
        .retry_backoff(min, max)
        .reconnect_backoff(min, max)
        .connect_timeout(Duration::from_secs(5))
        .request_timeout(Duration::from_secs(5))
        .operation_timeout(Duration::from_secs(10))
}

/// Any request that the fake brokers answer, each time differently.
async fn ask(client: &Client) -> Result<i64, thalweg_client::error::RequestError> {
    let response = client.request(Target::AnyBroker, |_| InitProducerIdRequest {
        transactional_id: None,
        ..InitProducerIdRequest::default()
    });
    response.await.map(|response| response.producer_id)
}

async fn read(stream: &mut TcpStream) -> (RequestHeader, Reader) {
    let size = stream.read_i32().await.expect("a size");
    let mut frame = vec![0; usize::try_from(size).expect("not negative")];
    stream.read_exact(&mut frame).await.expect("a frame");
    let mut reader = Reader::new(Bytes::from(frame));
    let header = RequestHeader::decode(&mut reader).expect("a header");
    (header, reader)
}

async fn write<M: Message>(stream: &mut TcpStream, header: &RequestHeader, response: &M) {
    let frame = encode_response(header.correlation_id, response, header.api_version);
    let bytes = frame.expect("it can be written").into_bytes();
    stream.write_all(&bytes).await.expect("the client reads");
}

/// A broker for one connection, past the handshake and the first metadata.
async fn one_connection(listener: TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let (header, _) = read(&mut stream).await;
    let range = |api: &thalweg_client::protocol::ServedApi| {
        thalweg_client::protocol::messages::api_versions::ApiVersion {
            api_key: api.key.into(),
            min_version: *api.versions.start(),
            max_version: *api.versions.end(),
            ..Default::default()
        }
    };
    let api_keys = SERVED.iter().map(range).collect();
    write(&mut stream, &header, &ApiVersionsResponse { api_keys, ..Default::default() }).await;
    let (header, _) = read(&mut stream).await;
    write(&mut stream, &header, &MetadataResponse::default()).await;
    stream
}

#[tokio::test]
async fn requests_are_pipelined_and_each_gets_its_own_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = listener.local_addr().unwrap().to_string();
    const COUNT: usize = 50;
    let broker = async {
        let mut stream = one_connection(listener).await;
        let mut headers = Vec::new();
        // Not one is answered before all have been read, so none waits for another's answer.
        for _ in 0..COUNT {
            let (header, mut body) = read(&mut stream).await;
            let request = InitProducerIdRequest::decode(&mut body, header.api_version).unwrap();
            headers.push((header, i64::from(request.transaction_timeout_ms)));
        }
        for (header, producer_id) in headers {
            let response = InitProducerIdResponse { producer_id, ..Default::default() };
            write(&mut stream, &header, &response).await;
        }
        stream
    };
    let asking = async {
        let client = builder(&bootstrap).connect().await.unwrap();
        let requests = (0..COUNT).map(|number| {
            client.request(Target::AnyBroker, move |_| InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: number as i32,
                ..InitProducerIdRequest::default()
            })
        });
        let answers = futures_util::future::join_all(requests).await;
        answers.into_iter().map(|answer| answer.unwrap().producer_id).collect::<Vec<i64>>()
    };
    let (_stream, answers) = tokio::join!(broker, asking);
    assert_eq!(answers, (0..COUNT as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_unanswered_request_ends_its_connection_and_the_next_has_another() {
    let cluster = FakeCluster::start(1).await;
    let client = builder(&cluster.bootstrap()).request_timeout(SHORT).retry_backoff(EVER, EVER);
    let client = client.connect().await.unwrap();
    cluster.fault(ApiKey::InitProducerId, Fault::FallSilent);
    let error = ask(&client).await.unwrap_err();
    assert!(matches!(error.fault, RequestFault::TimedOut(_)), "{error}");
    assert!(error.is_retriable() && error.was_sent());
    assert!(error.to_string().contains("InitProducerId request to"), "{error}");
    let connections = cluster.state().connections;
    assert_eq!(ask(&client).await.unwrap(), 1);
    assert_eq!(cluster.state().connections, connections + 1);
}

#[tokio::test]
async fn whoever_stops_waiting_takes_nothing_from_the_others() {
    let cluster = FakeCluster::start(1).await;
    let client = builder(&cluster.bootstrap()).connect().await.unwrap();
    cluster.fault(ApiKey::InitProducerId, Fault::Hold);
    tokio::select! {
        _ = ask(&client) => panic!("it is held"),
        () = cluster.until(|state| state.held == 1) => {}
    }
    let second = ask(&client);
    cluster.release();
    assert_eq!(second.await.unwrap(), 2, "the first answer was thrown away");
    assert_eq!(cluster.state().connections, 2, "one to the bootstrap address, one to the broker");
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_a_version_that_it_knows() {
    for max in [0, 2] {
        let cluster = FakeCluster::start(1).await;
        cluster.state().versions_max.insert(ApiKey::ApiVersions, max);
        cluster.state().versions_max.insert(ApiKey::Metadata, 5);
        let client = builder(&cluster.bootstrap()).connect().await.unwrap();
        assert_eq!(client.brokers().len(), 1);
        let asked = cluster.state().requests.clone();
        let ours =
            *SERVED.iter().find(|api| api.key == ApiKey::ApiVersions).unwrap().versions.end();
        let expected = [
            (ApiKey::ApiVersions, ours, 1),
            (ApiKey::ApiVersions, max, 1),
            (ApiKey::Metadata, 5, 1),
        ];
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn a_request_that_the_broker_does_not_know_is_not_sent() {
    let cluster = FakeCluster::start(1).await;
    let client = builder(&cluster.bootstrap()).connect().await.unwrap();
    let error = client.admin().describe_cluster().await.unwrap_err();
    assert!(error.to_string().contains("the broker does not know this API"), "{error}");
    assert!(!error.is_retriable());
    assert_eq!(cluster.count(ApiKey::DescribeCluster), 0);
}

#[tokio::test]
async fn broken_answers_are_named_and_survived() {
    type Expected = Box<dyn Fn(&str) -> bool>;
    let frame = |bytes: &[u8]| {
        let size = i32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&size[..], bytes].concat()
    };
    let is = |expected: &'static str| move |text: &str| text.contains(expected);
    let broken: [(Vec<u8>, Expected); 6] = [
        (i32::MAX.to_be_bytes().to_vec(), Box::new(is("announced an answer of 2147483647 bytes"))),
        ((-1i32).to_be_bytes().to_vec(), Box::new(is("announced an answer of -1 bytes"))),
        (frame(&[]), Box::new(is("answered request -1"))),
        (frame(&[0x7f; 4]), Box::new(is("answered request 2139062143"))),
        // The correlation id is that of the first request after handshake and nothing more.
        (frame(&1i32.to_be_bytes()), Box::new(is("malformed answer"))),
        (frame(&[0, 0, 0, 1, 0, 0xff, 0xff]), Box::new(is("malformed answer"))),
    ];
    for (bytes, is_named) in broken {
        let cluster = FakeCluster::start(1).await;
        let client = builder(&cluster.bootstrap());
        let client = client.retry_backoff(EVER, EVER).connect().await.unwrap();
        cluster.fault(ApiKey::InitProducerId, Fault::Say(bytes.clone()));
        let error = ask(&client).await.unwrap_err();
        assert!(is_named(&error.to_string()), "{bytes:?}: {error}");
        assert!(ask(&client).await.is_ok(), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_and_the_request_sent_again() {
    let cluster = FakeCluster::start(1).await;
    let client = builder(&cluster.bootstrap()).connect().await.unwrap();
    cluster.fault(ApiKey::InitProducerId, Fault::HangUp);
    cluster.fault(ApiKey::InitProducerId, Fault::DoAndHangUp);
    assert_eq!(ask(&client).await.unwrap(), 2, "the second attempt was carried out");
}

#[tokio::test]
async fn any_living_bootstrap_address_is_enough() {
    let cluster = FakeCluster::start(1).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bootstrap = format!("{dead},{}", cluster.bootstrap());
    for _ in 0..4 {
        let client = builder(&bootstrap).connect().await.unwrap();
        assert!(ask(&client).await.is_ok());
    }
    let error = builder(&dead.to_string()).connect().await.unwrap_err();
    let ClientError::Unreachable(error) = error else { panic!("{error}") };
    assert!(matches!(error.fault, RequestFault::NotConnected(_)) && !error.was_sent());
    assert!(error.to_string().contains(&dead.to_string()), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_down_is_not_dialed_in_a_tight_loop() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = builder(&dead.to_string())
        .reconnect_backoff(SHORT, SHORT)
        .connect_timeout(Duration::from_secs(1));
    let begin = Instant::now();
    let error = client.clone().connect().await.unwrap_err();
    assert!(begin.elapsed() < SHORT, "the first attempt waits for nothing");
    assert!(matches!(error, ClientError::Unreachable(_)));
}

#[tokio::test]
async fn a_broker_that_hangs_up_names_itself_in_the_error() {
    let cluster = FakeCluster::start(1).await;
    let client = builder(&cluster.bootstrap()).retry_backoff(EVER, EVER);
    let client = client.connect().await.unwrap();
    cluster.fault(ApiKey::InitProducerId, Fault::HangUp);
    let error = ask(&client).await.unwrap_err();
    let is_closed = matches!(error.fault, RequestFault::Disconnected(Disconnect::ClosedByBroker));
    assert!(is_closed || error.to_string().contains("reset"), "{error}");
    assert!(error.to_string().contains("broker 1 at 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_handshake_refused_is_an_error_at_once() {
    let cluster = FakeCluster::start(1).await;
    // Correlation id, error, no APIs, no throttling, no tagged fields.
    let mut refusal = vec![0, 0, 0, 12, 0, 0, 0, 0];
    refusal.extend(ErrorCode::ClusterAuthorizationFailed.code().to_be_bytes());
    refusal.extend([1, 0, 0, 0, 0, 0]);
    cluster.fault(ApiKey::ApiVersions, Fault::Say(refusal));
    let error = builder(&cluster.bootstrap()).connect().await.unwrap_err();
    let ClientError::Unreachable(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
    assert!(!error.is_retriable());
}
