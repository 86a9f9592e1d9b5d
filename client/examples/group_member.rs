//! A member of a group that commits what it has processed, and tells all it does: the program that
//! `tests/interop/groups` starts beside members written with other clients. What it prints is
//! described in `tests/interop/README.md`.
//!
//! `cargo run -p thalweg-client --example group_member -- HOST:PORT GROUP TOPIC NAME PROTOCOL
//! SESSION_MS [INSTANCE]`; it stops at the line `stop`.
//!
//! A rebalance happens inside the call for the next batch, so it never finds a batch half done.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thalweg_client::consumer::{
    Assignor, ConsumeError, Consumer, ConsumerError, GroupHandle, GroupProtocol, OffsetReset,
    RebalanceListener, RecordBatch,
};
use thalweg_client::protocol::ErrorCode;
use thalweg_client::{Client, CommittedOffset, GroupFault, TopicPartition};
use tokio::sync::oneshot;

struct Narrator;

impl RebalanceListener for Narrator {
    async fn on_assigned(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        print(&format!("assigned {}", list(partitions)));
    }

    async fn on_revoked(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        print(&format!("revoked {}", list(partitions)));
    }

    async fn on_lost(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        print(&format!("lost {}", list(partitions)));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut consumer = open(&args).await?;
    let mut stopped = stop_requested();
    loop {
        let batch = tokio::select! {
            batch = consumer.next_batch() => batch,
            _ = &mut stopped => break,
        };
        match batch {
            Ok(batch) => process(&consumer, batch).await?,
            Err(error) if is_fenced(&error) => {
                print("fenced");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    consumer.close().await?;
    Ok(())
}

async fn open(args: &[String]) -> Result<Consumer, Box<dyn Error>> {
    let usage = "usage: member BOOTSTRAP GROUP TOPIC NAME PROTOCOL SESSION_MS [INSTANCE]";
    let [bootstrap, group, topic, name, protocol, session_ms, instance @ ..] = args else {
        return Err(usage.into());
    };
    let client = Client::builder(bootstrap).client_id(name).connect().await?;
    let mut builder = client
        .consumer()
        .group(group)
        .subscribe([topic])
        .auto_offset_reset(OffsetReset::Earliest)
        .manual_commit()
        .max_poll_interval(Duration::from_secs(30))
        .on_rebalance(Narrator);
    builder = match protocol.as_str() {
        "classic" => builder
            .group_protocol(GroupProtocol::Classic)
            .assignors([Assignor::Range])
            .session_timeout(Duration::from_millis(session_ms.parse()?))
            .heartbeat_interval(Duration::from_millis(500)),
        "consumer" => builder.group_protocol(GroupProtocol::Consumer),
        _ => return Err(usage.into()),
    };
    if let [instance] = instance {
        builder = builder.group_instance_id(instance);
    }
    Ok(builder.build())
}

async fn process(consumer: &Consumer, batch: RecordBatch) -> Result<(), ConsumeError> {
    let mut next = BTreeMap::new();
    for record in batch {
        let record = record?;
        print(&format!("record {} {}", record.partition(), record.offset));
        next.insert(record.source.clone(), record.offset + 1);
    }
    for (source, offset) in next {
        let commit = [(TopicPartition::clone(&source), CommittedOffset::new(offset))];
        match consumer.commit_offsets(&commit).await {
            Ok(()) => print(&format!("committed {} {offset}", source.partition)),
            Err(error) => print(&format!("refused {error}")),
        }
    }
    Ok(())
}

fn is_fenced(error: &ConsumerError) -> bool {
    let ConsumerError::Group(error) = error else { return false };
    matches!(error.fault, GroupFault::Refused(ErrorCode::FencedInstanceId))
}

/// Is resolved at the line "stop", or when whoever started this process is gone.
fn stop_requested() -> oneshot::Receiver<()> {
    let (requested, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).any(|line| line == "stop");
        // Nobody listens when the member has ended by itself.
        let _ = requested.send(());
    });
    receiver
}

fn list(partitions: &[TopicPartition]) -> String {
    let mut numbers: Vec<i32> = partitions.iter().map(|place| place.partition).collect();
    numbers.sort_unstable();
    let words: Vec<String> = numbers.iter().map(i32::to_string).collect();
    words.join(",")
}

#[expect(clippy::disallowed_methods, reason = "the driver compares the clocks of processes")]
fn print(event: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("{} {event}", now.as_micros());
}
