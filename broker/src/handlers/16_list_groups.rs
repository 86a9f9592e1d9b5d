//! ListGroups (key 16), versions 0–5: the groups that this broker coordinates, on all its shards,
//! filtered by state (KIP-518) and type (KIP-848) without regard to case.

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::messages::list_groups::ListedGroup;
use thalweg_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use thalweg_protocol::{ErrorCode, KafkaStr};

use crate::server::connection::Connection;
use crate::shard::Shard;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let here = &connection.shard;
    let shards = here.node.router.shards();
    let listed = shards.map(|shard| {
        here.node.router.run(here, shard, |shard| {
            let shard = Rc::clone(shard);
            async move { list(&shard).await }
        })
    });
    let mut response = ListGroupsResponse::default();
    for listed in join_all(listed).await {
        match listed.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable)) {
            Ok(groups) => response.groups.extend(groups),
            Err(code) => response.error_code = code.code(),
        }
    }
    let passes = |filter: &[KafkaStr], value: &KafkaStr| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    response.groups.retain(|group| {
        passes(&request.states_filter, &group.group_state)
            && passes(&request.types_filter, &group.group_type)
    });
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    response
}

async fn list(shard: &Shard) -> Result<Vec<ListedGroup>, ErrorCode> {
    let mut groups = Vec::new();
    for coordinator in shard.groups.all() {
        match coordinator.ask(|groups| groups.list()).await {
            Ok(listed) => groups.extend(listed),
            // Not ours any more: the new coordinator lists them.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return Err(code),
        }
    }
    Ok(groups)
}
