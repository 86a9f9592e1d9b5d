//! InitProducerId (key 22), versions 0–5, for idempotent producers. A transactional id needs a
//! coordinator, which there is none of yet: COORDINATOR_NOT_AVAILABLE.
//!
//! Ids come from the controller in blocks, so that most requests write nothing.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::topic_creation::{Refusal, propose};
use crate::controller::command::{Command, Outcome};
use crate::server::connection::Connection;
use crate::shard::Shard;

/// Ids taken from the controller at a time, as Kafka does.
const BLOCK: u32 = 1000;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    match request.transactional_id {
        Some(id) if id.is_empty() => return refused(ErrorCode::InvalidRequest),
        Some(_) => return refused(ErrorCode::CoordinatorNotAvailable),
        None => {}
    }
    match next_id(&connection.shard).await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        },
        Err(refusal) => refused(refusal.code),
    }
}

async fn next_id(shard: &Rc<Shard>) -> Result<i64, Refusal> {
    if let Some(id) = shard.producer_ids.borrow_mut().next() {
        return Ok(id);
    }
    match propose(shard, Command::AllocateProducerIds { count: BLOCK }).await? {
        Outcome::ProducerIds { first } => {
            let mut ids = first..first + i64::from(BLOCK);
            let id = ids.next().unwrap_or(first);
            *shard.producer_ids.borrow_mut() = ids;
            Ok(id)
        }
        Outcome::Applied => unreachable!("the controller hands out ids for this command"),
    }
}
