//! DeleteTopics (key 20), versions 1–6, by name or (from 6) by id. The topic is gone for clients
//! when this is answered; its files follow.

use std::rc::Rc;
use std::sync::Arc;

use thalweg_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use thalweg_protocol::{ErrorCode, KafkaStr};

use super::topic_creation::{Refusal, propose};
use crate::controller::command::Command;
use crate::controller::image::Topic;
use crate::server::connection::Connection;
use crate::shard::Shard;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() });
    let mut responses = Vec::new();
    for topic in request.topics.into_iter().chain(by_name) {
        let (deleted, refusal) = match delete(&connection.shard, &topic).await {
            Ok(deleted) => (Some(deleted), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let name = deleted.as_ref().map(|deleted| KafkaStr::copied_from(&deleted.name));
        responses.push(DeletableTopicResult {
            name: name.or(topic.name),
            topic_id: deleted.map_or(topic.topic_id, |deleted| deleted.id),
            error_code: refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
            error_message: refusal.map(|refusal| refusal.message.into()),
            ..DeletableTopicResult::default()
        });
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

async fn delete(shard: &Rc<Shard>, named: &DeleteTopicState) -> Result<Arc<Topic>, Refusal> {
    let node = &shard.node;
    if !node.config().kafka.delete_topics {
        let message = "delete.topic.enable is false on this broker";
        return Err(Refusal::new(ErrorCode::TopicDeletionDisabled, message));
    }
    let topic = match &named.name {
        Some(name) if named.topic_id.is_nil() => node.topic(name).ok_or_else(|| {
            let message = format!("topic '{name}' does not exist");
            Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
        })?,
        Some(_) => {
            let message = "name a topic or give its id, not both";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        None => node.topic_by_id(named.topic_id).ok_or_else(|| {
            let message = format!("no topic has id {}", named.topic_id);
            Refusal::new(ErrorCode::UnknownTopicId, message)
        })?,
    };
    propose(shard, Command::DeleteTopic { id: topic.id }).await?;
    Ok(topic)
}
