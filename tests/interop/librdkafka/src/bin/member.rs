//! librdkafka as a group's member; what members do and print is in README.md.
//!
//! Records are taken one at a time and committed in small batches. A rebalance happens inside
//! `poll`, so that the callback finds no record unprocessed and commits what is pending.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

const BATCH_MAX: usize = 50;

struct Member {
    topic: String,
    /// Next offset of each partition with records processed and not yet committed.
    pending: Mutex<BTreeMap<i32, i64>>,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(places) => print(&format!("assigned {}", list(places))),
            Rebalance::Revoke(places) if consumer.assignment_lost() => {
                self.take_pending();
                print(&format!("lost {}", list(places)));
            }
            Rebalance::Revoke(places) => {
                self.commit(consumer);
                print(&format!("revoked {}", list(places)));
            }
            Rebalance::Error(error) => print(&format!("refused {error}")),
        }
    }
}

impl Member {
    fn take_pending(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn process(&self, partition: i32, offset: i64) {
        print(&format!("record {partition} {offset}"));
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset + 1);
    }

    fn commit(&self, consumer: &BaseConsumer<Self>) {
        let pending = self.take_pending();
        if pending.is_empty() {
            return;
        }
        let mut places = TopicPartitionList::new();
        let added = pending.iter().try_for_each(|(partition, next)| {
            places.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))
        });
        match added.and_then(|()| consumer.commit(&places, CommitMode::Sync)) {
            Ok(()) => pending
                .iter()
                .for_each(|(partition, next)| print(&format!("committed {partition} {next}"))),
            Err(error) => print(&format!("refused {error}")),
        }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let consumer = open(&args)?;
    let member = Arc::clone(consumer.context());
    consumer.subscribe(&[&member.topic])?;
    let stopped = stop_requested();
    // Records processed since the last commit.
    let mut batch = 0;
    while !stopped.load(Ordering::Relaxed) {
        let timeout = Duration::from_millis(if batch == 0 { 200 } else { 0 });
        let polled = consumer.poll(timeout);
        let is_drained = polled.is_none();
        match polled {
            Some(Ok(record)) => {
                member.process(record.partition(), record.offset());
                batch += 1;
            }
            Some(Err(error)) if consumer.client().fatal_error().is_some() => {
                eprintln!("{error}");
                print("fenced");
                return Ok(());
            }
            Some(Err(error)) => print(&format!("refused {error}")),
            None => {}
        }
        if is_drained || batch == BATCH_MAX {
            member.commit(&consumer);
            batch = 0;
        }
    }
    member.commit(&consumer);
    // Dropping the consumer leaves the group, with a last callback.
    Ok(())
}

fn open(args: &[String]) -> Result<BaseConsumer<Member>> {
    let usage = "usage: member BOOTSTRAP GROUP TOPIC NAME PROTOCOL SESSION_MS [INSTANCE]";
    let [bootstrap, group, topic, name, protocol, session_ms, instance @ ..] = args else {
        anyhow::bail!(usage);
    };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("client.id", name)
        .set("group.protocol", protocol)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("max.poll.interval.ms", "30000");
    // In the other protocol the broker decides these.
    if protocol == "classic" {
        config
            .set("session.timeout.ms", session_ms)
            .set("heartbeat.interval.ms", "500")
            .set("partition.assignment.strategy", "range");
    }
    if let [instance] = instance {
        config.set("group.instance.id", instance);
    }
    let member = Member { topic: topic.clone(), pending: Mutex::default() };
    config.create_with_context(member).context("no consumer")
}

/// Set at the line "stop", or when whoever started this process is gone.
fn stop_requested() -> Arc<AtomicBool> {
    let requested = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&requested);
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).any(|line| line == "stop");
        setter.store(true, Ordering::Relaxed);
    });
    requested
}

fn list(places: &TopicPartitionList) -> String {
    let elements = places.elements();
    let mut partitions: Vec<i32> = elements.iter().map(|place| place.partition()).collect();
    partitions.sort_unstable();
    let words: Vec<String> = partitions.iter().map(i32::to_string).collect();
    words.join(",")
}

fn print(event: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("{} {event}", now.as_micros());
}
