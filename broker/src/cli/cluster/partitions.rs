//! `thalweg cluster partitions`.

use clap::Args;
use serde::Serialize;
use thalweg_client::admin::Admin;

use super::ids;
use super::view::{PartitionView, View};
use crate::cli::failure::Failure;
use crate::cli::output::{Printer, or_dash, table};

#[derive(Debug, Args)]
pub(super) struct PartitionsArgs {
    /// Only those of this topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only those that this broker has, is getting, or is losing.
    #[arg(long, value_name = "ID")]
    node: Option<i32>,
    /// Only those without a leader, with replicas that are not in sync, or on their way.
    #[arg(long)]
    unhealthy: bool,
}

#[derive(Serialize)]
struct ListedPartition {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    offline: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    moving: bool,
}

pub(super) async fn run(
    admin: &Admin,
    args: &PartitionsArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let view = View::of(admin).await?;
    if let Some(node) = args.node {
        view.broker(node)?;
    }
    let wanted = |partition: &&PartitionView| {
        args.topic.as_ref().is_none_or(|topic| *partition.name.topic == **topic)
            && args.node.is_none_or(|node| partition.members.contains(&node))
            && (!args.unhealthy || is_unhealthy(partition))
    };
    let listed = view.partitions.iter().filter(wanted).map(listed);
    let listed: Vec<ListedPartition> = listed.collect();
    if let Some(topic) = args.topic.as_ref()
        && !view.partitions.iter().any(|partition| *partition.name.topic == **topic)
    {
        return Err(Failure::NotFound(format!("there is no topic '{topic}'")));
    }
    Ok(printer.print(&listed, |listed| match listed.as_slice() {
        [] => "There is no such partition.".to_owned(),
        listed => for_people(listed),
    })?)
}

fn is_unhealthy(partition: &PartitionView) -> bool {
    partition.leader.is_none() || partition.is_under_replicated() || partition.is_moving
}

fn listed(partition: &PartitionView) -> ListedPartition {
    ListedPartition {
        topic: partition.name.topic.to_string(),
        partition: partition.name.partition,
        leader: partition.leader,
        replicas: partition.members.clone(),
        in_sync: partition.in_sync.clone(),
        offline: partition.offline.clone(),
        adding: partition.adding.clone(),
        removing: partition.removing.clone(),
        moving: partition.is_moving,
    }
}

fn for_people(listed: &[ListedPartition]) -> String {
    let row = |partition: &ListedPartition| {
        [
            format!("{}:{}", partition.topic, partition.partition),
            or_dash(partition.leader),
            ids(&partition.replicas),
            ids(&partition.in_sync),
            ids(&partition.offline),
            ids(&partition.adding),
            ids(&partition.removing),
        ]
    };
    let header = ["PARTITION", ">LEADER", "REPLICAS", "IN SYNC", "OFFLINE", "ADDING", "REMOVING"];
    table(header, listed.iter().map(row))
}
