//! The layers together: what wins, what is refused and how that reads, what a reload changes.

use std::path::Path;

use clap::Parser;

use super::kafka_names::BROKER_SETTINGS;
use super::keys::KEYS;
use super::*;

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    flags: ServeFlags,
}

fn flags(args: &[&str]) -> ServeFlags {
    let args = std::iter::once("serve").chain(args.iter().copied());
    Serve::try_parse_from(args).expect("flags parse").flags
}

fn file() -> &'static Path {
    Path::new("thalweg.toml")
}

fn layered(
    content: &str,
    environment: &[(&str, &str)],
    args: &[&str],
) -> Result<BrokerConfig, String> {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let layers = Layers {
        file: Some((file(), content)),
        environment: &environment,
        flags: Some(&flags(args)),
    };
    BrokerConfig::from_layers(layers).map_err(|error| error.to_string())
}

fn from_file(content: &str) -> Result<BrokerConfig, String> {
    layered(content, &[], &[])
}

#[test]
fn a_later_layer_beats_an_earlier_one() {
    let content =
        "node_id = 2\nshards = 2\nlisten = \"127.0.0.1:1\"\n[kafka]\nnum.partitions = 2\n";
    let environment = [("THALWEG_SHARDS", "3"), ("THALWEG_LISTEN", "127.0.0.1:2")];
    let config = layered(content, &environment, &["--listen", "127.0.0.1:3"]).expect("valid");
    assert_eq!((config.node_id, config.shards), (2, Some(3)));
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.kafka.num_partitions, 2);
    assert_eq!(config.limits, Limits::default());
    let origins: Vec<_> =
        config.entries.iter().map(|(key, entry)| (*key, entry.origin.to_string())).collect();
    assert_eq!(
        origins,
        [
            ("listen", "--listen".to_owned()),
            ("node_id", "thalweg.toml:1".to_owned()),
            ("num.partitions", "thalweg.toml:5".to_owned()),
            ("shards", "environment variable THALWEG_SHARDS".to_owned()),
        ]
    );
}

#[test]
fn sizes_and_durations_mean_the_same_in_every_layer() {
    let content = "[limits]\nmaps_max = 99\ntail_cache_bytes = \"64MiB\"\nconnection_idle_ms = \"10s\"\n\
                   [kafka]\n\"log.retention.hours\" = \"7d\"\nlog.segment.bytes = \"2MiB\"\n";
    let environment =
        [("THALWEG_LIMITS_FRAME_STALL_MS", "5s"), ("THALWEG_KAFKA_LOG_RETENTION_BYTES", "1GiB")];
    let args = ["--set", "limits.disk_reserve_bytes=1GB", "--set", "message.max.bytes=4MiB"];
    let config = layered(content, &environment, &args).expect("valid");
    assert_eq!(config.limits.tail_cache_bytes, 64 << 20);
    assert_eq!(config.limits.connection_idle_ms, 10_000);
    assert_eq!(config.limits.frame_stall_ms, 5_000);
    assert_eq!(config.limits.disk_reserve_bytes, 1_000_000_000);
    for (name, value) in [
        ("log.retention.hours", "168"),
        ("log.segment.bytes", "2097152"),
        ("log.retention.bytes", "1073741824"),
        ("message.max.bytes", "4194304"),
    ] {
        assert_eq!(config.kafka.get(name), Some((value, ConfigSource::StaticBroker)), "{name}");
    }
}

