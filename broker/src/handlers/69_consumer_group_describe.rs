//! ConsumerGroupDescribe (key 69), versions 0–1: consumer groups with their members, what these
//! have and are to have (KIP-848). What is not a consumer group is not found here.

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::messages::consumer_group_describe::DescribedGroup;
use thalweg_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::describe_groups::GROUP_OPERATIONS;
use super::offsets_topic::{check_group_id, with_coordinator};
use crate::server::connection::Connection;
use crate::shard::Shard;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let describe = request.group_ids.into_iter().map(|id| describe(&connection.shard, id));
    let mut groups = join_all(describe).await;
    if request.include_authorized_operations {
        for group in groups.iter_mut().filter(|group| group.error_code == 0) {
            group.authorized_operations = GROUP_OPERATIONS;
        }
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

async fn describe(shard: &Rc<Shard>, group_id: KafkaStr) -> DescribedGroup {
    let described = match check_group_id(&group_id) {
        Err(code) => Err(code),
        Ok(()) => {
            with_coordinator(shard, &group_id, |coordinator, id| async move {
                coordinator.run(&id, |groups, turn| groups.describe_consumer(&id, turn)).await
            })
            .await
        }
    };
    let (code, message) = match described {
        Ok(Some(group)) => return group,
        Ok(None) => {
            let message = format!("Group {group_id} is not a consumer group.");
            (ErrorCode::GroupIdNotFound, Some(message.into()))
        }
        Err(code) => (code, None),
    };
    DescribedGroup {
        error_code: code.code(),
        error_message: message,
        group_id,
        ..DescribedGroup::default()
    }
}
