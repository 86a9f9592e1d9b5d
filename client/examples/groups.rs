//! Sets the offsets of a group that nobody is in, shows the cluster's groups, and forgets the group
//! again: `cargo run --example groups -- localhost:9092 TOPIC`.

use thalweg_client::admin::GroupFilter;
use thalweg_client::{Client, CommittedOffset, TopicPartition};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = arguments.next().ok_or("name a topic")?;
    let admin = Client::connect(&bootstrap).await?.admin();
    let group = "example-of-groups";
    let partition = TopicPartition::new(topic, 0);

    let wanted = CommittedOffset::new(7).with_metadata("set by hand");
    for (partition, outcome) in
        admin.alter_group_offsets(group, &[(partition.clone(), wanted)]).await?
    {
        outcome?;
        println!("{partition}: set");
    }
    for listing in admin.list_groups(&GroupFilter::default()).await? {
        let state = listing.state.map(|state| state.to_string()).unwrap_or_default();
        println!("group {} on broker {}: {state}", listing.group, listing.coordinator);
        for described in admin.describe_groups(&[&listing.group]).await {
            for member in described?.members {
                println!("  {} of {} reads {:?}", member.client_id, member.host, member.assignment);
            }
        }
        for (partition, committed) in admin.list_group_offsets(&listing.group, None).await? {
            println!("  {partition}: {:?}", committed?);
        }
    }
    for (partition, outcome) in admin.delete_group_offsets(group, &[partition]).await? {
        println!("{partition}: forgotten {outcome:?}");
    }
    for outcome in admin.delete_groups(&[group]).await {
        println!("deleted: {outcome:?}");
    }
    for outcome in admin.describe_groups(&[group]).await {
        println!("afterwards: {}", outcome.err().ok_or("it is still there")?);
    }
    Ok(())
}
