//! UnregisterBroker (key 64), version 0: removes a broker for good. BROKER_ID_NOT_REGISTERED for
//! one that is not there, INVALID_REQUEST for one that has replicas or is the last that lives.

use std::rc::Rc;

use thalweg_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::topic_creation::propose;
use crate::controller::command::Command;
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let command = Command::UnregisterBroker { node: request.broker_id };
    let refusal = propose(&connection.shard, command).await.err();
    UnregisterBrokerResponse {
        error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
        error_message: refusal.map(|refusal| refusal.message.into()),
        ..UnregisterBrokerResponse::default()
    }
}
