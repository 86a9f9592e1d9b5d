//! What all shards of a broker share: immutable images, counters, and the ways between shards.
//!
//! There is no other shared state. Nothing here is locked on the produce or fetch path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::admin::health::Health;
use crate::admin::metrics::Metrics;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::controller::image::{Image, Topic};
use crate::controller::leaders::Leaders;
use crate::forming::Member;
use crate::node_rpc::strangers::Strangers;
use crate::server::memory::MemoryBudget;
use crate::shard::router::Router;
use crate::shard::space::SpaceState;

/// One broker, as its shards see it.
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) cluster_id: String,
    /// Who this broker is in its cluster, and who founded that.
    pub(crate) member: Member,
    /// The brokers with which group 0 began.
    pub(crate) controller_voters: Vec<i32>,
    /// Who called the node port and is no broker.
    pub(crate) strangers: Strangers,
    /// Where other brokers reach this one; none when it is alone.
    node_address: Option<String>,
    /// Where brokers that have called say they are reached.
    learned: ArcSwap<BTreeMap<i32, String>>,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) images: Images,
    pub(crate) leaders: Arc<Leaders>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Arc<Health>,
    pub(crate) router: Router,
    pub(crate) memory: MemoryBudget,
    pub(crate) connections: ConnectionLimit,
    pub(crate) space: Arc<SpaceState>,
    /// Turns true once, when the broker is to stop.
    pub(crate) shutdown: watch::Receiver<bool>,
    /// File, environment and flags, as of the last (re)load.
    static_config: ArcSwap<BrokerConfig>,
    /// The same with what admin clients have set on top.
    config: ArcSwap<BrokerConfig>,
}

/// What `Node::new` is made of.
pub(crate) struct NewNode {
    pub(crate) member: Member,
    pub(crate) controller_voters: Vec<i32>,
    pub(crate) node_address: Option<String>,
    pub(crate) config: BrokerConfig,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) health: Arc<Health>,
    pub(crate) router: Router,
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Node {
    /// A broker that knows nothing of its cluster yet.
    pub(crate) fn new(new: NewNode) -> Node {
        let NewNode { member, controller_voters, node_address, .. } = new;
        let NewNode { config, clock, metrics, health, router, shutdown, .. } = new;
        Node {
            id: config.node_id,
            cluster_id: member.cluster_id.clone(),
            member,
            controller_voters,
            strangers: Strangers::default(),
            node_address,
            learned: ArcSwap::default(),
            data_dir: config.data_dir.clone(),
            clock,
            images: Images::default(),
            leaders: Arc::default(),
            metrics,
            health,
            router,
            memory: MemoryBudget::new(config.limits.request_memory_bytes),
            connections: ConnectionLimit::new(config.limits.connections_max),
            space: Arc::new(SpaceState::new(config.limits.disk_reserve_bytes)),
            shutdown,
            static_config: ArcSwap::from_pointee(config.clone()),
            config: ArcSwap::from_pointee(config),
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// The configuration without what admin clients have set.
    pub(crate) fn static_config(&self) -> Arc<BrokerConfig> {
        self.static_config.load_full()
    }

    /// Takes over a reloaded configuration.
    pub(crate) fn set_static_config(&self, config: BrokerConfig) {
        self.static_config.store(Arc::new(config));
        self.refresh_config();
        self.images.touch();
    }

    /// Recomputes the configuration in force after an image or the file changed.
    pub(crate) fn refresh_config(&self) {
        let image = self.images.load();
        let all = image.broker_configs.get("").cloned().unwrap_or_default();
        let own = image.broker_configs.get(&self.id.to_string()).cloned().unwrap_or_default();
        let config = self.static_config.load().with_dynamic(&all, &own);
        self.config.store(Arc::new(config));
    }

    /// Where other brokers reach this one.
    pub(crate) fn own_address(&self) -> Option<String> {
        self.node_address.clone()
    }

    /// Where to reach another broker: as it registered, as it said when it called, or as it was
    /// when the cluster was formed.
    pub(crate) fn address_of(&self, node: i32) -> Option<String> {
        let image = self.images.load();
        if image.removed.contains(&node) {
            return None;
        }
        let registered = image.brokers.get(&node).and_then(|broker| broker.node_address.clone());
        registered.or_else(|| self.learned.load().get(&node).cloned()).or_else(|| {
            let founder = self.member.voters.iter().find(|founder| founder.node == node);
            founder.map(|founder| founder.address.clone())
        })
    }

    /// Whether a broker was removed for good.
    pub(crate) fn is_removed(&self, node: i32) -> bool {
        self.images.load().removed.contains(&node)
    }

    /// A broker has called and said where it is reached.
    pub(crate) fn learn_address(&self, node: i32, address: &str) {
        if address.is_empty() || self.learned.load().get(&node).is_some_and(|it| it == address) {
            return;
        }
        self.learned.rcu(|learned| {
            let mut next = BTreeMap::clone(learned);
            next.insert(node, address.to_owned());
            next
        });
    }

    /// Every other broker that is registered, or that founded the cluster.
    pub(crate) fn other_brokers(&self) -> Vec<i32> {
        let image = self.images.load();
        let founders = self.member.voters.iter().map(|founder| founder.node);
        let all: BTreeSet<i32> = if image.brokers.is_empty() {
            founders.collect()
        } else {
            image.brokers.keys().copied().collect()
        };
        all.into_iter().filter(|node| *node != self.id).collect()
    }

    /// The topic called `name`, in the image of this moment.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.images.load().topic(name).cloned()
    }

    /// The topic with this id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.images.load().topic_by_id(id).cloned()
    }
}

/// The current cluster image, and word of new ones.
pub(crate) struct Images {
    current: ArcSwap<Image>,
    changes: watch::Sender<u64>,
}

impl Default for Images {
    fn default() -> Self {
        Images { current: ArcSwap::default(), changes: watch::Sender::new(0) }
    }
}

impl Images {
    /// The image of this moment.
    pub(crate) fn load(&self) -> Arc<Image> {
        self.current.load_full()
    }

    /// Replaces the image and tells every shard.
    pub(crate) fn publish(&self, image: Image) {
        self.current.store(Arc::new(image));
        self.touch();
    }

    /// Makes every shard look again although the image is the same.
    pub(crate) fn touch(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Word of changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// How many connections may be open at once.
pub(crate) struct ConnectionLimit {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// An open connection; gives its place back when dropped.
pub(crate) struct OpenConnection(Arc<AtomicUsize>);

impl ConnectionLimit {
    fn new(max: usize) -> ConnectionLimit {
        ConnectionLimit { open: Arc::default(), max }
    }

    /// A place for a new connection, unless all are taken.
    pub(crate) fn admit(&self) -> Option<OpenConnection> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.max {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(OpenConnection(Arc::clone(&self.open)))
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
