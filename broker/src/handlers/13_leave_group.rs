//! LeaveGroup (key 13), versions 0–5: one member up to version 2, from version 3 many, also by
//! their static names alone (KIP-345).

use std::rc::Rc;

use thalweg_protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use thalweg_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::group::classic::Leave;
use crate::server::connection::Connection;

/// The first version with several members.
const MANY_SINCE: i16 = 3;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let members = match version {
        MANY_SINCE.. => request.members,
        _ => vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }],
    };
    let leaves: Vec<Leave> = members.iter().map(leave).collect();
    let outcomes = match check_group_id(&request.group_id) {
        Err(code) => Err(code),
        Ok(()) => {
            with_coordinator(&connection.shard, &request.group_id, |coordinator, id| async move {
                coordinator.run(&id, |groups, turn| groups.leave(&id, &leaves, turn)).await?
            })
            .await
        }
    };
    respond(version, members, outcomes)
}

fn leave(member: &MemberIdentity) -> Leave {
    Leave {
        member_id: member.member_id.detached(),
        instance_id: member.group_instance_id.as_ref().map(KafkaStr::detached),
        reason: member.reason.as_ref().map(KafkaStr::detached),
    }
}

fn respond(
    version: i16,
    members: Vec<MemberIdentity>,
    outcomes: Result<Vec<ErrorCode>, ErrorCode>,
) -> LeaveGroupResponse {
    let of_all = |code: ErrorCode| LeaveGroupResponse {
        error_code: code.code(),
        ..LeaveGroupResponse::default()
    };
    match outcomes {
        Err(code) => of_all(code),
        Ok(outcomes) if version < MANY_SINCE => {
            of_all(outcomes.first().copied().unwrap_or(ErrorCode::UnknownMemberId))
        }
        Ok(outcomes) => {
            let members = members.into_iter().zip(outcomes).map(|(member, code)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: code.code(),
                ..MemberResponse::default()
            });
            LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
        }
    }
}
