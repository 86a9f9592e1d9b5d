//! `thalweg config`: the settings of topics and brokers, and where each value comes from.
//!
//! Names and sources are Kafka's own, as brokers give them: nothing here knows any setting.

use clap::{Args, Subcommand};
use serde::Serialize;
use thalweg_client::admin::{Config, ConfigChange, ConfigResource, ConfigSource};
use thalweg_client::protocol::NodeId;

use super::connect::ConnectFlags;
use super::failure::{Failure, settle};
use super::output::{Printer, or_dash, table};
use super::pairs::name_and_value;
use super::topic;

/// Read and change the settings of topics and brokers.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the settings that differ from the defaults, or those that are named.
    #[command(after_help = "Examples:\n  \
        thalweg config get logs                      what was set\n  \
        thalweg config get logs retention.ms         one setting\n  \
        thalweg config get --broker 1 --all          everything a broker says about itself")]
    Get {
        #[command(flatten)]
        of: ResourceFlags,
        /// All settings, not only those that differ from the defaults.
        #[arg(long)]
        all: bool,
    },
    /// Give settings other values.
    #[command(after_help = "Examples:\n  \
        thalweg config set logs retention.ms=3600000\n  \
        thalweg config set --broker all log.retention.ms=86400000")]
    Set {
        #[command(flatten)]
        of: ResourceFlags,
        /// Only say what would come of it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give settings back their defaults.
    Unset {
        #[command(flatten)]
        of: ResourceFlags,
        /// Only say what would come of it.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct ResourceFlags {
    /// Settings of this broker, or of "all" brokers, instead of a topic.
    #[arg(long, value_name = "ID")]
    broker: Option<String>,
    /// The topic unless --broker is given, then names of settings; with values for `set`.
    #[arg(value_name = "TOPIC|NAME")]
    words: Vec<String>,
}

impl ResourceFlags {
    /// What is asked about, and the words that remain.
    fn resource(self) -> Result<(ConfigResource, Vec<String>), Failure> {
        let mut words = self.words.into_iter();
        let resource = match self.broker.as_deref() {
            Some("all") => ConfigResource::all_brokers(),
            Some(id) => {
                let id = id.parse().map_err(|_| {
                    Failure::Usage(format!("'{id}' is no broker: give its number, or \"all\""))
                })?;
                ConfigResource::broker(NodeId(id))
            }
            None => {
                let missing = || Failure::Usage("name a topic, or a broker with --broker".into());
                ConfigResource::topic(&words.next().ok_or_else(missing)?)
            }
        };
        Ok((resource, words.collect()))
    }
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: Option<String>,
    source: String,
    read_only: bool,
    sensitive: bool,
}

pub(super) async fn run(args: ConfigArgs, printer: &mut Printer) -> Result<(), Failure> {
    let (resource, changes, dry_run) = match args.command {
        ConfigCommand::Get { of, all } => {
            let (resource, names) = of.resource()?;
            return get(&args.connect, resource, &names, all, printer).await;
        }
        ConfigCommand::Set { of, dry_run } => {
            let (resource, words) = of.resource()?;
            let change = |word: String| match name_and_value(&word) {
                Ok((name, value)) => Ok(ConfigChange::Set(name, value)),
                Err(why) => Err(Failure::Usage(format!("'{word}': {why}"))),
            };
            let changes: Vec<_> = words.into_iter().map(change).collect::<Result<_, _>>()?;
            (resource, changes, dry_run)
        }
        ConfigCommand::Unset { of, dry_run } => {
            let (resource, names) = of.resource()?;
            (resource, names.into_iter().map(ConfigChange::Delete).collect(), dry_run)
        }
    };
    if changes.is_empty() {
        return Err(Failure::Usage(format!("name the settings of {resource} to change")));
    }
    let admin = args.connect.connect().await?.admin();
    topic::apply(&admin, resource, changes, dry_run, printer).await
}

async fn get(
    connect: &ConnectFlags,
    resource: ConfigResource,
    names: &[String],
    all: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let admin = connect.connect().await?.admin();
    let what = resource.to_string();
    let (found, outcome) = settle(admin.describe_configs(&[resource]).await?);
    outcome?;
    let mut settings: Vec<Config> = found.into_iter().flatten().collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    let is_unknown = |name: &&String| !settings.iter().any(|setting| *setting.name == **name);
    if let Some(unknown) = names.iter().find(is_unknown) {
        return Err(Failure::NotFound(format!(
            "{what} has no setting '{unknown}'; --all lists those there are"
        )));
    }
    let is_wanted = |setting: &Config| match names {
        [] => all || topic::is_set(setting),
        names => names.iter().any(|name| **name == *setting.name),
    };
    settings.retain(is_wanted);
    let settings: Vec<Setting> = settings.iter().map(setting).collect();
    printer.print(&settings, |settings| match settings.as_slice() {
        [] => format!("All settings of {what} are the defaults; --all lists them."),
        settings => table(
            ["NAME", "VALUE", "FROM"],
            settings.iter().map(|setting| {
                let value = if setting.sensitive {
                    "(secret)".to_owned()
                } else {
                    or_dash(setting.value.as_ref())
                };
                [setting.name.clone(), value, setting.source.clone()]
            }),
        ),
    })?;
    Ok(())
}

fn setting(config: &Config) -> Setting {
    let source = match config.source {
        ConfigSource::Topic => "topic",
        ConfigSource::Broker => "broker",
        ConfigSource::AllBrokers => "all brokers",
        ConfigSource::StaticBroker => "broker's file",
        ConfigSource::Default => "default",
        ConfigSource::BrokerLogger => "logger",
        ConfigSource::ClientMetrics => "client metrics",
        ConfigSource::Group => "group",
        ConfigSource::Unknown(_) => "unknown",
    };
    Setting {
        name: config.name.to_string(),
        value: config.value.as_ref().map(|value| value.to_string()),
        source: source.to_owned(),
        read_only: config.is_read_only,
        sensitive: config.is_sensitive,
    }
}
