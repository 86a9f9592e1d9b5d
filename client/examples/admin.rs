//! Looks around in a cluster, and tries its administration out on a topic of its own.
//!
//! `cargo run -p thalweg-client --example admin -- HOST:PORT`

use std::error::Error;

use thalweg_client::admin::{ConfigChange, ConfigResource, NewPartitions, NewTopic};
use thalweg_client::{Client, Isolation, OffsetAt, Record, TopicPartition};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).ok_or("give a broker as HOST:PORT")?;
    let client = Client::connect(&bootstrap).await?;
    let admin = client.admin();

    let cluster = admin.describe_cluster().await?;
    println!("cluster {} of {} brokers", cluster.id, cluster.brokers.len());
    for topic in admin.list_topics().await? {
        println!("  topic {} {:?}", topic.name, topic.id);
    }

    let topic = format!("admin-example-{}", std::process::id());
    let new = NewTopic::named(&topic).partitions(1).config("retention.ms", "3600000");
    println!("would create {:?}", admin.create_topics(std::slice::from_ref(&new), true).await?);
    println!("created {:?}", admin.create_topics(std::slice::from_ref(&new), false).await?);
    println!("again: {:?}", admin.create_topics(&[new], false).await?);

    let more = NewPartitions { topic: topic.clone(), count: 2, assignment: None };
    println!("enlarged {:?}", admin.create_partitions(&[more], false).await?);

    let resource = ConfigResource::topic(&topic);
    let changes = vec![
        ConfigChange::Set("max.message.bytes".into(), "2000000".into()),
        ConfigChange::Delete("retention.ms".into()),
    ];
    println!("altered {:?}", admin.alter_configs(&[(resource.clone(), changes)], false).await?);
    for configs in admin.describe_configs(&[resource]).await? {
        for config in configs?.iter().filter(|config| config.name.starts_with("max.message")) {
            println!("  {} = {:?} from {:?}", config.name, config.value, config.source);
        }
    }

    let producer = client.producer().build();
    for number in 0..5 {
        let value = format!("{number}");
        producer.send(Record::to(&topic).partition(0).value(&value)).await?;
    }
    let partition = TopicPartition::new(topic.as_str(), 0);
    let wanted = [
        (partition.clone(), OffsetAt::Earliest),
        (TopicPartition::new(topic.as_str(), 1), OffsetAt::Latest),
        (TopicPartition::new(topic.as_str(), 7), OffsetAt::Latest),
    ];
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await;
    found.iter().for_each(|found| println!("  offset: {found:?}"));
    println!("deleted {:?}", admin.delete_records(&[(partition.clone(), Some(3))]).await);
    println!("producers {:?}", admin.describe_producers(&[partition]).await);
    for described in admin.describe_topics(&[&topic]).await? {
        println!("described {described:?}");
    }
    for broker in client.brokers() {
        for dir in admin.describe_log_dirs(broker.id).await? {
            println!("{} has {} replicas in {}", broker.address, dir.replicas.len(), dir.path);
        }
    }
    println!("resources {:?}", admin.list_config_resources(&[]).await?.len());
    println!("deleted {:?}", admin.delete_topics(&[&topic]).await?);
    println!("then: {:?}", admin.describe_topics(&[&topic]).await?);
    Ok(())
}
