//! ConsumerGroupHeartbeat (key 68), versions 0–1: members of consumer groups join, stay, take and
//! give up partitions, and leave (KIP-848). At version 0 the broker may have to make up the id.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use uuid::Uuid;

use super::offsets_topic::with_coordinator;
use crate::group::consumer::{Heartbeat, Refusal};
use crate::server::connection::{CloseReason, Connection};
use crate::server::dispatch::{Answer, Incoming};

pub(super) fn start(
    mut incoming: Incoming,
) -> Result<LocalBoxFuture<'static, Answer>, CloseReason> {
    let request = incoming.decode::<ConsumerGroupHeartbeatRequest>()?;
    let heartbeat = Heartbeat {
        version: incoming.version(),
        request,
        client_id: incoming.header.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", incoming.connection.peer.ip()).into(),
        new_member_id: Uuid::new_v4().to_string().into(),
    };
    Ok(async move {
        let response = beat(&incoming.connection, heartbeat).await;
        incoming.answer(&response.unwrap_or_else(refused))
    }
    .boxed_local())
}

async fn beat(
    connection: &Connection,
    heartbeat: Heartbeat,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    // Nothing is made for a request that makes no sense, least of all the topic of all groups.
    heartbeat.check(&connection.shard.node.config().kafka.groups.consumer)?;
    let group_id: KafkaStr = heartbeat.request.group_id.clone();
    with_coordinator(&connection.shard, &group_id, |coordinator, id| async move {
        coordinator.run(&id, |groups, turn| groups.consumer_heartbeat(&id, &heartbeat, turn)).await
    })
    .await?
}

fn refused(Refusal { code, message }: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: code.code(),
        error_message: Some(message.into_owned().into()),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
