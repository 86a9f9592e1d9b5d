//! Metrics as they were read, and their way into the text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::Snapshot;

/// Metrics as they were read, before they are written.
#[derive(Debug, Default)]
pub(super) struct Page {
    metrics: Vec<Metric>,
}

#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<Sample>,
}

/// Names and values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One series and its value.
#[derive(Debug)]
pub(super) struct Sample {
    labels: Labels,
    value: Value,
}

/// A number and how it is written.
#[derive(Debug)]
pub(super) enum Value {
    Counter(u64),
    CounterSeconds(f64),
    Gauge(i64),
    GaugeSeconds(f64),
    Histogram(Box<Snapshot>),
}

impl Page {
    /// The page, in the OpenMetrics text format.
    pub(super) fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(16 << 10);
        text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }

    /// Adds a counter without labels.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        let samples = vec![sample(Labels::new(), Value::Counter(value))];
        self.push(name, help, MetricType::Counter, samples);
    }

    /// Adds a gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        let value = Value::Gauge(value.try_into().unwrap_or(i64::MAX));
        self.push(name, help, MetricType::Gauge, vec![sample(Labels::new(), value)]);
    }

    /// Adds a metric.
    pub(super) fn push(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        samples: Vec<Sample>,
    ) {
        self.metrics.push(Metric { name, help, kind, samples });
    }
}

/// A series and its value.
pub(super) fn sample(labels: Labels, value: Value) -> Sample {
    Sample { labels, value }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.metrics {
            let mut encoder =
                encoder.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
            for sample in &metric.samples {
                let labels = sample.labels.as_slice();
                // An empty set of labels would be written as `{}`.
                if labels.is_empty() {
                    sample.value.encode(&mut encoder)?;
                } else {
                    sample.value.encode(&mut encoder.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(n) => encoder.encode_counter::<NoLabelSet, _, u64>(n, None),
            Self::CounterSeconds(n) => encoder.encode_counter::<NoLabelSet, _, f64>(n, None),
            Self::Gauge(n) => encoder.encode_gauge(n),
            Self::GaugeSeconds(n) => encoder.encode_gauge(n),
            Self::Histogram(snapshot) => encoder.encode_histogram::<NoLabelSet>(
                snapshot.sum_seconds(),
                snapshot.count(),
                &snapshot.buckets(),
                None,
            ),
        }
    }
}
