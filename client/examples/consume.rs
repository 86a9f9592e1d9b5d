//! Prints the records of a topic from the beginning to where it ends now.
//!
//! `cargo run -p thalweg-client --example consume -- HOST:PORT [TOPIC]`

use std::error::Error;

use thalweg_client::Client;
use thalweg_client::consumer::StartAt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().ok_or("give a broker as HOST:PORT")?;
    let topic = args.next().unwrap_or_else(|| "greetings".into());

    let client = Client::connect(&bootstrap).await?;
    let consumer = client.consumer().topic(&topic, StartAt::Earliest).stop_at_end(true);
    let mut consumer = consumer.build().await?;
    let mut count = 0u64;
    while let Some(record) = consumer.next().await? {
        let text =
            |bytes: &Option<_>| bytes.as_deref().map(String::from_utf8_lossy).map(String::from);
        if count < 10 {
            println!(
                "{} {} at {}: {:?} = {:?}",
                record.source,
                record.offset,
                record.timestamp,
                text(&record.key),
                text(&record.value),
            );
        }
        count += 1;
    }
    println!("{count} records in all");
    for partition in consumer.partitions() {
        println!("{partition} ends at {:?}", consumer.position(&partition));
    }
    Ok(())
}
