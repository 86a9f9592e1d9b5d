//! How fast this repository's client and librdkafka write and read, and what processor time each
//! takes for that: in one run, against one broker, in alternation, so that a noisy machine is as
//! unkind to the one as to the other.
//!
//! `cargo run --release -- HOST:PORT [MEGABYTES] [ROUNDS]`, in this folder. Both acknowledge by all
//! replicas, number their batches, and keep each record that they read until the next.

mod librdkafka;
mod measure;
mod ours;

use anyhow::{Context, Result};
use measure::Figures;
use thalweg_client::Client;
use thalweg_client::admin::NewTopic;

const PARTITIONS: i32 = 3;
const SIZES: [usize; 2] = [100, 1024];

/// What is measured: so many records of one size, in one topic.
pub(crate) struct Load<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) value: &'a [u8],
    pub(crate) count: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().context("give a broker as HOST:PORT")?;
    let megabytes: usize = arguments.next().map_or(Ok(200), |it| it.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |it| it.parse())?;
    let client = Client::connect(&bootstrap).await?;
    println!("{}", Figures::HEADINGS);
    for size in SIZES {
        let value: Vec<u8> = (0..size).map(|at| (at * at / 7 % 251) as u8).collect();
        let count = megabytes * 1_000_000 / size;
        // The first round warms everything up and is not shown.
        for round in 0..=rounds {
            for which in ["thalweg-client", "librdkafka"] {
                let topic = format!("bench-clients-{}-{size}-{round}-{which}", std::process::id());
                let new = NewTopic::named(&topic).partitions(PARTITIONS);
                for outcome in client.admin().create_topics(&[new], false).await? {
                    outcome?;
                }
                let (bootstrap, topic) = (bootstrap.as_str(), topic.as_str());
                let load = Load { bootstrap, topic, value: &value, count };
                let (produced, consumed) = match which {
                    "librdkafka" => (librdkafka::produce(&load)?, librdkafka::consume(&load)?),
                    _ => (ours::produce(&load).await?, ours::consume(&load).await?),
                };
                if round > 0 {
                    println!("{}", produced.row(which, "produce", size));
                    println!("{}", consumed.row(which, "consume", size));
                }
                client.admin().delete_topics(&[topic]).await?;
            }
        }
    }
    Ok(())
}
