//! What configurations belong to: a topic, one broker, or all brokers.

use std::collections::BTreeMap;
use std::rc::Rc;

use thalweg_protocol::ErrorCode;

use super::error_map;
use super::topic_creation::{Refusal, propose};
use super::topic_name;
use crate::controller::command::{Command, Configs};
use crate::controller::image::Image;
use crate::node::Node;
use crate::shard::Shard;
use crate::topic_config::{AlterError, Change, alter_all_brokers, alter_broker, alter_topic};

/// `ConfigResource.Type` of Kafka.
pub(super) const TYPE_TOPIC: i8 = 2;
pub(super) const TYPE_BROKER: i8 = 4;

/// Something that has configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Topic(String),
    Broker(i32),
    AllBrokers,
}

impl Resource {
    /// The resource a request names, if it exists.
    pub(super) fn find(node: &Node, kind: i8, name: &str) -> Result<Resource, Refusal> {
        let image = node.images.load();
        match kind {
            TYPE_TOPIC => {
                topic_name::check(name)
                    .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error))?;
                image.topic(name).map(|topic| Resource::Topic(topic.name.clone())).ok_or_else(
                    || {
                        let message = format!("topic '{name}' does not exist");
                        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
                    },
                )
            }
            TYPE_BROKER if name.is_empty() => Ok(Resource::AllBrokers),
            TYPE_BROKER => match name.parse() {
                Ok(id) if image.brokers.contains_key(&id) => Ok(Resource::Broker(id)),
                Ok(id) => {
                    let message = format!("there is no broker {id} in this cluster");
                    Err(Refusal::new(ErrorCode::InvalidRequest, message))
                }
                Err(_not_a_number) => {
                    let message = format!("'{name}' is no broker id");
                    Err(Refusal::new(ErrorCode::InvalidRequest, message))
                }
            },
            other => {
                let message = format!("resources of type {other} have no configurations here");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
        }
    }

    /// The overrides stored for it.
    pub(super) fn overrides(&self, image: &Image) -> BTreeMap<String, String> {
        let stored = match self {
            Resource::Topic(name) => image.topic(name).map(|topic| topic.configs.clone()),
            Resource::Broker(id) => image.broker_configs.get(&id.to_string()).cloned(),
            Resource::AllBrokers => image.broker_configs.get("").cloned(),
        };
        stored.unwrap_or_default()
    }

    /// Makes `changes` to the stored overrides, or to none of them with `replace`; with
    /// `validate_only` only says whether that could be done.
    pub(super) async fn alter(
        &self,
        shard: &Rc<Shard>,
        changes: &[Change<'_>],
        replace: bool,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        loop {
            let stored = self.overrides(&shard.node.images.load());
            let expected = (!replace).then(|| stored.clone());
            let base = if replace { BTreeMap::new() } else { stored };
            let command = self.command(&shard.node, &base, changes, expected)?;
            if validate_only {
                return Ok(());
            }
            match propose(shard, command).await {
                // Someone else's change came first: ours is made on top of it.
                Err(refusal) if refusal.code == ErrorCode::ConcurrentTransactions => {}
                outcome => return outcome.map(drop),
            }
        }
    }

    fn command(
        &self,
        node: &Node,
        base: &Configs,
        changes: &[Change<'_>],
        expected: Option<Configs>,
    ) -> Result<Command, Refusal> {
        let refuse = |error: AlterError| Refusal::new(error_map::of_alteration(&error), error);
        let config = node.config();
        match self {
            Resource::Topic(name) => {
                let configs = alter_topic(&config, base, changes).map_err(refuse)?;
                let topic = node.topic(name).ok_or_else(|| {
                    let message = format!("topic '{name}' was deleted meanwhile");
                    Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
                })?;
                Ok(Command::SetTopicConfigs { id: topic.id, expected, configs })
            }
            Resource::Broker(id) => {
                let configs = alter_broker(&config, base, changes).map_err(refuse)?;
                Ok(Command::SetBrokerConfigs { node: Some(*id), expected, configs })
            }
            Resource::AllBrokers => {
                let configs = alter_all_brokers(&config, base, changes).map_err(refuse)?;
                Ok(Command::SetBrokerConfigs { node: None, expected, configs })
            }
        }
    }
}
