//! FindCoordinator (key 10), versions 0–6: which broker coordinates a group. It is the leader of
//! the group's partition of `__consumer_offsets`, which the first such request creates.
//!
//! There are no transaction coordinators yet: COORDINATOR_NOT_AVAILABLE, which clients retry.

use std::rc::Rc;

use futures_util::future::join_all;
use thalweg_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::offsets_topic;
use crate::server::connection::Connection;
use crate::shard::Shard;

/// The first version that asks for several keys.
const BATCHED_SINCE: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) async fn handle(
    connection: Rc<Connection>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let shard = &connection.shard;
    if version < BATCHED_SINCE {
        let found = find(shard, request.key_type, request.key).await;
        return FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..FindCoordinatorResponse::default()
        };
    }
    // Side by side: partitions without a leader are waited for once, not once a key.
    let keys = request.coordinator_keys.into_iter();
    let coordinators = join_all(keys.map(|key| find(shard, request.key_type, key))).await;
    FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
}

async fn find(shard: &Rc<Shard>, key_type: i8, key: KafkaStr) -> Coordinator {
    let found = match key_type {
        GROUP => of_group(shard, &key).await,
        TRANSACTION => Err((
            ErrorCode::CoordinatorNotAvailable,
            "this broker has no transaction coordinator yet",
        )),
        _ => Err((ErrorCode::InvalidRequest, "there are no coordinators of this kind")),
    };
    let missing = |code: ErrorCode, message: &'static str| Coordinator {
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Coordinator::default()
    };
    let answer = found.unwrap_or_else(|(code, message)| missing(code, message));
    Coordinator { key, ..answer }
}

async fn of_group(
    shard: &Rc<Shard>,
    group_id: &str,
) -> Result<Coordinator, (ErrorCode, &'static str)> {
    let (topic, partition) = offsets_topic::partition_for(shard, group_id)
        .await
        .map_err(|code| (code, "__consumer_offsets cannot be created at the moment"))?;
    let no_leader = (ErrorCode::CoordinatorNotAvailable, "the group's partition has no leader");
    let leader = shard.node.leaders.get(topic, partition).ok_or(no_leader)?;
    let image = shard.node.images.load();
    let broker = image.brokers.get(&leader.node).filter(|it| !it.fenced).ok_or(no_leader)?;
    Ok(Coordinator {
        node_id: leader.node,
        host: KafkaStr::copied_from(&broker.host),
        port: i32::from(broker.port),
        ..Coordinator::default()
    })
}
