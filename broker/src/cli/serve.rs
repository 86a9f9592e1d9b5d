//! `thalweg serve`: a broker in this process, from its configuration to its last flush.
//!
//! Signals decide how it goes on: SIGTERM and SIGINT stop it cleanly, a second one at once, and
//! SIGHUP reads the configuration file again.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use super::failure::{Exit, Failure};
use super::file_limit;
use super::output::{Output, Printer};
use crate::broker::Broker;
use crate::config::{self, BrokerConfig, LogFormat, LogOutput, ServeFlags};

pub(super) fn run(flags: &ServeFlags, printer: &mut Printer) -> Result<(), Failure> {
    let started = Instant::now();
    let config = config::load(flags).map_err(Box::new)?;
    let log_filter = log_to_stderr(&config.log)?;
    match file_limit::raise() {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
    }
    let data_dir =
        std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let shards = config.shard_count();
    let broker = Broker::start(config).map_err(Box::new)?;
    let broken = |source| Failure::io("cannot wait for signals", source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(broken)?;
    // Before the announcement: whoever reads it may send a signal at once.
    let signals = runtime.block_on(async { Signals::listen() }).map_err(broken)?;
    announce(&broker, &data_dir, shards, started.elapsed(), printer)?;
    let reload = |broker: &Broker| reload(broker, flags.config.as_deref(), &log_filter);
    runtime.block_on(until_told_to_stop(broker, signals, reload))
}

/// Changes what is logged from now on.
type SetLogFilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error>>;

fn log_to_stderr(log: &LogOutput) -> Result<SetLogFilter, Failure> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::Usage(format!("log.filter '{}' cannot be read: {error}", log.filter))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would complain on stderr that stderr cannot be written to, and panic: a log on a full
        // disk must not end the broker.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let (installed, set): (_, SetLogFilter) = match log.format {
        LogFormat::Text => {
            let subscriber = subscriber.with_filter_reloading();
            let handle = subscriber.reload_handle();
            (subscriber.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let subscriber = subscriber.json().flatten_event(true).with_filter_reloading();
            let handle = subscriber.reload_handle();
            (subscriber.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
    };
    installed.map_err(|error| Failure::Failed(format!("cannot begin to log: {error}")))?;
    Ok(set)
}

#[derive(serde::Serialize)]
struct Announcement<'a> {
    clients: String,
    advertised: String,
    admin: Option<String>,
    node: Option<&'a str>,
    data_dir: &'a Path,
    cluster_id: &'a str,
    disk: &'a str,
    shards: usize,
    start_ms: u128,
}

fn announce(
    broker: &Broker,
    data_dir: &Path,
    shards: usize,
    took: Duration,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let announcement = Announcement {
        clients: broker.address().to_string(),
        advertised: broker.advertised(),
        admin: broker.admin_address().map(|address| address.to_string()),
        node: broker.node_address(),
        data_dir,
        cluster_id: broker.cluster_id(),
        disk: broker.disk(),
        shards,
        start_ms: took.as_millis(),
    };
    let announced = match printer.output {
        // One line, so that a program that starts a broker has read it all when the line ends.
        Output::Json => serde_json::to_writer(&mut *printer, &announcement)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(printer)),
        Output::Table => writeln!(printer, "{}", for_people(&announcement)),
    };
    let announced = announced.and_then(|()| printer.flush());
    // A broker whose starter does not listen serves all the same.
    if let Err(error) = announced {
        tracing::debug!(%error, "nobody reads stdout");
    }
    Ok(())
}

fn for_people(it: &Announcement<'_>) -> String {
    let advertised = if it.advertised == it.clients {
        String::new()
    } else {
        format!(", told to use {}", it.advertised)
    };
    let admin = match &it.admin {
        Some(address) => format!("http://{address}/metrics, /healthz, /readyz"),
        None => "off".to_owned(),
    };
    let node = it.node.map(|address| format!("\n  brokers    {address}")).unwrap_or_default();
    let plural = if it.shards == 1 { "" } else { "s" };
    let brokers = match it.clients.as_str() {
        "127.0.0.1:9092" => String::new(),
        _ => format!(" -b {}", it.advertised),
    };
    format!(
        "thalweg {} is ready after {} ms\n\
         \n  clients    {}{advertised}\
         \n  operators  {admin}{node}\
         \n  data       {}\
         \n  cluster    {}\
         \n  threads    {} shard{plural}, disk through {}\n\
         \nTry: thalweg topic create demo{brokers}\
         \nStop with Ctrl-C or SIGTERM.",
        env!("CARGO_PKG_VERSION"),
        it.start_ms,
        it.clients,
        it.data_dir.display(),
        it.cluster_id,
        it.shards,
        it.disk,
    )
}

/// What operators send, from now on: before this the signals end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Told {
    Stop,
    Reload,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// SIGTERM or SIGINT; it is too late to reload anything.
    async fn stop(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}

async fn until_told_to_stop(
    broker: Broker,
    mut signals: Signals,
    reload: impl Fn(&Broker),
) -> Result<(), Failure> {
    while let Told::Reload = signals.next().await {
        reload(&broker);
    }
    tracing::info!("stopping; a second signal ends the process at once");
    #[expect(clippy::disallowed_methods, reason = "this thread is no shard")]
    let stopping = tokio::task::spawn_blocking(move || broker.stop());
    tokio::select! {
        stopped = stopping => stopped
            .map_err(|_panicked| Failure::Failed("the broker did not stop cleanly".into()))?,
        () = signals.stop() => {
            tracing::warn!("ended without waiting");
            std::process::exit(Exit::Interrupted as i32)
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn reload(broker: &Broker, file: Option<&Path>, log_filter: &SetLogFilter) {
    let Some(file) = file else {
        tracing::warn!("SIGHUP: there is no configuration file to read again (--config FILE)");
        return;
    };
    let running: &BrokerConfig = &broker.config();
    match config::reload(running, file) {
        Err(error) => tracing::error!(%error, "SIGHUP: the configuration stays as it is"),
        Ok(reload) => {
            if reload.changed.is_empty() && reload.needs_restart.is_empty() {
                tracing::info!(file = %file.display(), "SIGHUP: nothing has changed");
            }
            for name in &reload.changed {
                tracing::info!(name, "SIGHUP: setting changed");
            }
            for name in &reload.needs_restart {
                tracing::warn!(name, "SIGHUP: setting will count after a restart");
            }
            // The filter was read when the file was: it cannot be refused here.
            let filter = EnvFilter::try_new(&reload.config.log.filter).ok();
            if let Some(Err(error)) = filter.map(log_filter) {
                tracing::error!(%error, "SIGHUP: what is logged stays as it is");
            }
            broker.reconfigure(reload.config);
        }
    }
}
