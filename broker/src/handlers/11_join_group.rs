//! JoinGroup (key 11), versions 0–9. The answer comes when the group's next generation begins.
//!
//! Version 4 and later send a new dynamic member away with MEMBER_ID_REQUIRED first (KIP-394);
//! version 9 can tell a leader to skip the assignment (KIP-814).

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use thalweg_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::group::GroupSettings;
use crate::group::classic::{Join, MemberInfo, Protocol, refused_join};
use crate::server::connection::CloseReason;
use crate::server::dispatch::{Answer, Incoming};

/// The first version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
const ID_FIRST_SINCE: i16 = 4;
/// The first version in which there may be no protocol.
const NULL_PROTOCOL_SINCE: i16 = 7;
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

pub(super) fn start(
    mut incoming: Incoming,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason> {
    let request = incoming.decode::<JoinGroupRequest>()?;
    Ok(async move {
        let group_id = request.group_id.detached();
        let settings = incoming.connection.shard.node.config().kafka.groups.clone();
        let (checked, join) = (check(&request, &settings), join(&incoming, &request));
        // Nothing of the frame is held while others are waited for.
        drop(request);
        let member_id = join.member_id.clone();
        let joined = match checked {
            Err(code) => Err(code),
            Ok(()) => {
                with_coordinator(
                    &incoming.connection.shard,
                    &group_id,
                    move |coordinator, id| async move { coordinator.join(&id, join).await },
                )
                .await
            }
        };
        let joined = joined.unwrap_or_else(|code| refused_join(&member_id, code));
        incoming.answer(&in_version(joined, incoming.version()))
    }
    .boxed_local())
}

fn check(request: &JoinGroupRequest, settings: &GroupSettings) -> Result<(), ErrorCode> {
    check_group_id(&request.group_id)?;
    let allowed = settings.session_timeout_ms_min..=settings.session_timeout_ms_max;
    match allowed.contains(&request.session_timeout_ms) {
        true => Ok(()),
        false => Err(ErrorCode::InvalidSessionTimeout),
    }
}

fn join(incoming: &Incoming, request: &JoinGroupRequest) -> Join {
    let version = incoming.version();
    let client_id = incoming.header.client_id.as_ref().map(KafkaStr::detached);
    let client_id = client_id.unwrap_or_default();
    let instance_id = request.group_instance_id.as_ref().map(KafkaStr::detached);
    let prefix = instance_id.as_ref().unwrap_or(&client_id);
    let protocol = |it: &thalweg_protocol::messages::join_group::JoinGroupRequestProtocol| {
        Protocol { name: it.name.detached(), metadata: Bytes::copy_from_slice(&it.metadata) }
    };
    Join {
        member_id: request.member_id.detached(),
        new_member_id: format!("{prefix}-{}", Uuid::new_v4()).into(),
        protocol_type: request.protocol_type.detached(),
        asks_for_id_first: version >= ID_FIRST_SINCE,
        can_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
        reason: request.reason.as_ref().map(KafkaStr::detached),
        info: MemberInfo {
            client_host: format!("/{}", incoming.connection.peer.ip()).into(),
            rebalance_timeout_ms: match version {
                REBALANCE_TIMEOUT_SINCE.. => request.rebalance_timeout_ms,
                _ => request.session_timeout_ms,
            },
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.iter().map(protocol).collect(),
            instance_id,
            client_id,
        },
    }
}

fn in_version(response: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    match version {
        NULL_PROTOCOL_SINCE.. => response,
        _ => JoinGroupResponse {
            protocol_name: Some(response.protocol_name.unwrap_or_default()),
            ..response
        },
    }
}
