//! Making a shard's partitions those of the cluster image.
//!
//! Invariant: data is removed only for a topic whose id stands in `Image::deleted`. A topic that
//! is merely absent (a damaged or older image) keeps its files.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use thalweg_storage::votes::{GroupId, HardState};
use tokio::sync::Semaphore;
use tracing::{error, warn};
use uuid::Uuid;

use super::{Shard, Slot};
use crate::config::BrokerConfig;
use crate::controller::CONTROLLER_GROUP;
use crate::controller::command::Command;
use crate::controller::image::{Image, Topic};
use crate::partition::{OpenPartition, Partition};
use crate::shard::router::ShardId;
use crate::topic_config::TopicSettings;

/// How long a broker that starts waits for its partitions to have leaders.
const LED_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before a partition that found the disk full is opened again.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Partitions opened or closed at a time.
pub(super) const OPENING_MAX: usize = 64;

impl Shard {
    /// Follows the image for as long as the shard runs. `ready` is told when everything in the
    /// first image is open.
    pub(super) async fn follow_images(self: Rc<Self>, ready: tokio::sync::oneshot::Sender<()>) {
        let mut changes = self.node.images.subscribe();
        let mut seen = (Arc::new(Image::default()), self.node.config());
        let mut ready = Some(ready);
        let purging = Rc::new(Semaphore::new(1));
        loop {
            changes.mark_unchanged();
            let now = (self.node.images.load(), self.node.config());
            let mut opening = self.reconcile(&seen, &now);
            if let Some(ready) = ready.take() {
                while opening.next().await.is_some() {}
                self.wait_until_led().await;
                // Nobody waits for the shard's start any more if this fails.
                let _ = ready.send(());
            } else {
                tokio::task::spawn_local(async move { while opening.next().await.is_some() {} });
            }
            if self.id == ShardId(0) && !now.0.deleted.is_empty() {
                let (shard, purging) = (Rc::clone(&self), Rc::clone(&purging));
                tokio::task::spawn_local(async move {
                    let _one_at_a_time = purging.acquire().await;
                    shard.purge_deleted().await;
                });
            }
            seen = now;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until every partition that is here only has a leader, so that the first clients of a
    /// broker that starts are not sent away. What other brokers have to agree to takes its time.
    async fn wait_until_led(&self) {
        let mut changes = self.node.leaders.subscribe();
        let led = |partition: &Rc<Partition>| {
            self.node.leaders.get(partition.id.topic, partition.id.partition).is_some()
        };
        let all_led = async {
            for partition in self.open_partitions() {
                let alone = partition.is_alone();
                while alone && !led(&partition) && changes.changed().await.is_ok() {}
            }
        };
        if tokio::time::timeout(LED_WITHIN, all_led).await.is_err() {
            warn!("connections are accepted before every partition has a leader");
        }
    }

    /// Opens what is new, passes on changed settings; the returned futures do the opening.
    fn reconcile(
        self: &Rc<Self>,
        seen: &(Arc<Image>, Arc<BrokerConfig>),
        now: &(Arc<Image>, Arc<BrokerConfig>),
    ) -> FuturesUnordered<impl Future<Output = ()> + use<>> {
        if self.id == ShardId(0) {
            let gone = seen.0.topics.keys().filter(|name| !now.0.topics.contains_key(*name));
            gone.for_each(|name| self.node.metrics.forget_topic(name));
        }
        let slots = Rc::new(Semaphore::new(OPENING_MAX));
        let opening = FuturesUnordered::new();
        let same_config = Arc::ptr_eq(&seen.1, &now.1);
        for (name, topic) in &now.0.topics {
            let known = seen.0.topics.get(name).is_some_and(|seen| Arc::ptr_eq(seen, topic));
            if known && same_config {
                continue;
            }
            let Some(settings) = resolve(&now.1, topic) else { continue };
            for (partition, assignment) in (0..).zip(&topic.partitions) {
                let id = GroupId { topic: topic.id, partition };
                if self.owner_of(id) != self.id {
                    continue;
                }
                if !assignment.has_member(self.node.id) {
                    if assignment.leaving.contains(&self.node.id) {
                        tokio::task::spawn_local(Rc::clone(self).purge_replica(id));
                    }
                    continue;
                }
                if let Some(slot) = self.partitions.borrow().get(&id) {
                    if let Slot::Open(partition) = slot {
                        partition.set_settings(&settings);
                        partition.set_assignment(assignment);
                    }
                    continue;
                }
                self.partitions.borrow_mut().insert(id, Slot::Opening);
                let open = OpenPartition {
                    id,
                    name: name.clone(),
                    dir: self.partition_dir(id),
                    assignment: assignment.clone(),
                    hard_state: self.hard_states.borrow_mut().remove(&id).unwrap_or_default(),
                    settings: Arc::clone(&settings),
                };
                opening.push(Rc::clone(self).open_partition(open, Rc::clone(&slots)));
            }
        }
        opening
    }

    /// What it takes to open a partition as the image has it now, if it is still this broker's.
    pub(super) fn opening(&self, id: GroupId) -> Option<OpenPartition> {
        let (image, config) = (self.node.images.load(), self.node.config());
        let topic = image.topic_by_id(id.topic)?;
        let assignment = topic.partition(id.partition)?;
        Some(OpenPartition {
            id,
            name: topic.name.clone(),
            dir: self.partition_dir(id),
            assignment: assignment.has_member(self.node.id).then(|| assignment.clone())?,
            hard_state: self.hard_states.borrow_mut().remove(&id).unwrap_or_default(),
            settings: resolve(&config, topic)?,
        })
    }

    pub(super) async fn open_partition(self: Rc<Self>, open: OpenPartition, slots: Rc<Semaphore>) {
        let Ok(_one_of_many) = slots.acquire().await else { return };
        let (id, name, hard_state) = (open.id, open.name.clone(), open.hard_state);
        let slot = match Partition::open(&self.env, open).await {
            Ok(partition) => Slot::Open(partition),
            Err(error) => {
                if error.is_no_space() {
                    tokio::task::spawn_local(Rc::clone(&self).open_later(id, hard_state));
                }
                error!(topic = %name, partition = id.partition, %error, "the partition cannot be opened");
                Slot::Failed
            }
        };
        if let (Slot::Open(partition), Some(now)) = (&slot, self.opening(id)) {
            // The image may have gone on meanwhile.
            partition.set_settings(&now.settings);
            partition.set_assignment(&now.assignment);
        }
        self.partitions.borrow_mut().insert(id, slot);
        self.env.scheduler.schedule(id);
        self.node.health.on_partition_recovered();
        self.opened.notify_waiters();
    }

    /// A full disk is a state that passes: opens a partition that it kept from opening.
    async fn open_later(self: Rc<Self>, id: GroupId, hard_state: HardState) {
        tokio::time::sleep(FULL_RETRY_AFTER).await;
        if !matches!(self.partitions.borrow().get(&id), Some(Slot::Failed)) {
            return;
        }
        self.hard_states.borrow_mut().insert(id, hard_state);
        let Some(open) = self.opening(id) else { return };
        self.partitions.borrow_mut().insert(id, Slot::Opening);
        let opening: std::pin::Pin<Box<dyn Future<Output = ()>>> =
            Box::pin(Rc::clone(&self).open_partition(open, Rc::new(Semaphore::new(1))));
        opening.await;
    }

    /// Makes durable how far the controller's log is known to be committed, so that the next start
    /// has an image at least as new as this one. An older image would give back to this broker what
    /// it has removed: an empty replica that votes in the name of the one that was there.
    async fn remember_image(self: &Rc<Self>) -> bool {
        let saved = self.node.router.run(self, ShardId(0), |shard| {
            let shard = Rc::clone(shard);
            async move {
                let Some(controller) = shard.controller_if_open() else { return false };
                let state = vec![(CONTROLLER_GROUP, controller.hard_state())];
                let saved = shard.env.votes.save(state).await;
                saved.inspect_err(|error| warn!(%error, "removing nothing yet")).is_ok()
            }
        });
        saved.await.unwrap_or(false)
    }

    /// Removes the data of deleted topics from this broker and says so to the controller.
    async fn purge_deleted(self: &Rc<Self>) {
        let node = Arc::clone(&self.node);
        // Loaded before: what is remembered covers it.
        let image = node.images.load();
        if !self.remember_image().await {
            return;
        }
        let held = image.deleted.keys().filter(|topic| image.holds_deleted(**topic, node.id));
        for topic in held.copied() {
            for shard in node.router.shards() {
                let purged = node.router.run(self, shard, move |shard| {
                    let shard = Rc::clone(shard);
                    async move { shard.purge(topic).await }
                });
                if purged.await.is_err() {
                    return;
                }
            }
            node.leaders.forget(topic);
            let dir = self.topic_dir(topic);
            if let Err(error) = self.env.disk.remove_dir_all(&dir).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                warn!(dir = %dir.display(), %error, "removing a deleted topic's directory");
                continue;
            }
            let purged = Command::TopicPurged { id: topic, node: Some(node.id) };
            if let Err(error) = self.propose(purged).await {
                warn!(%topic, %error, "the purge will be repeated");
            }
        }
    }

    /// Removes this broker's copy of a partition that a reassignment has taken from it.
    async fn purge_replica(self: Rc<Self>, id: GroupId) {
        if !self.purging.borrow_mut().insert(id) {
            return;
        }
        if !self.is_leaving_now(id).await || !self.remember_image().await {
            self.purging.borrow_mut().remove(&id);
            return;
        }
        self.wait_until_open(|opening| opening == id).await;
        let slot = self.partitions.borrow_mut().remove(&id);
        if let Some(Slot::Open(partition)) = slot
            && let Err(error) = partition.delete().await
        {
            warn!(topic = %partition.name, partition = id.partition, %error, "deleting");
        }
        if let Err(error) = self.env.votes.remove(id).await {
            warn!(?id, %error, "forgetting the votes of a replica that was moved away");
        }
        let removed = self.env.disk.remove_dir_all(&self.partition_dir(id)).await;
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(?id, %error, "removing a replica that was moved away");
            }
            _ => {
                let node = self.node.id;
                let purged = Command::ReplicaPurged { id: id.topic, partition: id.partition, node };
                if let Err(error) = self.propose(purged).await {
                    warn!(?id, %error, "the purge will be repeated");
                }
            }
        }
        self.purging.borrow_mut().remove(&id);
    }

    /// Whether the cluster, as it is now, has taken the partition from this broker. A broker that
    /// starts goes through images of the past, in which that may have been so for a while.
    async fn is_leaving_now(self: &Rc<Self>, id: GroupId) -> bool {
        if let Err(error) = self.propose(Command::Barrier).await {
            warn!(?id, %error, "not removing a replica before the controller is heard");
            return false;
        }
        let image = self.node.images.load();
        let topic = image.topic_by_id(id.topic);
        let assignment = topic.and_then(|topic| topic.partition(id.partition));
        assignment
            .is_some_and(|it| !it.has_member(self.node.id) && it.leaving.contains(&self.node.id))
    }

    /// Waits until none of the partitions is being opened.
    async fn wait_until_open(&self, which: impl Fn(GroupId) -> bool) {
        loop {
            let opened = self.opened.notified();
            let still_opening = self
                .partitions
                .borrow()
                .iter()
                .any(|(id, slot)| which(*id) && matches!(slot, Slot::Opening));
            if !still_opening {
                return;
            }
            opened.await;
        }
    }

    /// Closes and deletes this shard's partitions of a deleted topic.
    async fn purge(&self, topic: Uuid) {
        self.wait_until_open(|id| id.topic == topic).await;
        self.groups.on_purge(topic);
        let doomed: Vec<_> =
            self.partitions.borrow_mut().extract_if(|id, _| id.topic == topic).collect();
        for (id, slot) in doomed {
            if let Slot::Open(partition) = slot
                && let Err(error) = partition.delete().await
            {
                warn!(topic = %partition.name, partition = id.partition, %error, "deleting");
            }
            if let Err(error) = self.env.votes.remove(id).await {
                warn!(?id, %error, "forgetting a deleted group's votes");
            }
        }
    }
}

/// A topic's settings. Overrides were checked before they were stored; a version that does not
/// know one of them must still serve the topic's data, so it falls back to the broker's.
fn resolve(config: &BrokerConfig, topic: &Topic) -> Option<Arc<TopicSettings>> {
    let fallback = std::collections::BTreeMap::new();
    match TopicSettings::resolve(config, &topic.configs) {
        Ok(settings) => Some(Arc::new(settings)),
        Err(error) => {
            warn!(topic = %topic.name, %error, "stored topic configuration is not understood; using the broker's defaults");
            TopicSettings::resolve(config, &fallback).ok().map(Arc::new)
        }
    }
}
