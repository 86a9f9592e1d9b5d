//! Reads topics as a member of a group, and says what rebalances bring and take. Start it several
//! times and watch the partitions move; Ctrl-C leaves the group in good order.
//!
//! `cargo run -p thalweg-client --example consume_group -- HOST:PORT PROTOCOL GROUP TOPIC...`
//! where PROTOCOL is `classic` or `consumer`

use std::error::Error;
use std::time::Duration;

use thalweg_client::consumer::{GroupHandle, GroupProtocol, OffsetReset, RebalanceListener};
use thalweg_client::{Client, TopicPartition};

struct Narrator;

impl RebalanceListener for Narrator {
    async fn on_assigned(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        for partition in partitions {
            println!("got {partition}, from {:?}", group.position(partition));
        }
    }

    async fn on_revoked(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        for partition in partitions {
            println!("gave up {partition} at {:?}", group.position(partition));
        }
    }

    async fn on_lost(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        println!("lost {partitions:?}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().ok_or("give a broker as HOST:PORT")?;
    let protocol = match arguments.next().as_deref() {
        Some("classic") => GroupProtocol::Classic,
        Some("consumer") => GroupProtocol::Consumer,
        _ => return Err("say whether the group is classic or consumer".into()),
    };
    let group = arguments.next().ok_or("name a group")?;
    let client = Client::connect(&bootstrap).await?;
    let mut consumer = client
        .consumer()
        .group(&group)
        .group_protocol(protocol)
        .subscribe(arguments)
        .auto_offset_reset(OffsetReset::Earliest)
        .auto_commit(Duration::from_secs(1))
        .on_rebalance(Narrator)
        .build();
    let mut count = 0u64;
    loop {
        let record = tokio::select! {
            record = consumer.next() => record?,
            _ = tokio::signal::ctrl_c() => break,
        };
        count += 1;
        if count.is_power_of_two() {
            println!("record {count} is at offset {} of {}", record.offset, record.source);
        }
    }
    println!("{count} records");
    consumer.close().await?;
    Ok(())
}
