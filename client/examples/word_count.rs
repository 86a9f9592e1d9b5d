//! Counts words: reads lines in a group, writes how often each word has occurred so far, keyed by
//! the word, and commits the lines once their counts are acknowledged. Ctrl-C ends it.
//!
//! `cargo run -p thalweg-client --example word_count -- HOST:PORT IN OUT`
//!
//! The counts so far are read back from OUT, so it goes on where it stopped; lines whose commit did
//! not get through are counted again. One process counts for the whole group.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;

use thalweg_client::consumer::{OffsetReset, RecordBatch, StartAt};
use thalweg_client::producer::Producer;
use thalweg_client::{Client, Record};

type Counts = HashMap<String, u64>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, lines, output] = &arguments[..] else {
        return Err("give HOST:PORT, the topic of the lines and the topic of the counts".into());
    };
    let client = Client::connect(bootstrap).await?;
    let mut counts = counted_so_far(&client, output).await?;
    let producer = client.producer().build();
    let group = client.consumer().group("word-count").subscribe([lines]);
    let group = group.manual_commit().auto_offset_reset(OffsetReset::Earliest);
    let mut consumer = group.build();
    loop {
        let batch = tokio::select! {
            batch = consumer.next_batch() => batch?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let changed = count(&batch, &mut counts)?;
        write(&producer, output, &changed, &counts).await?;
        consumer.commit().await?;
        println!("{} words of {} up to {}", changed.len(), batch.source(), batch.next_offset());
    }
    consumer.close().await?;
    Ok(())
}

/// The last count of each word.
async fn counted_so_far(client: &Client, output: &str) -> Result<Counts, Box<dyn Error>> {
    let consumer = client.consumer().topic(output, StartAt::Earliest).stop_at_end(true);
    let (mut consumer, mut counts) = (consumer.build().await?, Counts::new());
    while let Some(record) = consumer.next().await? {
        let (Some(word), Some(count)) = (&record.key, &record.value) else { continue };
        let count = std::str::from_utf8(count)?.parse()?;
        counts.insert(String::from_utf8_lossy(word).into_owned(), count);
    }
    Ok(counts)
}

/// Counts the words of some lines; gives those that occur in them.
fn count(batch: &RecordBatch, counts: &mut Counts) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut changed = BTreeSet::new();
    for record in batch.iter() {
        let line = String::from_utf8_lossy(record?.value.unwrap_or_default()).to_lowercase();
        let words = line.split(|letter: char| !letter.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
            changed.insert(word.to_owned());
        }
    }
    Ok(changed)
}

/// Writes the counts of some words, and waits until all are acknowledged.
async fn write(
    producer: &Producer,
    output: &str,
    words: &BTreeSet<String>,
    counts: &Counts,
) -> Result<(), Box<dyn Error>> {
    let mut deliveries = Vec::new();
    for word in words {
        let count = counts.get(word).copied().unwrap_or_default().to_string();
        deliveries.push(producer.enqueue(Record::to(output).key(word).value(&count)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}
