//! Carrying moves out: a few at a time, and watching them until they have arrived.
//!
//! Nothing is lost if the watching ends: the cluster goes on with what was begun.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use thalweg_client::TopicPartition;
use thalweg_client::admin::{Admin, ItemError};
use thalweg_client::protocol::NodeId;
use tokio::time::sleep;

use super::plan::Move;
use super::{ids, named};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::{is_watched, table};

/// How often the cluster is asked what is still on its way.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How many partitions move at the same time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Pace {
    /// How many partitions move at the same time.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
}

/// A move as it is printed.
#[derive(Serialize)]
pub(super) struct ShownMove {
    topic: String,
    partition: i32,
    from: Vec<i32>,
    to: Vec<i32>,
}

impl From<&Move> for ShownMove {
    fn from(it: &Move) -> ShownMove {
        ShownMove {
            topic: it.partition.topic.to_string(),
            partition: it.partition.partition,
            from: it.from.clone(),
            to: it.to.clone(),
        }
    }
}

pub(super) fn for_people(moves: &[ShownMove]) -> String {
    let row =
        |it: &ShownMove| [format!("{}:{}", it.topic, it.partition), ids(&it.from), ids(&it.to)];
    table(["PARTITION", "FROM", "TO"], moves.iter().map(row))
}

/// Begins moves without waiting for them; the outcomes are in their order.
pub(super) async fn begin(
    admin: &Admin,
    moves: &[Move],
) -> Result<Vec<Result<(), ItemError>>, Failure> {
    let replicas = |it: &Move| it.to.iter().map(|node| NodeId(*node)).collect();
    let changes: Vec<_> =
        moves.iter().map(|it| (it.partition.clone(), Some(replicas(it)))).collect();
    Ok(admin.alter_partition_reassignments(&changes).await?)
}

/// Carries moves out. Those that are refused are reported, and the others arrive nevertheless.
pub(super) async fn carry_out(admin: &Admin, moves: &[Move], pace: Pace) -> Result<(), Failure> {
    let bar = progress(moves.len());
    let mut waiting = moves;
    let mut under_way: Vec<TopicPartition> = Vec::new();
    let mut outcomes = Vec::with_capacity(moves.len());
    while !waiting.is_empty() || !under_way.is_empty() {
        let room = usize::from(pace.at_once).saturating_sub(under_way.len());
        let (next, later) = waiting.split_at(room.min(waiting.len()));
        waiting = later;
        if !next.is_empty() {
            let begun = begin(admin, next).await?;
            let taken_on = next.iter().zip(&begun).filter(|(_, begun)| begun.is_ok());
            under_way.extend(taken_on.map(|(it, _)| it.partition.clone()));
            outcomes.extend(begun);
        }
        if !under_way.is_empty() {
            let left = admin.list_partition_reassignments(Some(&under_way)).await?;
            under_way = left.into_iter().map(|it| it.partition).collect();
        }
        bar.set_position((outcomes.len() - under_way.len()) as u64);
        bar.set_message(under_way.first().map(named).unwrap_or_default());
        if !under_way.is_empty() {
            sleep(LOOK_EVERY).await;
        }
    }
    bar.finish_and_clear();
    settle(outcomes).1
}

fn progress(moves: usize) -> ProgressBar {
    if !is_watched() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(moves as u64);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let template = "{bar:30} {pos}/{len} partitions moved {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
