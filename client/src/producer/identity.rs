//! Asking the cluster for a producer id (KIP-98).

use std::sync::Arc;

use thalweg_protocol::messages::InitProducerIdRequest;
use thalweg_protocol::{ErrorCode, Message};

use super::batch::Identity;
use super::error::Attempt;
use crate::cluster::{Cluster, Target};

/// A producer id that nobody else has. Any broker gives them out. A producer whose series of
/// numbers is broken takes a new one rather than the next epoch of the old: both start from zero,
/// and a new id needs no broker to agree on what the old epoch was.
pub(super) async fn identify(cluster: Arc<Cluster>) -> Result<Identity, Attempt> {
    let build = |_| InitProducerIdRequest {
        transactional_id: None,
        // Without meaning here, but brokers check that it is positive.
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let versions = InitProducerIdRequest::VERSIONS;
    let answered = cluster.call(Target::AnyBroker, versions, build).await;
    let response = answered.map_err(|error| Attempt::Unanswered(Arc::new(error)))?;
    match ErrorCode::from(response.error_code) {
        ErrorCode::None => {
            Ok(Identity { producer_id: response.producer_id, epoch: response.producer_epoch })
        }
        error => Err(Attempt::Refused(error)),
    }
}
