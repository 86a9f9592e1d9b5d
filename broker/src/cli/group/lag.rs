//! `thalweg group lag`: how far groups are behind, once or again and again.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use thalweg_client::admin::Admin;

use super::describe::readers;
use super::offsets::{self, PartitionLag};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Output, Printer, or_dash, table};
use crate::cli::pairs::duration;

#[derive(Debug, Args)]
pub(super) struct LagArgs {
    /// Their names.
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Show it again and again, this long apart, until interrupted.
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1,
          default_missing_value = "2s")]
    watch: Option<Duration>,
}

#[derive(Serialize)]
struct Lags {
    groups: Vec<GroupLag>,
    /// Records that all of them together have not processed.
    total: i64,
}

#[derive(Serialize)]
struct GroupLag {
    group: String,
    state: String,
    members: usize,
    total: i64,
    partitions: Vec<PartitionLag>,
}

/// Puts the cursor into the upper left corner of an empty terminal (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(
    admin: &Admin,
    args: &LagArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let Some(every) = args.watch else {
        let (lags, outcome) = gather(admin, &args.groups).await?;
        if !lags.groups.is_empty() {
            printer.print(&lags, for_people)?;
        }
        return outcome;
    };
    loop {
        let (lags, outcome) = gather(admin, &args.groups).await?;
        // A group may come later; that nothing can be reached is another matter.
        if let (Err(failure), true) = (outcome, lags.groups.is_empty()) {
            return Err(failure);
        }
        match printer.output {
            Output::Json => {
                serde_json::to_writer(&mut *printer, &lags).map_err(std::io::Error::from)?;
                writeln!(printer)?;
            }
            Output::Table if std::io::stdout().is_terminal() => {
                write!(printer, "{CLEAR}{}", for_people(&lags))?;
            }
            Output::Table => writeln!(printer, "{}", for_people(&lags))?,
        }
        printer.flush()?;
        tokio::time::sleep(every).await;
    }
}

async fn gather(admin: &Admin, groups: &[String]) -> Result<(Lags, Result<(), Failure>), Failure> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let (found, outcome) = settle(admin.describe_groups(&names).await);
    let mut lags = Lags { groups: Vec::new(), total: 0 };
    for group in found {
        let partitions = offsets::lags(admin, &group.group, &readers(&group)).await?;
        let total = partitions.iter().filter_map(|partition| partition.lag).sum();
        lags.total += total;
        lags.groups.push(GroupLag {
            group: group.group.to_string(),
            state: group.state.to_string(),
            members: group.members.len(),
            total,
            partitions,
        });
    }
    Ok((lags, outcome))
}

fn for_people(lags: &Lags) -> String {
    let mut rows = Vec::new();
    for group in &lags.groups {
        for partition in &group.partitions {
            rows.push([
                group.group.clone(),
                partition.topic.clone(),
                partition.partition.to_string(),
                or_dash(partition.committed),
                or_dash(partition.end),
                or_dash(partition.lag),
            ]);
        }
    }
    let header = ["GROUP", "TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG"];
    let mut text = table(header, rows);
    text.push('\n');
    for group in &lags.groups {
        let GroupLag { group, state, members, total, .. } = group;
        let noun = if *members == 1 { "member" } else { "members" };
        text += &format!("{group}: {total} behind ({state}, {members} {noun})\n");
    }
    text
}
