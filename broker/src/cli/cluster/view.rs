//! A cluster at one moment: its brokers, its partitions, and what is on the way.
//!
//! It is put together from several answers, between which things may move; whoever acts on it is
//! told by the cluster if it is out of date.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use thalweg_client::TopicPartition;
use thalweg_client::admin::{
    Admin, ConfigResource, PartitionDescription, PartitionReassignment, TopicDescription,
};
use thalweg_client::protocol::NodeId;
use tokio::time::timeout;

use crate::cli::failure::{Failure, settle};

/// How long one broker has to say something of itself.
const ASKED_FOR: Duration = Duration::from_secs(3);

/// The broker setting that keeps new replicas away.
pub(super) const DRAINED: &str = "broker.drained";

pub(super) struct View {
    pub(super) brokers: Vec<BrokerView>,
    pub(super) partitions: Vec<PartitionView>,
    /// Who has a vote among the controllers, and who of them is the active one.
    pub(super) controllers: Vec<i32>,
    pub(super) active_controller: Option<i32>,
}

#[derive(Clone, Debug)]
pub(super) struct BrokerView {
    pub(super) id: i32,
    pub(super) address: String,
    pub(super) rack: Option<String>,
    pub(super) fenced: bool,
    pub(super) drained: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PartitionView {
    pub(super) name: TopicPartition,
    pub(super) leader: Option<i32>,
    /// Everyone who has it, is getting it, or is losing it; the preferred leader first.
    pub(super) members: Vec<i32>,
    pub(super) in_sync: Vec<i32>,
    pub(super) offline: Vec<i32>,
    pub(super) is_moving: bool,
    pub(super) adding: Vec<i32>,
    pub(super) removing: Vec<i32>,
}

impl View {
    pub(super) async fn of(admin: &Admin) -> Result<View, Failure> {
        let topics = admin.list_topics().await?;
        let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
        // A topic that was deleted in between is not part of the picture.
        let topics = admin.describe_topics(&names).await?.into_iter().flatten();
        let moving = admin.list_partition_reassignments(None).await?.into_iter();
        let moving: HashMap<_, _> = moving.map(|it| (it.partition.clone(), it)).collect();
        let partitions = topics.flat_map(|topic| partitions(topic, &moving)).collect();
        let quorum = admin.describe_quorum().await?;
        Ok(View {
            brokers: brokers(admin).await?,
            partitions,
            controllers: quorum.voters.iter().map(|voter| voter.id.0).collect(),
            active_controller: quorum.leader.map(|node| node.0),
        })
    }

    pub(super) fn broker(&self, id: i32) -> Result<&BrokerView, Failure> {
        self.brokers.iter().find(|broker| broker.id == id).ok_or_else(|| {
            let ids: Vec<i32> = self.brokers.iter().map(|broker| broker.id).collect();
            let there = super::ids(&ids);
            Failure::NotFound(format!("there is no broker {id} in this cluster; it has {there}"))
        })
    }

    pub(super) fn partition(&self, name: &TopicPartition) -> Result<&PartitionView, Failure> {
        self.partitions.iter().find(|partition| partition.name == *name).ok_or_else(|| {
            let name = super::named(name);
            Failure::NotFound(format!(
                "there is no partition {name}; see 'thalweg cluster partitions'"
            ))
        })
    }
}

impl BrokerView {
    /// Whether it is given replicas.
    pub(super) fn takes_replicas(&self) -> bool {
        !self.fenced && !self.drained
    }

    pub(super) fn state(&self) -> &'static str {
        match (self.fenced, self.drained) {
            (true, _) => "fenced",
            (false, true) => "drained",
            (false, false) => "up",
        }
    }
}

impl PartitionView {
    /// The replicas when what is under way is done.
    pub(super) fn goal(&self) -> Vec<i32> {
        let stays = |node: &&i32| !self.removing.contains(node);
        self.members.iter().filter(stays).copied().collect()
    }

    /// Whether a replica that is not just being added is not in sync.
    pub(super) fn is_under_replicated(&self) -> bool {
        let mut there = self.members.iter().filter(|node| !self.adding.contains(node));
        there.any(|node| !self.in_sync.contains(node))
    }

    /// Whether the preferred leader could lead, and does not.
    pub(super) fn is_led_by_another(&self) -> bool {
        let preferred = self.members.first().filter(|node| self.in_sync.contains(node));
        self.leader.is_some() && preferred.is_some_and(|node| self.leader != Some(*node))
    }
}

fn partitions(
    topic: TopicDescription,
    moving: &HashMap<TopicPartition, PartitionReassignment>,
) -> impl Iterator<Item = PartitionView> {
    let view = move |partition: PartitionDescription| {
        let name = TopicPartition::new(topic.name.clone(), partition.index);
        let on_the_way = moving.get(&name);
        PartitionView {
            leader: partition.leader.map(|node| node.0),
            members: numbers(&partition.replicas),
            in_sync: numbers(&partition.in_sync),
            offline: numbers(&partition.offline),
            is_moving: on_the_way.is_some(),
            adding: on_the_way.map(|it| numbers(&it.adding)).unwrap_or_default(),
            removing: on_the_way.map(|it| numbers(&it.removing)).unwrap_or_default(),
            name,
        }
    };
    topic.partitions.into_iter().map(view)
}

fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

async fn brokers(admin: &Admin) -> Result<Vec<BrokerView>, Failure> {
    let members = admin.describe_cluster().await?.brokers;
    let drained = join_all(members.iter().map(async |member| {
        // Who is down cannot be asked, and takes no replicas anyway; without an active controller
        // nobody says who that is.
        let drained = timeout(ASKED_FOR, is_drained(admin, member.id));
        !member.is_fenced && drained.await.unwrap_or(false)
    }));
    let views = drained.await.into_iter().zip(members).map(|(drained, member)| BrokerView {
        id: member.id.0,
        address: format!("{}:{}", member.address.host(), member.address.port()),
        rack: member.rack.map(|rack| rack.to_string()),
        fenced: member.is_fenced,
        drained,
    });
    Ok(views.collect())
}

/// Brokers other than Thalweg's know no such setting.
async fn is_drained(admin: &Admin, broker: NodeId) -> bool {
    let Ok(described) = admin.describe_configs(&[ConfigResource::broker(broker)]).await else {
        return false;
    };
    let (configs, _) = settle(described);
    let mut configs = configs.iter().flatten();
    configs.any(|config| &*config.name == DRAINED && config.value.as_deref() == Some("true"))
}
