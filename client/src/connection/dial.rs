//! Making a connection: TCP, then the agreement on versions (KIP-35, KIP-511).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use thalweg_protocol::{ApiKey, DecodeError, ErrorCode, KafkaStr, Message, Reader, ResponseHeader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Connection, Disconnect, Link, Versions};
use crate::address::BrokerAddress;
use crate::error::{ConnectError, ConnectFault};
use crate::options::Options;

/// Connects to `broker`, within the connect timeout for all steps together.
pub(crate) async fn dial(
    broker: BrokerAddress,
    options: &Options,
) -> Result<Connection, ConnectError> {
    let limit = options.connect_timeout;
    let outcome = match timeout(limit, connect(&broker, options)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectFault::TimedOut(limit)),
    };
    outcome.map_err(|fault| ConnectError { broker, fault })
}

async fn connect(broker: &BrokerAddress, options: &Options) -> Result<Connection, ConnectFault> {
    let unreachable = |error| ConnectFault::Unreachable(Arc::new(error));
    let stream = TcpStream::connect((broker.host(), broker.port())).await.map_err(unreachable)?;
    // Requests are written whole; Nagle's algorithm would only hold back their last segment.
    stream.set_nodelay(true).map_err(unreachable)?;
    let client_id = options.client_id.clone();
    let link = Link::over(stream, broker.clone(), client_id, options);
    let handshake = Connection::new(link.clone(), Versions::assumed());
    let response = agree(&handshake, options.connect_timeout).await?;
    Ok(Connection::new(link, Versions::from_response(&response)))
}

/// Asks for the broker's versions, at first in our highest one. A broker that does not know that
/// answers in version 0, with its own range, and is asked again.
async fn agree(
    connection: &Connection,
    limit: Duration,
) -> Result<ApiVersionsResponse, ConnectFault> {
    let ours = *ApiVersionsRequest::VERSIONS.end();
    let response = ask(connection, ours, limit).await?;
    let response = match ErrorCode::from(response.error_code) {
        ErrorCode::UnsupportedVersion => {
            let theirs = Versions::from_response(&response);
            let version = theirs.highest(ApiKey::ApiVersions, 0..=ours - 1).unwrap_or(0);
            ask(connection, version, limit).await?
        }
        _ => response,
    };
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => Ok(response),
        error => Err(ConnectFault::Refused(error)),
    }
}

async fn ask(
    connection: &Connection,
    version: i16,
    limit: Duration,
) -> Result<ApiVersionsResponse, ConnectFault> {
    let request = ApiVersionsRequest {
        client_software_name: KafkaStr::from("thalweg-client"),
        client_software_version: KafkaStr::from(env!("CARGO_PKG_VERSION")),
        ..ApiVersionsRequest::default()
    };
    let answer = connection.submit(&request, version)?;
    let frame = answer.frame(limit).await?;
    decode(frame, version).map_err(|fault| {
        connection.link.end(Disconnect::Malformed(fault));
        ConnectFault::Lost(Disconnect::Malformed(fault))
    })
}

fn decode(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, DecodeError> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, version)?;
    let body = reader.into_rest();
    // The error stands first in every version, and this one means that all the rest is version 0.
    let error = body.first_chunk().map(|code| ErrorCode::from(i16::from_be_bytes(*code)));
    let version = if error == Some(ErrorCode::UnsupportedVersion) { 0 } else { version };
    ApiVersionsResponse::decode(&mut Reader::new(body), version)
}
