//! The command line: its commands and options, and what a process tells its caller when it ends.
//!
//! One file per group of commands. What they share is how they connect (`connect`), how they print
//! (`output`) and how they fail (`failure`). Results go to stdout and everything else to stderr,
//! so that both `| jq` and `2>/dev/null` do what people expect. Every command but `serve`,
//! `dev` and `log` works with any broker that speaks Kafka's protocol.

mod bench;
mod cluster;
mod config;
mod connect;
mod consume;
mod dev;
mod failure;
mod file_limit;
mod format;
mod group;
mod json;
mod lines;
mod log;
mod offsets;
mod output;
mod pairs;
mod position;
mod produce;
mod serve;
mod topic;
mod writing;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use failure::{Exit, Failure};
use output::{Output, Printer};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; stderr says why
  2  the command line or a value on it is wrong
  3  there is no such topic, partition, group or broker
  4  no broker can be reached
  5  a log is damaged
130  interrupted a second time while stopping

Begin with:
  thalweg serve                                start a broker here
  thalweg dev                                  or a cluster of three, to try things
  thalweg topic create demo -p 3
  echo hello | thalweg produce demo
  thalweg consume demo --offset start";

/// A message log that speaks Kafka's protocol: the broker, and tools for any Kafka broker.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, after_help = EXIT_CODES)]
struct Args {
    /// Print tables for people, or JSON for programs.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "table|json",
        hide_possible_values = true
    )]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker in this directory, until SIGTERM or Ctrl-C.
    ///
    /// Every setting can also be written in the file given by --config or in an environment
    /// variable: `listen` is THALWEG_LISTEN, `limits.maps_max` is THALWEG_LIMITS_MAPS_MAX, and
    /// Kafka's `log.retention.hours` is THALWEG_KAFKA_LOG_RETENTION_HOURS. A flag beats the
    /// environment, which beats the file. SIGHUP reads the file again.
    #[command(after_help = "Examples:\n  \
        thalweg serve                                        here, for clients on this machine\n  \
        thalweg serve --listen 0.0.0.0:9092 --advertise broker-1.example.com:9092\n  \
        thalweg serve -c /etc/thalweg.toml --data-dir /var/lib/thalweg\n  \
        thalweg serve --node-id 1 --node-listen 10.0.0.1:9192 \\\n    \
        --seeds 10.0.0.1:9192,10.0.0.2:9192,10.0.0.3:9192    one of three that form a cluster")]
    Serve(crate::config::ServeFlags),
    Dev(dev::DevArgs),
    Topic(topic::TopicArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Cluster(cluster::ClusterArgs),
    Config(config::ConfigArgs),
    Group(group::GroupArgs),
    Bench(bench::BenchArgs),
    Log(log::LogArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  source <(thalweg completions bash)")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let Args { output, command } = Args::parse();
    let mut printer = Printer::stdout(output);
    let outcome = run(command, &mut printer).and_then(|()| Ok(printer.flush()?));
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => report(&failure),
    }
}

fn run(command: Command, printer: &mut Printer) -> Result<(), Failure> {
    match command {
        Command::Serve(flags) => serve::run(&flags, printer),
        Command::Dev(args) => dev::run(&args, printer),
        Command::Topic(args) => on_runtime(topic::run(args, printer)),
        Command::Produce(args) => on_runtime(produce::run(args, printer)),
        Command::Consume(args) => on_runtime(consume::run(args, printer)),
        Command::Cluster(args) => on_runtime(cluster::run(args, printer)),
        Command::Config(args) => on_runtime(config::run(args, printer)),
        Command::Group(args) => on_runtime(group::run(args, printer)),
        Command::Bench(args) => bench::run(args, printer),
        Command::Log(args) => log::run(args, printer),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "thalweg", &mut script);
            Ok(printer.write_all(&script)?)
        }
    }
}

/// Runs a client command on this thread.
fn on_runtime<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| Failure::io("cannot start an event loop", source))?.block_on(command)
}

fn report(failure: &Failure) -> ExitCode {
    // The reader of a pipe has gone because it has seen enough: nobody is left to tell.
    if failure.is_closed_pipe() {
        return Exit::Done.into();
    }
    let mut stderr = std::io::stderr().lock();
    // If stderr is gone too, the exit code is all that can be said.
    let _ = writeln!(stderr, "error: {failure}");
    if let Some(hint) = failure.hint() {
        let _ = writeln!(stderr, "{hint}");
    }
    failure.exit().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
