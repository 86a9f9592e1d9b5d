//! `thalweg cluster`: how a cluster is, and moving partitions and leaders about in it.
//!
//! Everything goes over Kafka's own admin requests. A `View` is the cluster at one moment; `plan`
//! decides what should move, as a pure function of it; `moves` carries that out and watches.

mod balance;
mod brokers;
mod drain;
mod health;
mod info;
mod moves;
mod partitions;
mod plan;
mod reassign;
mod remove;
mod transfer;
mod view;

use clap::{Args, Subcommand};
use thalweg_client::TopicPartition;

use super::connect::ConnectFlags;
use super::failure::Failure;
use super::output::Printer;

/// Look at a cluster, and move partitions and leaders about in it.
#[derive(Debug, Args)]
#[command(after_help = "To replace broker 2 by a new one:\n  \
    thalweg serve --node-id 4 --join HOST:9192        on the new machine\n  \
    thalweg cluster drain 2                           everything moves away from it\n  \
    thalweg cluster remove 2                          once it is stopped, and fenced")]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show brokers, controller, how many topics there are and what they take.
    Info,
    /// Say whether all is well, and what is not. Exits with 1 if something is not.
    #[command(after_help = "\
        Unhealthy is a cluster with a broker that is fenced (the controller does not hear from \
        it),\na partition without a leader, or one with fewer replicas in sync than it has. \
        Moves under\nway and leaders that are not the preferred ones are shown, but are no \
        illness.")]
    Health,
    /// List the brokers: how many replicas each has, how many it leads, and whether it takes more.
    Brokers,
    /// List partitions: who leads them, who has them, who is in sync, and where they are going.
    #[command(after_help = "Examples:\n  \
        thalweg cluster partitions --unhealthy             what `cluster health` complains about\n  \
        thalweg cluster partitions --node 2                all that broker 2 has\n  \
        thalweg cluster partitions --topic orders -o json")]
    Partitions(partitions::PartitionsArgs),
    /// Give partitions other replicas, and wait until they have arrived.
    #[command(after_help = "Examples:\n  \
        thalweg cluster move orders:0 --to 1,2,3           broker 1 becomes the preferred leader\n  \
        thalweg cluster move orders:0 orders:1 --to 2,3    with one replica less\n  \
        thalweg cluster move orders:0 --cancel             back to where it was")]
    Move(reassign::MoveArgs),
    /// Spread replicas and leaders evenly. Only shows what would move, unless --execute is given.
    ///
    /// Brokers that are fenced or drained are left alone. No move puts two replicas of a partition
    /// into one rack that were in two.
    Balance(balance::BalanceArgs),
    /// Make another replica of a partition lead it.
    #[command(after_help = "Example:\n  thalweg cluster transfer-leader orders:0 --to 3")]
    TransferLeader(transfer::TransferArgs),
    /// Move everything off a broker, and keep new replicas away from it.
    ///
    /// Can be interrupted and given again: it goes on with what is left. The broker may be down,
    /// as long as a majority of each of its partitions is up.
    #[command(after_help = "Examples:\n  \
        thalweg cluster drain 2\n  \
        thalweg cluster drain 2 --undo        let it have replicas again; nothing moves back")]
    Drain(drain::DrainArgs),
    /// Remove a broker from the cluster for good. It must be drained and stopped.
    Remove(remove::RemoveArgs),
}

pub(super) async fn run(args: ClusterArgs, printer: &mut Printer) -> Result<(), Failure> {
    if let ClusterCommand::Remove(args) = &args.command {
        args.confirm()?;
    }
    let admin = args.connect.connect().await?.admin();
    match args.command {
        ClusterCommand::Info => info::run(&admin, printer).await,
        ClusterCommand::Health => health::run(&admin, printer).await,
        ClusterCommand::Brokers => brokers::run(&admin, printer).await,
        ClusterCommand::Partitions(args) => partitions::run(&admin, &args, printer).await,
        ClusterCommand::Move(args) => reassign::run(&admin, args, printer).await,
        ClusterCommand::Balance(args) => balance::run(&admin, &args, printer).await,
        ClusterCommand::TransferLeader(args) => transfer::run(&admin, &args, printer).await,
        ClusterCommand::Drain(args) => drain::run(&admin, &args, printer).await,
        ClusterCommand::Remove(args) => remove::run(&admin, &args, printer).await,
    }
}

/// The value parser of clap for `TOPIC:PARTITION`.
fn partition(text: &str) -> Result<TopicPartition, String> {
    let refused = || "write it as TOPIC:PARTITION, such as orders:0".to_owned();
    let (topic, partition) = text.rsplit_once(':').ok_or_else(refused)?;
    match partition.parse() {
        Ok(index) if index >= 0 && !topic.is_empty() => Ok(TopicPartition::new(topic, index)),
        _ => Err(refused()),
    }
}

/// A partition as it is given on the command line.
fn named(partition: &TopicPartition) -> String {
    format!("{}:{}", partition.topic, partition.partition)
}

/// `1,2,3`, or a dash.
fn ids(nodes: &[i32]) -> String {
    match nodes {
        [] => "-".to_owned(),
        nodes => nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_topic_and_number() {
        assert_eq!(partition("orders:12"), Ok(TopicPartition::new("orders", 12)));
        assert_eq!(partition("orders:12").map(|it| named(&it)), Ok("orders:12".to_owned()));
        for bad in ["orders", "orders:", "orders:x", "orders:-1", ":1"] {
            assert!(partition(bad).is_err(), "{bad}");
        }
    }
}
