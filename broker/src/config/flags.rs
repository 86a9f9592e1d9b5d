//! The flags of `thalweg serve`.

use std::path::PathBuf;

use clap::Args;

/// How to run a broker.
///
/// Every setting can also be written in the file given by --config or in an environment variable:
/// `listen` is THALWEG_LISTEN, `limits.maps_max` is THALWEG_LIMITS_MAPS_MAX, and Kafka's
/// `log.retention.hours` is THALWEG_KAFKA_LOG_RETENTION_HOURS. A flag beats the environment, which
/// beats the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeFlags {
    /// A TOML file with settings; without one, defaults apply.
    ///
    /// Send SIGHUP to the running broker to read it again.
    #[arg(long, short = 'c', value_name = "FILE", env = "THALWEG_CONFIG")]
    pub config: Option<PathBuf>,

    /// Where to keep data [default: ./thalweg-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,

    /// Where Kafka clients connect [default: 127.0.0.1:9092].
    ///
    /// 0.0.0.0 listens on every interface; say with --advertise then what clients should connect
    /// to. Port 0 takes any free port.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,

    /// What clients are told to connect to [default: the listen address].
    ///
    /// Clients follow this address whatever they connected to first, so it must be reachable
    /// from where they are.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// Where /metrics, /healthz and /readyz are served, or "off" [default: 127.0.0.1:9292].
    #[arg(long, value_name = "IP:PORT")]
    pub admin_listen: Option<String>,

    /// This broker's id in its cluster [default: 1].
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,

    /// The rack, room or zone this broker stands in; replicas stand in different ones.
    #[arg(long, value_name = "NAME")]
    pub rack: Option<String>,

    /// Form a cluster of these brokers, this one included.
    ///
    /// Node addresses of all founders, the same list on each. Once the cluster is formed the
    /// list is not read any more.
    #[arg(long, value_name = "HOST:PORT,...", conflicts_with = "join")]
    pub seeds: Option<String>,

    /// Join the cluster of these brokers; one that answers is enough.
    ///
    /// This broker must have an id that the cluster does not know.
    #[arg(long, value_name = "HOST:PORT,...")]
    pub join: Option<String>,

    /// Where other brokers connect [default: 127.0.0.1:9192 with --seeds or --join].
    ///
    /// They are not authenticated: keep it off public interfaces.
    #[arg(long, value_name = "IP:PORT")]
    pub node_listen: Option<String>,

    /// What other brokers are told to connect to [default: the node listen address].
    #[arg(long, value_name = "HOST:PORT")]
    pub node_advertise: Option<String>,

    /// How many threads serve, or "auto" for one per core [default: auto].
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<String>,

    /// How files are written [default: auto].
    #[arg(long, value_name = "BACKEND", value_parser = ["auto", "uring", "std"])]
    pub disk: Option<String>,

    /// How log lines look [default: text].
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub log_format: Option<String>,

    /// What is logged, such as "info,thalweg::replication=debug" [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log_filter: Option<String>,

    /// Any other setting, as often as needed.
    ///
    /// Takes Thalweg's own names (--set limits.maps_max=4096) and Kafka's
    /// (--set log.retention.hours=24). Sizes may be written 64MiB, durations 7d or 500ms.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

impl ServeFlags {
    /// The flags that were given: the flag, the key it sets, and the value.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let named = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--listen", "listen", &self.listen),
            ("--advertise", "advertise", &self.advertise),
            ("--admin-listen", "admin_listen", &self.admin_listen),
            ("--node-id", "node_id", &self.node_id),
            ("--rack", "rack", &self.rack),
            ("--seeds", "seeds", &self.seeds),
            ("--join", "join", &self.join),
            ("--node-listen", "node.listen", &self.node_listen),
            ("--node-advertise", "node.advertise", &self.node_advertise),
            ("--shards", "shards", &self.shards),
            ("--disk", "disk", &self.disk),
            ("--log-format", "log.format", &self.log_format),
            ("--log-filter", "log.filter", &self.log_filter),
        ];
        let set = self.set.iter().map(|(key, value)| ("--set", key.as_str(), value.as_str()));
        set.chain(
            named.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.as_deref()?))),
        )
    }
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
