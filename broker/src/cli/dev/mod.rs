//! `thalweg dev`: a whole cluster on this machine, for as long as the command runs.
//!
//! Every broker is this binary's own `serve` in a process of its own, so what is tried here is what
//! runs elsewhere. One that ends by itself ends all: a cluster that quietly lacks a broker would
//! mislead whoever tries something with it.

mod child;
mod layout;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Instant;

use self::child::{BrokerProcess, Event};
use self::layout::{Layout, Ports};
use super::failure::Failure;
use super::output::{Output, Printer, counted};

/// Lines that wait to be printed.
const EVENTS_MAX: usize = 1024;

/// Run a cluster of several brokers on this machine, until SIGTERM or Ctrl-C.
///
/// Each broker is a process of its own, and what it logs begins with its id. When all are ready,
/// their addresses are printed. If one of them ends, all do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    thalweg dev                                     three brokers on free ports, nothing kept\n  \
    thalweg dev --base-port 9092 --dir ./cluster    clients at 9092, 9093 and 9094, data kept")]
pub(super) struct DevArgs {
    /// How many brokers.
    #[arg(long, value_name = "COUNT", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,

    /// The first broker's port for clients; the next broker has the next [default: free ports].
    ///
    /// The ports for other brokers are 100 higher, those for operators 200. A directory that is
    /// used again keeps its ports.
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,

    /// Where to keep data [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Any setting, for every broker, as often as needed.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(args: &DevArgs, printer: &mut Printer) -> Result<(), Failure> {
    let started = Instant::now();
    let layout = Layout::prepare(args.dir.as_deref(), args.nodes, args.base_port)?;
    let broken = |source| Failure::io("cannot start the brokers", source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(broken)?.block_on(async {
        let signals = Signals::listen().map_err(broken)?;
        let (events, happening) = mpsc::channel(EVENTS_MAX);
        let mut brokers = Vec::new();
        for (index, ports) in layout.brokers.iter().enumerate() {
            let command = serve(args, &layout, index, ports).map_err(broken)?;
            let process = BrokerProcess::spawn(command, index, &events).map_err(broken)?;
            brokers.push(Broker { process, ready: None });
        }
        drop(events);
        Cluster { layout: &layout, brokers, started, failed: None }
            .run(happening, signals, printer)
            .await
    })
}

/// How the broker `index` is started.
fn serve(args: &DevArgs, layout: &Layout, index: usize, ports: &Ports) -> std::io::Result<Command> {
    let id = (index + 1).to_string();
    let local = |port: u16| format!("127.0.0.1:{port}");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "-o", "json", "--node-id", &id, "--seeds", &layout.seeds()]);
    command.args(["--listen", &local(ports.clients), "--node-listen", &local(ports.node)]);
    command.args(["--admin-listen", &local(ports.admin)]);
    command.arg("--data-dir").arg(layout.dir.join(&id));
    // All brokers share the machine; whoever wants more threads says so.
    command.args(["--set", "shards=1"]);
    for setting in &args.set {
        command.args(["--set", setting]);
    }
    Ok(command)
}

/// What a broker announces when it is ready, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Ready {
    clients: String,
    admin: Option<String>,
    cluster_id: String,
}

struct Broker {
    process: BrokerProcess,
    ready: Option<Ready>,
}

struct Cluster<'a> {
    layout: &'a Layout,
    brokers: Vec<Broker>,
    started: Instant,
    /// The first broker that ended by itself, and why.
    failed: Option<String>,
}

