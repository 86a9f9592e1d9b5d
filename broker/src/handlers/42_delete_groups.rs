//! DeleteGroups (key 42), versions 0–2: NON_EMPTY_GROUP while there are members, GROUP_ID_NOT_FOUND
//! when there is no such group.

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::delete_groups::DeletableGroupResult;
use thalweg_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::offsets_topic::with_coordinator;
use crate::server::connection::Connection;
use crate::shard::Shard;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let deleted = request.groups_names.into_iter().map(|id| delete(&connection.shard, id));
    let results = join_all(deleted).await;
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}

async fn delete(shard: &Rc<Shard>, group_id: KafkaStr) -> DeletableGroupResult {
    let deleted = with_coordinator(shard, &group_id, |coordinator, id| async move {
        coordinator.run(&id, |groups, turn| groups.delete_group(&id, turn)).await?
    });
    DeletableGroupResult {
        error_code: deleted.await.err().map_or(0, |code| code.code()),
        group_id,
        ..DeletableGroupResult::default()
    }
}
