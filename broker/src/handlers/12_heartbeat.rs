//! Heartbeat (key 12), versions 0–4. REBALANCE_IN_PROGRESS tells a member to join again.
//!
//! A coordinator that is still loading answers that all is well, as Kafka's does: clients know no
//! other answer, and sessions begin when it has loaded.

use std::rc::Rc;

use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::offsets_topic::{check_group_id, with_coordinator};
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let outcome = match check_group_id(&request.group_id) {
        Err(code) => Err(code),
        Ok(()) => {
            let group_id = request.group_id.clone();
            with_coordinator(&connection.shard, &group_id, move |coordinator, id| async move {
                let HeartbeatRequest { member_id, group_instance_id, generation_id, .. } = request;
                let beat = coordinator.run(&id, |groups, turn| {
                    let instance_id = group_instance_id.as_ref();
                    groups.heartbeat(&id, &member_id, instance_id, generation_id, turn)
                });
                beat.await?
            })
            .await
        }
    };
    HeartbeatResponse {
        error_code: match outcome {
            Ok(()) | Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None.code(),
            Err(code) => code.code(),
        },
        ..HeartbeatResponse::default()
    }
}
