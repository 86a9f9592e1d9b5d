//! Measures how fast this client writes and reads, and what processor time it takes for that.
//!
//! `cargo run --release -p thalweg-client --example throughput -- HOST:PORT` and, if wanted, the
//! records' size, the megabytes, and the codec.
//!
//! It makes a topic of three partitions, writes so many megabytes of records of that size, reads
//! them back twice (as borrowed records, then as records to keep), and deletes the topic.

use std::error::Error;
use std::time::{Duration, Instant};

use thalweg_client::admin::NewTopic;
use thalweg_client::consumer::StartAt;
use thalweg_client::{Client, Codec, Record};

const PARTITIONS: i32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().ok_or("give a broker as HOST:PORT")?;
    let size: usize = args.next().map_or(Ok(1024), |size| size.parse())?;
    let megabytes: usize = args.next().map_or(Ok(1000), |megabytes| megabytes.parse())?;
    let codec: Codec = args.next().map_or(Ok(Codec::None), |codec| codec.parse())?;
    let count = megabytes * 1_000_000 / size;

    let client = Client::connect(&bootstrap).await?;
    let topic = format!("throughput-{}", std::process::id());
    let new = NewTopic::named(&topic).partitions(PARTITIONS);
    for outcome in client.admin().create_topics(&[new], false).await? {
        outcome?;
    }
    let outcome = measure(&client, &topic, size, count, codec).await;
    client.admin().delete_topics(&[&topic]).await?;
    outcome
}

async fn measure(
    client: &Client,
    topic: &str,
    size: usize,
    count: usize,
    codec: Codec,
) -> Result<(), Box<dyn Error>> {
    // Bytes that a codec finds something in, but not everything.
    let value: Vec<u8> = (0..size).map(|at| (at * at / 7 % 251) as u8).collect();
    let producer = client.producer().compression(codec).build();
    producer.send(Record::to(topic).value(&value)).await?;
    let begin = Lap::begin();
    let mut last = None;
    for _ in 0..count {
        last = Some(producer.enqueue(Record::to(topic).value(&value)).await?);
    }
    producer.flush().await;
    begin.end("produced", count, size);
    if let Some(last) = last {
        last.await?;
    }
    producer.close().await;

    let consumer = client.consumer().topic(topic, StartAt::Earliest).stop_at_end(true);
    let mut borrowing = consumer.clone().build().await?;
    let begin = Lap::begin();
    let (mut read, mut bytes) = (0, 0);
    while let Some(batch) = borrowing.next_batch().await? {
        for record in batch.iter() {
            bytes += record?.value.map_or(0, <[u8]>::len);
            read += 1;
        }
    }
    begin.end("consumed, borrowed", read, size);
    drop(borrowing);
    assert_eq!((read, bytes), (count + 1, (count + 1) * size), "what was written was read");

    let mut keeping = consumer.build().await?;
    let begin = Lap::begin();
    let mut read = 0;
    while let Some(record) = keeping.next().await? {
        read += usize::from(record.value.is_some());
    }
    begin.end("consumed, to keep", read, size);
    assert_eq!(read, count + 1, "what was written was read");
    Ok(())
}

/// A moment, and the processor time that this process had taken by then.
struct Lap {
    wall: Instant,
    user: Duration,
    system: Duration,
}

impl Lap {
    fn begin() -> Self {
        let (user, system) = processor_time();
        Lap { wall: Instant::now(), user, system }
    }

    fn end(&self, what: &str, count: usize, size: usize) {
        let wall = self.wall.elapsed().as_secs_f64();
        let (user, system) = processor_time();
        let (user, system) = (user - self.user, system - self.system);
        let gigabytes = (count * size) as f64 / 1e9;
        let millions = count as f64 / 1e6;
        println!(
            "{what}: {count} records of {size} bytes in {wall:.2} s: {:.0} MB/s, {:.2} M records/s; \
             processor {:.2} user + {:.2} system s/GB, {:.2} s per million records",
            gigabytes * 1e3 / wall,
            millions / wall,
            user.as_secs_f64() / gigabytes,
            system.as_secs_f64() / gigabytes,
            (user + system).as_secs_f64() / millions,
        );
    }
}

/// User and system time of this process, as Linux counts them; nothing elsewhere.
fn processor_time() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut ticks = fields.split(' ').skip(11).map(|ticks| ticks.parse().unwrap_or(0));
    let mut time = || Duration::from_millis(ticks.next().unwrap_or(0) * 10);
    (time(), time())
}
