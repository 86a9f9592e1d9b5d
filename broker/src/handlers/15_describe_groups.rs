//! DescribeGroups (key 15), versions 0–6. A group that is not there is Dead without an error up to
//! version 5, and GROUP_ID_NOT_FOUND from version 6 (KIP-1043).

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::messages::describe_groups::DescribedGroup;
use thalweg_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::server::connection::Connection;
use crate::shard::Shard;

const NOT_FOUND_SINCE: i16 = 6;
/// Without an authorizer everyone may do everything (KIP-430): read 3, delete 6, describe 8,
/// describe configs 10, alter configs 11.
pub(super) const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let describe = request.groups.into_iter().map(|id| describe(&connection.shard, version, id));
    let mut groups = join_all(describe).await;
    if request.include_authorized_operations {
        for group in groups.iter_mut().filter(|group| group.error_code == 0) {
            group.authorized_operations = GROUP_OPERATIONS;
        }
    }
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

async fn describe(shard: &Rc<Shard>, version: i16, group_id: KafkaStr) -> DescribedGroup {
    let described = match check_group_id(&group_id) {
        Err(code) => Err(code),
        Ok(()) => {
            with_coordinator(shard, &group_id, |coordinator, id| async move {
                coordinator.run(&id, |groups, _turn| groups.describe(&id)).await
            })
            .await
        }
    };
    match described {
        Ok(Some(group)) => group,
        Ok(None) if version < NOT_FOUND_SINCE => {
            DescribedGroup { group_id, group_state: "Dead".into(), ..DescribedGroup::default() }
        }
        Ok(None) => DescribedGroup {
            error_code: ErrorCode::GroupIdNotFound.code(),
            error_message: Some(format!("Group {group_id} not found.").into()),
            group_id,
            group_state: "Dead".into(),
            ..DescribedGroup::default()
        },
        Err(code) => {
            DescribedGroup { error_code: code.code(), group_id, ..DescribedGroup::default() }
        }
    }
}
