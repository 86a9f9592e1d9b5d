//! SyncGroup (key 14), versions 0–5. The answer comes when the leader's assignment is durable.

use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::messages::sync_group::SyncGroupRequestAssignment;
use thalweg_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::group::classic::{Sync, refused_sync};
use crate::server::connection::Connection;

/// The first version that names the protocol, and so must (KIP-559).
const PROTOCOL_SINCE: i16 = 5;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let group_id = request.group_id.detached();
    let (checked, sync) = (check(version, &request), sync(&request));
    // Nothing of the frame is held while others are waited for.
    drop(request);
    let outcome = match checked {
        Err(code) => Err(code),
        Ok(()) => {
            with_coordinator(&connection.shard, &group_id, move |coordinator, id| async move {
                coordinator.sync(&id, &sync).await
            })
            .await
        }
    };
    outcome.unwrap_or_else(refused_sync)
}

fn check(version: i16, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    check_group_id(&request.group_id)?;
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    match version >= PROTOCOL_SINCE && unnamed {
        true => Err(ErrorCode::InconsistentGroupProtocol),
        false => Ok(()),
    }
}

fn sync(request: &SyncGroupRequest) -> Sync {
    let assignment = |it: &SyncGroupRequestAssignment| {
        (it.member_id.detached(), Bytes::copy_from_slice(&it.assignment))
    };
    Sync {
        member_id: request.member_id.detached(),
        instance_id: request.group_instance_id.as_ref().map(KafkaStr::detached),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_ref().map(KafkaStr::detached),
        protocol_name: request.protocol_name.as_ref().map(KafkaStr::detached),
        assignments: request.assignments.iter().map(assignment).collect(),
    }
}
