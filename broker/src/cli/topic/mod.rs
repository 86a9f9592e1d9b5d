//! `thalweg topic`: creating topics, looking at them, changing them, and getting rid of them.
//!
//! A command about several topics does what it can, reports what it could not, and then fails.

mod describe;
mod trim;

use clap::{Args, Subcommand};
use serde_json::json;
use thalweg_client::admin::{
    Admin, ConfigChange, ConfigResource, CreatedTopic, ItemError, NewPartitions, NewTopic,
};
use thalweg_client::protocol::ErrorCode;

pub(super) use describe::is_set;

use super::connect::ConnectFlags;
use super::failure::{Failure, settle};
use super::output::{Printer, confirm, or_dash, table};
use super::pairs::name_and_value;

/// Create, list, describe, change, trim and delete topics.
#[derive(Debug, Args)]
pub(super) struct TopicArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create a topic.
    #[command(after_help = "Examples:\n  \
        thalweg topic create orders -p 12\n  \
        thalweg topic create changes -c cleanup.policy=compact\n  \
        thalweg topic create logs -c retention.ms=86400000 --dry-run")]
    Create(CreateArgs),
    /// List the topics there are.
    List {
        /// Also those that belong to the cluster itself.
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, leaders, offsets, sizes and settings of topics.
    Describe {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Change settings of a topic; those that are not named stay.
    #[command(after_help = "Examples:\n  \
        thalweg topic alter logs -c retention.ms=3600000\n  \
        thalweg topic alter logs --delete retention.ms")]
    Alter {
        /// Its name.
        name: String,
        #[command(flatten)]
        changes: ChangeFlags,
    },
    /// Give a topic more partitions. Records with a key may go to other partitions from then on.
    AddPartitions {
        /// Its name.
        name: String,
        /// How many partitions it is to have in all.
        #[arg(value_name = "TOTAL")]
        count: i32,
        /// Only say what would come of it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete topics with all their records. Asks first, unless -y is given or nobody is there.
    Delete {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete the oldest records of a topic.
    #[command(after_help = "Examples:\n  \
        thalweg topic trim logs --before @7d          all that is older than a week\n  \
        thalweg topic trim logs --before end          everything\n  \
        thalweg topic trim logs --partition 0 --before 1000")]
    Trim(trim::TrimArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its name: 1 to 249 of a-z A-Z 0-9 . _ -
    name: String,
    /// How many partitions; the cluster's default if not given.
    #[arg(short, long)]
    partitions: Option<i32>,
    /// How many replicas of each; the cluster's default if not given.
    #[arg(short, long)]
    replicas: Option<i16>,
    /// A setting; may be given several times.
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    configs: Vec<(String, String)>,
    /// If the topic is there already, leave it as it is and succeed.
    #[arg(long)]
    if_not_exists: bool,
    /// Only say what would come of it.
    #[arg(long)]
    dry_run: bool,
}

/// Settings to change, of anything that has settings.
#[derive(Debug, Args)]
pub(super) struct ChangeFlags {
    /// A setting to set; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "NAME=VALUE", value_parser = name_and_value,
          required_unless_present = "delete")]
    set: Vec<(String, String)>,
    /// A setting to give back its default; may be given several times.
    #[arg(long, value_name = "NAME")]
    delete: Vec<String>,
    /// Only say what would come of it.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: TopicArgs, printer: &mut Printer) -> Result<(), Failure> {
    if let TopicCommand::Delete { names, yes: false } = &args.command {
        confirm(&format!("Delete {} with all records?", names.join(", ")))?;
    }
    let admin = args.connect.connect().await?.admin();
    match args.command {
        TopicCommand::Create(args) => create(&admin, args, printer).await,
        TopicCommand::List { internal } => list(&admin, internal, printer).await,
        TopicCommand::Describe { names } => describe::run(&admin, &names, printer).await,
        TopicCommand::Alter { name, changes } => {
            alter(&admin, ConfigResource::topic(&name), changes, printer).await
        }
        TopicCommand::AddPartitions { name, count, dry_run } => {
            let new = NewPartitions { topic: name.clone(), count, assignment: None };
            settle(admin.create_partitions(&[new], dry_run).await?).1?;
            let done = json!({"topic": name, "partitions": count, "dry_run": dry_run});
            let verb = if dry_run { "would have" } else { "has" };
            Ok(printer.print(&done, |_| format!("topic {name} {verb} {count} partitions"))?)
        }
        TopicCommand::Delete { names, .. } => delete(&admin, &names, printer).await,
        TopicCommand::Trim(args) => trim::run(&admin, args, printer).await,
    }
}

async fn create(admin: &Admin, args: CreateArgs, printer: &mut Printer) -> Result<(), Failure> {
    let mut new = NewTopic::named(&args.name);
    if let Some(count) = args.partitions {
        new = new.partitions(count);
    }
    if let Some(factor) = args.replicas {
        new = new.replication_factor(factor);
    }
    for (name, value) in args.configs {
        new = new.config(name, value);
    }
    let outcomes = admin.create_topics(&[new], args.dry_run).await?;
    let outcome = outcomes.into_iter().next();
    if let Some(Err(ItemError { error: ErrorCode::TopicAlreadyExists, .. })) = &outcome
        && args.if_not_exists
    {
        let found = json!({"topic": args.name, "created": false});
        return Ok(printer.print(&found, |_| format!("topic {} is there already", args.name))?);
    }
    let (created, outcome) = settle(outcome);
    outcome?;
    let created: Option<CreatedTopic> = created.into_iter().next();
    let partitions = created.as_ref().and_then(|created| created.partitions);
    let replicas = created.as_ref().and_then(|created| created.replication_factor);
    let result = json!({
        "topic": args.name,
        "created": !args.dry_run,
        "id": created.and_then(|created| created.id).map(|id| id.to_string()),
        "partitions": partitions,
        "replicas": replicas,
    });
    let verb = if args.dry_run { "would be created" } else { "created" };
    printer.print(&result, |_| {
        let (partitions, replicas) = (or_dash(partitions), or_dash(replicas));
        format!("{verb} topic {}: partitions {partitions}, replicas {replicas}", args.name)
    })?;
    Ok(())
}

async fn list(admin: &Admin, internal: bool, printer: &mut Printer) -> Result<(), Failure> {
    let mut listed = admin.list_topics().await?;
    listed.retain(|topic| internal || !topic.is_internal);
    let names: Vec<&str> = listed.iter().map(|topic| &*topic.name).collect();
    // A topic that has just been deleted is no reason to fail.
    let described = admin.describe_topics(&names).await?.into_iter().flatten();
    let topics: Vec<_> = described
        .map(|topic| {
            let replicas = topic.partitions.iter().map(|partition| partition.replicas.len()).max();
            json!({
                "topic": &*topic.name,
                "partitions": topic.partitions.len(),
                "replicas": replicas.unwrap_or(0),
                "internal": topic.is_internal,
                "id": topic.id.map(|id| id.to_string()),
            })
        })
        .collect();
    printer.print(&topics, |topics| {
        if topics.is_empty() {
            return "There are no topics. Create one: thalweg topic create NAME".to_owned();
        }
        let text = |topic: &serde_json::Value, name: &str| match &topic[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let row = |topic: &_| ["topic", "partitions", "replicas"].map(|name| text(topic, name));
        table(["TOPIC", ">PARTITIONS", ">REPLICAS"], topics.iter().map(row))
    })?;
    Ok(())
}

/// Changes settings of anything, for `topic alter` and `config set` alike.
pub(super) async fn alter(
    admin: &Admin,
    resource: ConfigResource,
    flags: ChangeFlags,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let ChangeFlags { set, delete, dry_run } = flags;
    let set = set.into_iter().map(|(name, value)| ConfigChange::Set(name, value));
    let changes: Vec<_> = set.chain(delete.into_iter().map(ConfigChange::Delete)).collect();
    apply(admin, resource, changes, dry_run, printer).await
}

/// Applies changes and says which they were.
pub(super) async fn apply(
    admin: &Admin,
    resource: ConfigResource,
    changes: Vec<ConfigChange>,
    dry_run: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let said: Vec<String> = changes
        .iter()
        .map(|change| match change {
            ConfigChange::Set(name, value) => format!("{name}={value}"),
            ConfigChange::Delete(name) => format!("{name} back to its default"),
            ConfigChange::Append(name, value) => format!("{name}+={value}"),
            ConfigChange::Subtract(name, value) => format!("{name}-={value}"),
        })
        .collect();
    let what = resource.to_string();
    settle(admin.alter_configs(&[(resource, changes)], dry_run).await?).1?;
    let done = json!({"resource": what, "changed": said, "dry_run": dry_run});
    let verb = if dry_run { "would be changed" } else { "changed" };
    printer.print(&done, |_| format!("{verb} {what}: {}", said.join(", ")))?;
    Ok(())
}

async fn delete(admin: &Admin, names: &[String], printer: &mut Printer) -> Result<(), Failure> {
    let outcomes = admin.delete_topics(names).await?;
    let done = names.iter().zip(outcomes).map(|(name, outcome)| outcome.map(|()| name.as_str()));
    let (deleted, outcome) = settle(done);
    if !deleted.is_empty() {
        printer
            .print(&json!({"deleted": deleted}), |_| format!("deleted {}", deleted.join(", ")))?;
    }
    outcome
}
