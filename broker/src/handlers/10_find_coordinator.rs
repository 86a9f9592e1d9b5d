//! FindCoordinator (key 10), versions 0–6. There are no coordinators yet: every key is answered
//! COORDINATOR_NOT_AVAILABLE, which clients retry.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::server::connection::Connection;

const MESSAGE: &str = "this broker has no group or transaction coordinator yet";

/// The first version that asks for several keys.
const BATCHED_SINCE: i16 = 4;

pub(super) async fn handle(
    _connection: Rc<Connection>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let error_code = ErrorCode::CoordinatorNotAvailable.code();
    if version < BATCHED_SINCE {
        return FindCoordinatorResponse {
            error_code,
            error_message: Some(MESSAGE.into()),
            node_id: -1,
            port: -1,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code,
        error_message: Some(MESSAGE.into()),
        ..Coordinator::default()
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }
}
