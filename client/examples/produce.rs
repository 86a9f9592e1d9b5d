//! Writes a few records, one after another and many at once.
//!
//! `cargo run -p thalweg-client --example produce -- HOST:PORT [TOPIC] [COUNT]`

use std::error::Error;
use std::time::Instant;

use thalweg_client::admin::NewTopic;
use thalweg_client::{Client, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().ok_or("give a broker as HOST:PORT")?;
    let topic = args.next().unwrap_or_else(|| "greetings".into());
    let count: u64 = args.next().map_or(Ok(10_000), |count| count.parse())?;

    let client = Client::connect(&bootstrap).await?;
    for outcome in client.admin().create_topics(&[NewTopic::named(&topic)], false).await? {
        match outcome {
            Ok(created) => println!("created {created:?}"),
            Err(refused) => println!("{refused}"),
        }
    }

    let producer = client.producer().build();
    let record = Record::to(&topic).key("first").value("hello").header("lang", "en");
    let written = producer.send(record).await?;
    println!("written: {written:?}");

    let begin = Instant::now();
    let mut last = None;
    for number in 0..count {
        let value = format!("record {number}");
        last = Some(producer.enqueue(Record::to(&topic).value(&value)).await?);
    }
    producer.flush().await;
    if let Some(last) = last {
        println!("the last of {count} in {:?}: {:?}", begin.elapsed(), last.await?);
    }
    producer.close().await;
    Ok(())
}
