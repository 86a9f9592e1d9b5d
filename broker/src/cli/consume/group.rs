//! `thalweg consume --group`: reading as a member of a consumer group.
//!
//! What is printed is flushed before more is asked for, since asking says that the records given
//! are done with and may be committed. Ctrl-C and SIGTERM leave the group in good order, with
//! everything printed committed.

use std::io::Write;
use std::time::Duration;

use thalweg_client::consumer::{Consumer, OffsetReset, StartAt};
use thalweg_client::{Client, Isolation};
use tokio::signal::unix::{SignalKind, signal};

use super::{ConsumeArgs, Writer};
use crate::cli::failure::Failure;
use crate::cli::output::Printer;
use crate::cli::position::Position;

/// How often to look whether the end has been reached, while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const COMMIT_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    client: &Client,
    group: &str,
    args: &ConsumeArgs,
    writer: &Writer,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut consumer = join(client, group, args)?;
    let broken = |source| Failure::io("cannot wait for signals", source);
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let read = tokio::select! {
        read = read(&mut consumer, args, writer, printer) => read,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // What was printed is printed, whatever ended it.
    printer.flush()?;
    consumer.close().await?;
    read
}

fn join(client: &Client, group: &str, args: &ConsumeArgs) -> Result<Consumer, Failure> {
    let reset = match args.offset {
        Position::Start => OffsetReset::Earliest,
        Position::End => OffsetReset::Latest,
        _ => {
            return Err(Failure::Usage(format!(
                "a group goes on where it is; --offset start or end says where it begins, and \
                 'thalweg group seek {group} --to …' moves it"
            )));
        }
    };
    let isolation =
        if args.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let builder = client.consumer().isolation(isolation).group(group);
    let builder = builder.subscribe([&args.topic]).auto_offset_reset(reset);
    Ok(builder.auto_commit(COMMIT_EVERY).build())
}

async fn read(
    consumer: &mut Consumer,
    args: &ConsumeArgs,
    writer: &Writer,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let batch = match tokio::time::timeout(LOOK_EVERY, consumer.next_batch()).await {
            Ok(batch) => batch?,
            Err(_nothing_yet) if args.exit_at_end && is_at_end(consumer) => return Ok(()),
            Err(_nothing_yet) => continue,
        };
        let written = writer.write(&batch, left, printer)?;
        printer.flush()?;
        left -= written.records;
        if let Some(offset) = written.cut_at {
            // The rest of the batch is for whoever comes next.
            consumer.seek(batch.source(), StartAt::Offset(offset))?;
        }
    }
    Ok(())
}

/// Whether this member has partitions and has read all of them to their ends.
fn is_at_end(consumer: &Consumer) -> bool {
    let partitions = consumer.assignment();
    !partitions.is_empty() && partitions.iter().all(|it| consumer.lag(it) == Some(0))
}