#[test]
fn refusals_name_the_place_the_key_and_the_reason() {
    for (content, message) in [
        (
            "\nlisten = \"9092\"",
            "thalweg.toml:2: '9092' is no value for listen: it must be an IP address and a port, such as 127.0.0.1:9092 or [::]:9092",
        ),
        ("lisen = 1", "thalweg.toml:1: there is no setting 'lisen'; did you mean 'listen'?"),
        ("replicas = 1", "thalweg.toml:1: there is no setting 'replicas'"),
        (
            "[limits]\nconections_max = 1",
            "thalweg.toml:2: there is no setting 'limits.conections_max'; did you mean 'limits.connections_max'?",
        ),
        (
            "num.partitions = 3",
            "thalweg.toml:1: there is no setting 'num.partitions'; did you mean 'kafka.num.partitions'?",
        ),
        (
            "[kafka]\nlog.retention.hour = 3",
            "thalweg.toml:2: there is no setting 'kafka.log.retention.hour'; did you mean 'kafka.log.retention.hours'?",
        ),
        (
            "[kafka]\nsocket.request.max.bytes = 3",
            "thalweg.toml:2: there is no setting 'kafka.socket.request.max.bytes'; did you mean 'limits.request_bytes_max'?",
        ),
        (
            "[kafka]\nnum.partitions = 0",
            "thalweg.toml:2: '0' is no value for num.partitions: it must be at least 1",
        ),
        (
            "[limits]\nmaps_max = \"12 apples\"",
            "thalweg.toml:2: '12 apples' is no value for limits.maps_max: it must be a whole number",
        ),
        (
            "[limits]\nrequest_bytes_max = \"12 apples\"",
            "thalweg.toml:2: '12 apples' is no value for limits.request_bytes_max: it must be a number of bytes, or a size such as 64MiB or 10GB",
        ),
        (
            "shards = [1]",
            "thalweg.toml:1: 'shards' is no value for shards: it must be a single value",
        ),
        ("shards = 0", "thalweg.toml:1: '0' is no value for shards: it must be at least 1"),
        (
            "disk = \"floppy\"",
            "thalweg.toml:1: 'floppy' is no value for disk: it must be one of: auto, uring, std",
        ),
        (
            "[log]\nfilter = \"a=b=c\"",
            "thalweg.toml:2: 'a=b=c' is no value for log.filter: it must be a list of target=level, such as info or info,thalweg::raft=debug",
        ),
    ] {
        assert_eq!(from_file(content), Err(message.to_owned()), "{content}");
    }
    let error = from_file("shards = = 1").expect_err("no TOML");
    assert!(error.starts_with("thalweg.toml:1: "), "{error}");
    assert_eq!(
        layered("", &[], &["--set", "max.connections=1"]),
        Err("--set max.connections: there is no setting 'max.connections'; did you mean \
             'limits.connections_max'?"
            .to_owned())
    );
    let args = ["--node-id", "-1"].join("=");
    assert_eq!(
        layered("", &[], &[&args]),
        Err("--node-id: '-1' is no value for node_id: it must be at least 0".to_owned())
    );
}

#[test]
fn a_variable_is_refused_only_if_it_is_a_likely_slip() {
    // What Kubernetes sets for a service called thalweg.
    let kubernetes =
        [("THALWEG_PORT", "tcp://10.0.0.1:9092"), ("THALWEG_SERVICE_HOST", "10.0.0.1")];
    assert_eq!(layered("", &kubernetes, &[]).expect("ignored").entries.len(), 0);
    assert_eq!(
        layered("", &[("THALWEG_LISTN", "127.0.0.1:1")], &[]),
        Err("environment variable THALWEG_LISTN: there is no setting 'THALWEG_LISTN'; did you mean \
             'THALWEG_LISTEN'?"
            .to_owned())
    );
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (content, part) in [
        ("listen = \"0.0.0.0:9092\"", "say with advertise"),
        ("admin_listen = \"127.0.0.1:9092\"", "both 127.0.0.1:9092"),
        ("[limits]\nrequest_memory_bytes = \"1MiB\"", "could never be read"),
        (
            "[kafka]\ngroup.consumer.session.timeout.ms = \"1s\"",
            "group.consumer.min.session.timeout.ms (45000)",
        ),
        (
            "[kafka]\ngroup.consumer.heartbeat.interval.ms = \"20s\"",
            "group.consumer.max.heartbeat.interval.ms (15000)",
        ),
        (
            "[kafka]\ngroup.consumer.assignment.interval.ms = \"1m\"",
            "group.consumer.max.assignment.interval.ms (15000)",
        ),
        (
            "[kafka]\ngroup.consumer.max.heartbeat.interval.ms = \"1m\"\n\
             group.consumer.heartbeat.interval.ms = \"45s\"",
            "is not less than group.consumer.session.timeout.ms (45000)",
        ),
        (
            "[kafka]\nlog.cleaner.min.compaction.lag.ms = 9\nlog.cleaner.max.compaction.lag.ms = 8",
            "(9) is more than",
        ),
    ] {
        let error = from_file(content).expect_err(content);
        assert!(error.contains(part), "{error}");
    }
    from_file("listen = \"0.0.0.0:9092\"\nadvertise = \"here:9092\"").expect("advertised");
}

