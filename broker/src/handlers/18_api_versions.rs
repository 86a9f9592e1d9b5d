//! ApiVersions (key 18), versions 0–4. A version above ours is answered in version 0 with
//! UNSUPPORTED_VERSION and our range for this API, and the connection goes on (KIP-511).

use std::rc::Rc;

use thalweg_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use thalweg_protocol::{ApiKey, ErrorCode, advertised_versions};

use super::SERVED;
use crate::server::connection::Connection;
use crate::server::dispatch::{Answer, encode_v0};

pub(super) async fn handle(
    _connection: Rc<Connection>,
    version: i16,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let named = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        text.bytes().all(plain)
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
    };
    if version >= 3
        && !(named(&request.client_software_name) && named(&request.client_software_version))
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
    }
    ApiVersionsResponse {
        api_keys: SERVED.iter().filter_map(|key| range(*key)).collect(),
        ..ApiVersionsResponse::default()
    }
}

/// The answer to a version we do not speak.
pub(crate) fn unsupported_version(correlation_id: i32) -> Answer {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: range(ApiKey::ApiVersions).into_iter().collect(),
        ..ApiVersionsResponse::default()
    };
    encode_v0(correlation_id, &response)
}

fn range(key: ApiKey) -> Option<ApiVersion> {
    let versions = advertised_versions(key)?;
    Some(ApiVersion {
        api_key: key.into(),
        min_version: *versions.start(),
        max_version: *versions.end(),
        ..ApiVersion::default()
    })
}