impl Cluster<'_> {
    async fn run(
        mut self,
        mut happening: Receiver<Event>,
        mut signals: Signals,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let mut is_stopping = false;
        loop {
            let event = tokio::select! {
                event = happening.recv() => event,
                () = signals.next() => {
                    if is_stopping {
                        // Dropping them kills them.
                        drop(self);
                        return Err(Failure::Interrupted);
                    }
                    eprintln!("stopping all brokers; a second signal ends them at once");
                    is_stopping = true;
                    self.terminate();
                    continue;
                }
            };
            // All pipes are closed and everybody is gone.
            let Some(event) = event else { break };
            if let Some((index, status)) = self.on_event(event, printer)?
                && !is_stopping
            {
                is_stopping = true;
                self.failed = Some(self.why_ended(index, status));
                self.terminate();
            }
        }
        self.failed.map_or(Ok(()), |why| Err(Failure::Failed(why)))
    }

    /// Takes note of what a broker did; returns which has ended and how, if one has.
    fn on_event(
        &mut self,
        event: Event,
        printer: &mut Printer,
    ) -> Result<Option<(usize, ExitStatus)>, Failure> {
        let (Event::Said(index, _) | Event::Logged(index, _) | Event::Closed(index)) = event;
        let Some(broker) = self.brokers.get_mut(index) else { return Ok(None) };
        match event {
            Event::Logged(_, line) => {
                eprintln!("[{}] {line}", index + 1);
                broker.process.last_logged = line;
            }
            Event::Said(_, line) => match serde_json::from_str(&line) {
                Ok(ready) => {
                    broker.ready = Some(ready);
                    self.maybe_announce(printer)?;
                }
                Err(_not_an_announcement) => eprintln!("[{}] {line}", index + 1),
            },
            Event::Closed(_) => {
                let broken = |source| Failure::io("cannot wait for a broker", source);
                let ended = broker.process.on_closed().map_err(broken)?;
                return Ok(ended.map(|status| (index, status)));
            }
        }
        Ok(None)
    }

    fn terminate(&self) {
        for broker in &self.brokers {
            broker.process.terminate();
        }
    }

    fn why_ended(&self, index: usize, status: ExitStatus) -> String {
        let last = self.brokers.get(index).map_or("", |it| it.process.last_logged.as_str());
        let reason = last.strip_prefix("error: ").unwrap_or(last);
        let separator = if reason.is_empty() { "" } else { ": " };
        format!("broker {} ended ({status}){separator}{reason}", index + 1)
    }

    /// Tells where the cluster is, if all brokers are ready; returns whether they are.
    fn maybe_announce(&self, printer: &mut Printer) -> Result<bool, Failure> {
        let ready: Option<Vec<&Ready>> =
            self.brokers.iter().map(|broker| broker.ready.as_ref()).collect();
        let Some(ready) = ready else { return Ok(false) };
        let brokers = ready.iter().zip(&self.brokers).zip(1..).map(|((ready, broker), node)| {
            let Ready { clients, admin, .. } = ready;
            BrokerRow { node, pid: broker.process.pid(), clients, admin: admin.as_deref() }
        });
        let announcement = Announcement {
            bootstrap_servers: self.layout.bootstrap_servers(),
            cluster_id: ready.first().map_or("", |ready| &ready.cluster_id),
            data_dir: self.layout.dir.display().to_string(),
            is_temporary: self.layout.is_temporary,
            start_ms: self.started.elapsed().as_millis(),
            brokers: brokers.collect(),
        };
        let announced = match printer.output {
            Output::Json => serde_json::to_writer(&mut *printer, &announcement)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(printer)),
            Output::Table => writeln!(printer, "{}", for_people(&announcement)),
        };
        // Whoever does not listen has a cluster all the same.
        let _ = announced.and_then(|()| printer.flush());
        Ok(true)
    }
}

#[derive(Serialize)]
struct Announcement<'a> {
    bootstrap_servers: String,
    cluster_id: &'a str,
    data_dir: String,
    is_temporary: bool,
    start_ms: u128,
    brokers: Vec<BrokerRow<'a>>,
}

#[derive(Serialize)]
struct BrokerRow<'a> {
    node: i32,
    pid: u32,
    clients: &'a str,
    admin: Option<&'a str>,
}

fn for_people(it: &Announcement<'_>) -> String {
    let count = counted(it.brokers.len() as u64, "broker");
    let operators: Vec<String> = it
        .brokers
        .iter()
        .filter_map(|broker| broker.admin.map(|admin| format!("http://{admin}/metrics")))
        .collect();
    let until = if it.is_temporary { " (removed at the end; --dir DIR keeps it)" } else { "" };
    format!(
        "a cluster of {count} is ready after {} ms\n\
         \n  bootstrap servers  {}\
         \n  operators          {}\
         \n  data               {}{until}\
         \n  cluster            {}\n\
         \nTry: thalweg topic create demo -b {}\
         \nStop with Ctrl-C or SIGTERM.",
        it.start_ms,
        it.bootstrap_servers,
        operators.join(", "),
        it.data_dir,
        it.cluster_id,
        it.bootstrap_servers,
    )
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