#[test]
fn clients_are_told_the_port_really_bound() {
    let bound = "127.0.0.1:4711".parse().expect("an address");
    let told = |content: &str| from_file(content).expect(content).advertised(bound).to_string();
    assert_eq!(told("listen = \"localhost:0\""), "127.0.0.1:4711");
    assert_eq!(told("advertise = \"broker.example:0\""), "broker.example:4711");
    assert_eq!(told("advertise = \"broker.example:19092\""), "broker.example:19092");
}

#[test]
fn every_value_shown_reads_back_the_same() {
    let config = BrokerConfig::default();
    for key in KEYS {
        let mut copy = config.clone();
        let text = (key.show)(&config);
        (key.apply)(&mut copy, &text).unwrap_or_else(|why| panic!("{} = {text}: {why}", key.name));
        assert_eq!(copy, config, "{}", key.name);
    }
}

#[test]
fn no_name_is_in_both_tables_and_no_two_share_a_variable() {
    let own = KEYS.iter().map(|key| (key.name, key.variable()));
    let kafka = BROKER_SETTINGS
        .iter()
        .map(|setting| (setting.name, keys::variable(&format!("kafka.{}", setting.name))));
    let mut seen = std::collections::BTreeSet::new();
    for (name, variable) in own.chain(kafka) {
        assert!(seen.insert(name.to_owned()) && seen.insert(variable), "{name}");
    }
    for mirror in mirrors::MIRRORS {
        assert!(keys::find(mirror.key).is_some(), "{}", mirror.name);
        assert!(!seen.contains(mirror.name), "{}", mirror.name);
    }
}

#[test]
fn every_flag_sets_its_key() {
    let args = [
        "--data-dir=/d",
        "--listen=127.0.0.1:1",
        "--advertise=a:1",
        "--admin-listen=off",
        "--node-id=7",
        "--rack=north",
        "--seeds=a:9,b:9",
        "--node-listen=127.0.0.1:9",
        "--node-advertise=a:9",
        "--shards=3",
        "--disk=std",
        "--log-format=json",
        "--log-filter=debug",
    ];
    let config = layered("", &[], &args).expect("valid");
    assert_eq!(config.entries.len(), args.len());
    let joining = layered("", &[], &["--join=a:9"]).expect("valid");
    for config in [config, joining] {
        for (key, entry) in &config.entries {
            let key = keys::find(key).expect("one of our own");
            assert_eq!((key.show)(&config), entry.text);
        }
    }
}

#[test]
fn the_help_of_every_flag_tells_its_default() {
    use clap::CommandFactory;
    let command = Serve::command();
    let defaults = BrokerConfig::default();
    for (flag, key) in [
        ("data_dir", "data_dir"),
        ("listen", "listen"),
        ("admin_listen", "admin_listen"),
        ("node_id", "node_id"),
        ("shards", "shards"),
        ("disk", "disk"),
        ("log_format", "log.format"),
        ("log_filter", "log.filter"),
    ] {
        let argument = command.get_arguments().find(|argument| argument.get_id() == flag);
        let help = argument.and_then(|argument| argument.get_help()).expect(flag).to_string();
        let default = (keys::find(key).expect(key).show)(&defaults);
        assert!(help.contains(&format!("[default: {default}]")), "{flag}: {help}");
    }
}

proptest::proptest! {
    /// Whatever is written anywhere, the answer is a configuration or an error; and a value
    /// that was taken is shown in a way that is taken again.
    #[test]
    fn any_text_is_taken_or_refused(index in 0..KEYS.len(), text in "[-+0-9a-zA-Z:.,=/ ]{0,20}") {
        let key = KEYS.get(index).expect("in range");
        let mut config = BrokerConfig::default();
        if (key.apply)(&mut config, &text).is_ok() {
            let mut copy = config.clone();
            let shown = (key.show)(&config);
            proptest::prop_assert_eq!((key.apply)(&mut copy, &shown), Ok(()), "{}", shown);
            proptest::prop_assert_eq!(copy, config);
        }
    }

    #[test]
    fn any_file_is_taken_or_refused(content in "(\\PC{0,12}[\\[\\]=\"'.\n]){0,12}") {
        let _ = from_file(&content);
    }

    #[test]
    fn a_value_of_kafkas_is_kept_as_it_is_once_it_is_canonical(
        index in 0..BROKER_SETTINGS.len(),
        text in "[-+0-9a-zA-Z:.,* ]{0,20}",
    ) {
        let setting = BROKER_SETTINGS.get(index).expect("in range");
        if let Ok(canonical) = setting.kind.canonical(&text) {
            let again = setting.kind.canonical(&canonical);
            proptest::prop_assert_eq!(again.as_deref(), Ok(canonical.as_str()));
        }
    }
}

