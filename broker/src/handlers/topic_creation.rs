//! Creating topics: what CreateTopics and auto-creation share.
//!
//! First everything that one look at the image can refuse, then the controller, which may still
//! refuse, then the wait until the new partitions have leaders.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::ErrorCode;
use tokio::time::timeout;
use uuid::Uuid;

use super::error_map;
use super::{offsets_topic, topic_name};
use crate::controller::assignment::Assignment;
use crate::controller::command::Command;
use crate::controller::image::Image;
use crate::controller::placement;
use crate::shard::Shard;
use crate::topic_config;

/// A refusal as admin APIs report it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "errors and texts are made in the call")]
    pub(super) fn new(code: ErrorCode, message: impl ToString) -> Refusal {
        Refusal { code, message: message.to_string() }
    }
}

/// A topic as a client wants it.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedTopic {
    pub(super) name: String,
    /// −1 for the default.
    pub(super) partitions: i32,
    /// −1 for the default.
    pub(super) replication_factor: i16,
    /// Explicit placement by partition; empty to let the broker choose.
    pub(super) assignments: Vec<(i32, Vec<i32>)>,
    pub(super) configs: Vec<(String, Option<String>)>,
}

/// A topic that can be created.
#[derive(Clone, Debug)]
pub(super) struct PlannedTopic {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) partitions: Vec<Assignment>,
    pub(super) configs: BTreeMap<String, String>,
}

/// A single topic may not ask for more partitions than this.
pub(super) const PARTITIONS_MAX: i32 = 100_000;

/// Checks everything that can be checked before the controller is asked.
fn plan(shard: &Shard, image: &Image, wanted: WantedTopic) -> Result<PlannedTopic, Refusal> {
    let config = shard.node.config();
    let wanted = offsets_topic::completed(wanted, &shard.node, image);
    topic_name::check(&wanted.name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error))?;
    if image.topic(&wanted.name).is_some() {
        let message = format!("topic '{}' already exists", wanted.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    let pairs: Vec<_> =
        wanted.configs.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let configs = topic_config::replace_topic(&config, &pairs)
        .map_err(|error| Refusal::new(error_map::of_alteration(&error), error))?;
    let partitions = if wanted.assignments.is_empty() {
        place(image, &config.kafka, &wanted)?
    } else {
        if wanted.partitions != -1 || wanted.replication_factor != -1 {
            return Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "give either an assignment or counts of partitions and replicas, not both",
            ));
        }
        placement::check_explicit(image, wanted.assignments)
            .map_err(|error| Refusal::new(error_map::of_placement(&error), error))?
    };
    Ok(PlannedTopic { id: Uuid::new_v4(), name: wanted.name, partitions, configs })
}

/// Plans a topic, if need be once more when this broker knows all that the controller does: other
/// brokers may have come a moment ago.
pub(super) async fn plan_here(
    here: &Rc<Shard>,
    wanted: WantedTopic,
) -> Result<PlannedTopic, Refusal> {
    let planned = plan(here, &here.node.images.load(), wanted.clone());
    match planned {
        Err(refusal) if refusal.code == ErrorCode::InvalidReplicationFactor => {
            propose(here, Command::Barrier).await?;
            plan(here, &here.node.images.load(), wanted)
        }
        planned => planned,
    }
}

fn place(
    image: &Image,
    defaults: &crate::config::kafka::KafkaSettings,
    wanted: &WantedTopic,
) -> Result<Vec<Assignment>, Refusal> {
    let count = if wanted.partitions == -1 { defaults.num_partitions } else { wanted.partitions };
    let count = usize::try_from(count)
        .ok()
        .filter(|_| (1..=PARTITIONS_MAX).contains(&count))
        .ok_or_else(|| {
            let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {count}");
            Refusal::new(ErrorCode::InvalidPartitions, message)
        })?;
    let copies = match wanted.replication_factor {
        -1 => defaults.default_replication_factor,
        copies => copies,
    };
    placement::place(image, count, copies)
        .map_err(|error| Refusal::new(error_map::of_placement(&error), error))
}

/// Creates a planned topic. Resolves when the controller has it, before its partitions lead.
pub(super) async fn create(here: &Rc<Shard>, planned: PlannedTopic) -> Result<(), Refusal> {
    let PlannedTopic { id, name, partitions, configs } = planned;
    propose(here, Command::CreateTopic { name, id, partitions, configs }).await.map(drop)
}

/// Has the controller carry out a command.
pub(super) async fn propose(
    here: &Rc<Shard>,
    command: Command,
) -> Result<crate::controller::command::Outcome, Refusal> {
    let outcome = here.propose(command).await;
    outcome.map_err(|error| Refusal::new(error_map::of_propose(&error), error))
}

/// Waits until every partition of the topic has a leader, at most `patience`.
pub(super) async fn wait_until_led(
    here: &Shard,
    topic: Uuid,
    partitions: usize,
    patience: Duration,
) {
    let is_led = |partition| here.node.leaders.get(topic, partition).is_some();
    wait_until(here, patience, || (0..).take(partitions).all(is_led)).await;
}

/// Waits until one partition has a leader, at most `patience`.
pub(super) async fn wait_until_partition_led(
    here: &Shard,
    topic: Uuid,
    partition: i32,
    patience: Duration,
) {
    let is_led = || here.node.leaders.get(topic, partition).is_some();
    wait_until(here, patience, is_led).await;
}

/// Waits until what is known of leaders is as wanted, at most `patience`.
pub(super) async fn wait_until(here: &Shard, patience: Duration, is_so: impl Fn() -> bool) {
    let mut changes = here.node.leaders.subscribe();
    let led = async {
        loop {
            changes.mark_unchanged();
            if is_so() || changes.changed().await.is_err() {
                return;
            }
        }
    };
    // A client that asks too early is told so by the partitions themselves.
    let _ = timeout(patience, led).await;
}
