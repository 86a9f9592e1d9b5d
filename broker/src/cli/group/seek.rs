//! `thalweg group seek`: where a group goes on, shown first and set when told to.
//!
//! A position becomes an offset in each partition before anything is set, and always one that can
//! be read from. The coordinator refuses while the group has members, so nobody is overtaken.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use thalweg_client::admin::Admin;
use thalweg_client::{CommittedOffset, GroupError, GroupFault, TopicPartition};
use thalweg_protocol::ErrorCode;

use super::offsets;
use crate::cli::failure::{Failure, settle};
use crate::cli::offsets::place;
use crate::cli::output::{Printer, counted, or_dash, table};
use crate::cli::position::Position;

#[derive(Debug, Args)]
pub(super) struct SeekArgs {
    /// Its name.
    group: String,
    /// Where it is to go on, in each partition.
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    to: Position,
    /// Only this topic, or these partitions of it; may be given several times, and the group need
    /// not have read it before. Without it: everything the group has offsets in.
    #[arg(long, value_name = "TOPIC[:PARTITION,…]", value_parser = selection)]
    topic: Vec<Selection>,
    /// Really set the offsets.
    #[arg(long)]
    execute: bool,
}

/// A topic, or some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selection {
    topic: String,
    partitions: Option<Vec<i32>>,
}

/// The value parser of clap for selections.
fn selection(text: &str) -> Result<Selection, &'static str> {
    let Some((topic, partitions)) = text.rsplit_once(':') else {
        return Ok(Selection { topic: text.to_owned(), partitions: None });
    };
    let partitions: Result<Vec<i32>, _> = partitions.split(',').map(str::parse).collect();
    match partitions {
        Ok(partitions) if partitions.iter().all(|partition| *partition >= 0) => {
            Ok(Selection { topic: topic.to_owned(), partitions: Some(partitions) })
        }
        _ => Err("write it as TOPIC or TOPIC:0,1,2"),
    }
}

#[derive(Serialize)]
struct Moves {
    group: String,
    executed: bool,
    partitions: Vec<Move>,
}

#[derive(Serialize)]
struct Move {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
}

pub(super) async fn run(
    admin: &Admin,
    args: &SeekArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let committed = offsets::committed(admin, &args.group).await?;
    let partitions = if args.topic.is_empty() {
        committed.keys().cloned().collect()
    } else {
        selected(admin, &args.topic).await?
    };
    if partitions.is_empty() {
        let message = format!("group {} has no offsets to move", args.group);
        return Err(Failure::NotFound(format!("{message}; name topics with --topic")));
    }
    let (targets, looked_up) = settle(place(admin, &partitions, args.to).await);
    let mut outcome = looked_up;
    let mut targets: Vec<(TopicPartition, i64)> = targets;
    if args.execute && !targets.is_empty() {
        let wanted: Vec<(TopicPartition, CommittedOffset)> =
            targets.into_iter().map(|(it, offset)| (it, CommittedOffset::new(offset))).collect();
        let outcomes = admin.alter_group_offsets(&args.group, &wanted).await?;
        if outcomes.iter().any(|(_, outcome)| outcome.as_ref().is_err_and(is_about_members)) {
            let message = format!("group {} has members, who would not go there", args.group);
            return Err(Failure::Failed(format!("{message}; stop them first")));
        }
        let offset_of = |of: &TopicPartition| wanted.iter().find(|(it, _)| it == of);
        let set = outcomes.into_iter().map(|(partition, outcome)| {
            outcome.map(|()| offset_of(&partition).map(|(it, to)| (it.clone(), to.offset)))
        });
        let (moved, set) = settle(set);
        targets = moved.into_iter().flatten().collect();
        outcome = outcome.and(set);
    }
    let from = |partition: &TopicPartition| Some(committed.get(partition)?.as_ref()?.offset);
    let moves = targets.into_iter().map(|(partition, to)| Move {
        from: from(&partition),
        topic: partition.topic.to_string(),
        partition: partition.partition,
        to,
    });
    let moves =
        Moves { group: args.group.clone(), executed: args.execute, partitions: moves.collect() };
    if !moves.partitions.is_empty() {
        printer.print(&moves, for_people)?;
    }
    outcome
}

/// Only its members may commit for a group that has any: whoever is none is told that nobody knows
/// it.
fn is_about_members(error: &GroupError) -> bool {
    matches!(error.fault, GroupFault::Refused(ErrorCode::UnknownMemberId))
}

async fn selected(admin: &Admin, selections: &[Selection]) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = BTreeSet::new();
    for Selection { topic, partitions: named } in selections {
        let (found, outcome) = settle(admin.describe_topics(&[topic]).await?);
        outcome?;
        let all = found.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.index);
        let indexes = named.clone().unwrap_or_else(|| all.collect());
        partitions
            .extend(indexes.into_iter().map(|index| TopicPartition::new(topic.as_str(), index)));
    }
    Ok(partitions.into_iter().collect())
}

fn for_people(moves: &Moves) -> String {
    let row = |it: &Move| {
        let change = it.from.map(|from| match it.to - from {
            0 => "0".to_owned(),
            change => format!("{change:+}"),
        });
        [
            it.topic.clone(),
            it.partition.to_string(),
            or_dash(it.from),
            it.to.to_string(),
            or_dash(change),
        ]
    };
    let header = ["TOPIC", ">PARTITION", ">FROM", ">TO", ">CHANGE"];
    let mut text = table(header, moves.partitions.iter().map(row));
    let count = counted(moves.partitions.len() as u64, "partition");
    text += &if moves.executed {
        format!("\ngroup {} goes on there in {count}\n", moves.group)
    } else {
        format!("\nnothing was changed in {count}; add --execute to do it\n")
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_read_as_written() {
        let of = |topic: &str, partitions| Selection { topic: topic.into(), partitions };
        assert_eq!(selection("orders"), Ok(of("orders", None)));
        assert_eq!(selection("orders:0,12"), Ok(of("orders", Some(vec![0, 12]))));
        for wrong in ["orders:", "orders:a", "orders:-1", "orders:1,"] {
            assert!(selection(wrong).is_err(), "{wrong}");
        }
    }
}