#[test]
fn the_example_file_is_up_to_date_and_means_what_the_defaults_mean() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/thalweg.toml");
    if std::env::var_os("THALWEG_WRITE_DOCS").is_some() {
        std::fs::write(&path, example()).expect("the docs are writable");
    }
    let written = std::fs::read_to_string(&path).expect("docs/operations/thalweg.toml is there");
    assert!(
        written == example(),
        "docs/operations/thalweg.toml is stale: run this test with THALWEG_WRITE_DOCS=1"
    );

    let uncommented: String = written
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = from_file(&uncommented).expect("the example is valid");
    let with_default = BROKER_SETTINGS.iter().filter(|setting| setting.default.is_some()).count();
    assert_eq!(config.entries.len(), KEYS.len() + with_default, "every setting is in it");
    for key in KEYS {
        assert_eq!((key.show)(&config), (key.show)(&BrokerConfig::default()), "{}", key.name);
    }
    for setting in BROKER_SETTINGS {
        let value = config.kafka.get(setting.name).map(|(value, _)| value);
        assert_eq!(value, setting.default, "{}", setting.name);
    }
}

#[test]
fn a_reload_applies_what_it_can_and_reports_the_rest() {
    let before = "data_dir = \"/a\"\n[limits]\nframe_stall_ms = 10\n[kafka]\nnum.partitions = 2\n";
    let running = layered(before, &[], &["--log-filter", "debug"]).expect("valid");
    let running = running.with_dynamic(
        &[("message.max.bytes".to_owned(), "5000".to_owned())].into(),
        &std::collections::BTreeMap::new(),
    );
    let after = "data_dir = \"/b\"\n[log]\nfilter = \"warn\"\n[limits]\nframe_stall_ms = 20\n\
                 [kafka]\nmax.incremental.fetch.session.cache.slots = 5\n";
    let reload = running.reloaded(file(), after).expect("valid");
    assert_eq!(reload.changed, ["limits.frame_stall_ms", "num.partitions"]);
    let restart = ["data_dir", "max.incremental.fetch.session.cache.slots"];
    assert_eq!(reload.needs_restart, restart);
    let config = reload.config;
    assert_eq!(config.limits.frame_stall_ms, 20);
    assert_eq!(config.kafka.fetch_sessions_max, 1000);
    assert_eq!(config.kafka.num_partitions, 1, "what the file no longer sets is a default again");
    assert_eq!(config.log.filter, "debug", "a flag beats the file in a reload too");
    assert_eq!(config.data_dir, Path::new("/a"), "what is running is what is described");
    assert_eq!(config.entries.get("data_dir"), running.entries.get("data_dir"));
    let dynamic = Some(("5000", ConfigSource::DynamicDefaultBroker));
    assert_eq!(config.kafka.get("message.max.bytes"), dynamic);

    let again = config.reloaded(file(), after).expect("valid");
    assert_eq!((again.changed.len(), again.needs_restart), (0, restart.to_vec()));
    assert!(config.reloaded(file(), "listen = 1").is_err());
}

#[test]
fn a_reload_reads_the_file_and_says_if_it_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("thalweg.toml");
    std::fs::write(&path, "[log]\nfilter = \"warn\"\n").expect("written");
    let config = load(&flags(&["--config", path.to_str().expect("UTF-8")])).expect("valid");
    assert_eq!(config.log.filter, "warn");
    std::fs::write(&path, "[log]\nfilter = \"error\"\n").expect("written");
    let reload = super::reload(&config, &path).expect("valid");
    assert_eq!((reload.changed, reload.config.log.filter.as_str()), (vec!["log.filter"], "error"));
    std::fs::remove_file(&path).expect("removed");
    let error = super::reload(&config, &path).expect_err("gone").to_string();
    assert!(error.starts_with("cannot read the configuration file"), "{error}");
}
