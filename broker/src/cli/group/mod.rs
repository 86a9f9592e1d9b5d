//! `thalweg group`: consumer groups, their members, how far behind they are, and where they go on.

mod delete;
mod describe;
mod lag;
mod list;
mod offsets;
mod seek;

use clap::{Args, Subcommand};

use super::connect::ConnectFlags;
use super::failure::Failure;
use super::output::Printer;

/// List, describe, move and delete consumer groups.
#[derive(Debug, Args)]
pub(super) struct GroupArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List the groups of the whole cluster.
    List(list::ListArgs),
    /// Show state, members, assignment and lag of groups.
    Describe {
        /// Their names.
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Show how far groups are behind, partition by partition.
    #[command(after_help = "Examples:\n  \
        thalweg group lag billing\n  \
        thalweg group lag billing audit --watch 5s      again every five seconds, until Ctrl-C\n  \
        thalweg group lag billing -o json | jq .total   one number, for a script")]
    Lag(lag::LagArgs),
    /// Set the offsets at which a group goes on. Only shows what would change, unless --execute is
    /// given; a group that has members is refused.
    #[command(after_help = "Positions:\n  \
        start, end     the oldest record there is; only what comes from now on\n  \
        42             this offset, or the nearest there is\n  \
        -100           a hundred records before the end of each partition\n  \
        @1h, @7d       the first record since an hour ago, since a week ago\n  \
        @2026-01-31T12:00:00Z, @1769860800000\n                 \
        the first record at or after this time\n\n\
        Examples:\n  \
        thalweg group seek billing --to @1h                      what would change\n  \
        thalweg group seek billing --to @1h --execute\n  \
        thalweg group seek billing --to start --topic orders:0,3 --execute")]
    Seek(seek::SeekArgs),
    /// Delete groups with all their offsets. Asks first, unless -y is given or nobody is there.
    Delete {
        /// Their names.
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) async fn run(args: GroupArgs, printer: &mut Printer) -> Result<(), Failure> {
    if let GroupCommand::Delete { groups, yes: false } = &args.command {
        delete::confirm(groups)?;
    }
    let admin = args.connect.connect().await?.admin();
    match args.command {
        GroupCommand::List(args) => list::run(&admin, args, printer).await,
        GroupCommand::Describe { groups } => describe::run(&admin, &groups, printer).await,
        GroupCommand::Lag(args) => lag::run(&admin, &args, printer).await,
        GroupCommand::Seek(args) => seek::run(&admin, &args, printer).await,
        GroupCommand::Delete { groups, .. } => delete::run(&admin, &groups, printer).await,
    }
}
