//! What a benchmark says: figures for programs, and tables of them for people.

use serde::Serialize;
use tokio::time::Instant;

use super::cpu::CpuTime;
use super::tally::Tally;
use crate::cli::output::{size, table};

/// How much was written or read, how fast, how late, and for what CPU time of this process.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) connections: usize,
    #[serde(flatten)]
    pub(super) rate: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_ms: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_seconds: Option<CpuTime>,
}

/// How much in what time.
#[derive(Serialize)]
pub(super) struct Rate {
    records: u64,
    bytes: u64,
    seconds: f64,
    pub(super) records_per_second: f64,
    pub(super) bytes_per_second: f64,
}

/// From when a record was due to when its acknowledgement was seen, in milliseconds.
#[derive(Serialize)]
pub(super) struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Rate {
    pub(super) fn until(tally: &Tally, end: Instant) -> Self {
        let seconds = end.saturating_duration_since(tally.began).as_secs_f64().max(1e-6);
        Rate {
            records: tally.records,
            bytes: tally.bytes,
            seconds,
            records_per_second: tally.records as f64 / seconds,
            bytes_per_second: tally.bytes as f64 / seconds,
        }
    }

    /// `2,000,000 records, 1.9 GiB, in 3.20 s`.
    pub(super) fn sentence(&self) -> String {
        let Rate { records, bytes, seconds, .. } = *self;
        format!("{} records, {}, in {seconds:.2} s", grouped(records), size(bytes))
    }
}

impl Latency {
    /// None if no latency was measured.
    pub(super) fn of(tally: &Tally) -> Option<Self> {
        let latencies = &tally.latencies;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        (!latencies.is_empty()).then(|| Latency {
            mean: latencies.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: latencies.max() as f64 / 1000.0,
        })
    }
}

impl Report {
    pub(super) fn new(
        connections: usize,
        tally: &Tally,
        end: Instant,
        cpu_after: Option<CpuTime>,
    ) -> Self {
        let cpu = tally.cpu_before.zip(cpu_after).map(|(before, after)| after.since(before));
        Report {
            connections,
            rate: Rate::until(tally, end),
            latency_ms: Latency::of(tally),
            cpu_seconds: cpu,
        }
    }

    pub(super) fn for_people(&self) -> String {
        let cpu = |of: fn(&CpuTime) -> f64| {
            self.cpu_seconds.map_or_else(|| "-".to_owned(), |cpu| format!("{:.2} s", of(&cpu)))
        };
        let figures = [
            grouped(self.rate.records_per_second as u64),
            format!("{}/s", size(self.rate.bytes_per_second as u64)),
            cpu(|it| it.user),
            cpu(|it| it.system),
        ];
        let mut text = format!("{}, {}\n\n", self.rate.sentence(), over(self.connections));
        text += &table([">RECORDS/S", ">BYTES", ">CLIENT USER", ">CLIENT SYSTEM"], [figures]);
        if let Some(latency) = &self.latency_ms {
            text += "\n";
            text += &latencies([("acknowledged", latency)]);
        }
        text
    }
}

/// A row of latencies for each name.
pub(super) fn latencies<'a>(rows: impl IntoIterator<Item = (&'a str, &'a Latency)>) -> String {
    let rows = rows.into_iter().map(|(name, latency)| {
        let Latency { mean, p50, p90, p99, p999, max } = latency;
        let ms = |value: &f64| format!("{value:.2}");
        [name.to_owned(), ms(mean), ms(p50), ms(p90), ms(p99), ms(p999), ms(max)]
    });
    table(["LATENCY, MS", ">MEAN", ">P50", ">P90", ">P99", ">P99.9", ">MAX"], rows)
}

fn over(connections: usize) -> String {
    match connections {
        1 => "one client".to_owned(),
        _ => format!("{} clients", grouped(connections as u64)),
    }
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped() {
        let shown = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
