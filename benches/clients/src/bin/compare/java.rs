//! Loads through Java's own clients, by the performance tools that come with Kafka. Each run is a
//! JVM that has compiled nothing yet, for every broker alike.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::load::{Done, Load};

/// What Java's producer is given, to match librdkafka's ([`crate::librdkafka`]).
pub(crate) const PRODUCER_SETTINGS: [(&str, &str); 3] =
    [("acks", "all"), ("enable.idempotence", "false"), ("buffer.memory", "67108864")];

/// In a line of `ConsumerPerformance`, counted from 0, with `--hide-header`.
const FETCHED_RECORDS_PER_SECOND: usize = 9;

/// Where the tools are.
#[derive(Debug)]
pub(crate) struct JavaTools {
    class_path: String,
}

impl JavaTools {
    pub(crate) fn new(class_path: &str) -> Self {
        JavaTools { class_path: class_path.to_owned() }
    }

    /// Writes so many records as fast as it can.
    pub(crate) fn produce(&self, load: &Load<'_>, records: u64) -> Result<Done> {
        let mut command = self.command("org.apache.kafka.tools.ProducerPerformance");
        command.args(["--bootstrap-server", load.bootstrap, "--topic", load.topic]);
        command.args(["--num-records", &records.to_string(), "--throughput", "-1"]);
        command.args(["--record-size", &load.record_bytes.to_string(), "--command-property"]);
        command.args(PRODUCER_SETTINGS.map(|(key, value)| format!("{key}={value}")));
        let said = output(&mut command)?;
        let rate = produced_per_second(&said, records);
        let rate = rate.with_context(|| format!("the producer tool said {said:?}"))?;
        Ok(Done { records, time: Duration::from_secs_f64(records as f64 / rate) })
    }

    /// Reads so many records from the beginning; joining its group is not counted.
    pub(crate) fn consume(&self, load: &Load<'_>, records: u64) -> Result<Done> {
        let mut command = self.command("org.apache.kafka.tools.ConsumerPerformance");
        command.args(["--bootstrap-server", load.bootstrap, "--topic", load.topic]);
        command.args(["--num-records", &records.to_string(), "--hide-header"]);
        let said = output(&mut command)?;
        let rate = fetched_per_second(&said);
        let rate = rate.with_context(|| format!("the consumer tool said {said:?}"))?;
        Ok(Done { records, time: Duration::from_secs_f64(records as f64 / rate) })
    }

    fn command(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx512M"]);
        command.args(["-cp", &self.class_path, class]);
        command
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot run java")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a Java tool failed: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// From the last line, which is about all of them:
/// `1000 records sent, 3906.2 records/sec (3.81 MB/sec), 61.40 ms avg latency, …`.
fn produced_per_second(said: &str, records: u64) -> Option<f64> {
    let (_, rest) = said.lines().last()?.split_once(&format!("{records} records sent, "))?;
    positive(rest.split_once(" records/sec")?.0)
}

fn fetched_per_second(said: &str) -> Option<f64> {
    positive(said.lines().last()?.split(", ").nth(FETCHED_RECORDS_PER_SECOND)?)
}

fn positive(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number| *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_about_all_records_is_the_one_that_counts() {
        let said = "600 records sent, 9.0 records/sec (0.00 MB/sec), 1.0 ms avg latency\n\
                    1000 records sent, 3906.2 records/sec (3.81 MB/sec), 61.40 ms avg latency\n";
        assert_eq!(produced_per_second(said, 1000), Some(3906.2));
        assert_eq!(produced_per_second(said, 2000), None);
    }

    #[test]
    fn the_rate_of_fetching_is_taken_without_the_time_to_join() {
        let said = "2026-01-01 00:00:00:000, 2026-01-01 00:00:02:000, 0.95, 0.48, 1000, 500.0, \
                    1500, 500, 1.9, 2000.0\n";
        assert_eq!(fetched_per_second(said), Some(2000.0));
        assert_eq!(fetched_per_second("\n"), None);
    }
}
