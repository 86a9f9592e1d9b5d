//! What came of it, for people and for programs: RESULTS.md with a table and a picture for each
//! scenario, SUMMARY.md with one table of all that has an aim, and JSON with every measurement.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::figures::{Aim, Outcome, Pair, value_text};
use crate::java;
use crate::librdkafka::PRODUCER_SETTINGS;
use crate::peers::{Peer, Peers};
use crate::plot;
use crate::scenarios::Scenario;
use crate::stage::Sizes;

/// A scenario that has been measured, or why it could not be.
pub(crate) struct Finished<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) pairs: Result<Vec<Pair>>,
}

impl Finished<'_> {
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let pairs = self.pairs.as_deref().unwrap_or_default();
        self.scenario.figures.iter().filter_map(|it| Outcome::of(*it, pairs)).collect()
    }
}

/// Everything that is said about a run.
pub(crate) struct Report<'a> {
    pub(crate) peers: &'a Peers,
    pub(crate) machine: &'a [String],
    /// The arguments that decide what is measured.
    pub(crate) command: &'a str,
    pub(crate) pairs: usize,
    pub(crate) sizes: Sizes,
    pub(crate) finished: &'a [Finished<'a>],
}

impl Report<'_> {
    /// Writes all files into `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let (ours, theirs) = (titled(&*self.peers.ours), titled(&*self.peers.theirs));
        for finished in self.finished {
            let outcomes = finished.outcomes();
            // Without a rival there are no ratios to draw.
            if finished.scenario.has_rival && !outcomes.is_empty() {
                let Scenario { number, title, .. } = finished.scenario;
                let title = format!("{number}. {title}");
                let picture = plot::svg(&title, (&ours, &theirs), &outcomes);
                fs::write(dir.join(picture_name(finished.scenario)), picture)?;
            }
        }
        fs::write(dir.join("RESULTS.md"), self.results())?;
        fs::write(dir.join("SUMMARY.md"), self.summary())?;
        Ok(())
    }

    fn results(&self) -> String {
        let Peers { ours, theirs, .. } = self.peers;
        let mut lines = vec![
            format!("# {} beside {}", titled(&**ours), titled(&**theirs)),
            String::new(),
            format!("Made by `compare {}`.", self.command),
            String::new(),
        ];
        lines.extend(self.machine.iter().map(|line| format!("- {line}")));
        lines.extend([String::new(), "## How to read it".to_owned(), String::new()]);
        lines.extend(self.method());
        for peer in [ours, theirs] {
            lines.extend([String::new(), format!("{}:", titled(&**peer)), String::new()]);
            lines.extend(peer.settings().iter().map(|line| format!("- {line}")));
        }
        for finished in self.finished {
            lines.push(String::new());
            lines.extend(self.scenario(finished));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn method(&self) -> Vec<String> {
        let settings: Vec<String> =
            PRODUCER_SETTINGS.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
        let java: Vec<String> =
            java::PRODUCER_SETTINGS.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let lines = [
            format!(
                "- Pairs: {}. Each measures {} and then {}, one at a time, in new data directories \
                 on the same disk. The ratio is taken within a pair; given are the median of the \
                 pairs' ratios and, in parentheses, the least and the greatest. Values are medians. \
                 Where there is no rival, the aim is for the value itself.",
                self.pairs,
                self.peers.ours.name(),
                self.peers.theirs.name()
            ),
            format!(
                "- Both are driven by the same client on the same machine, librdkafka \
                 {librdkafka} with {} and otherwise its defaults, where thalweg-client is not \
                 named. Client and broker share the cores, so a fast client takes from the broker: \
                 CPU seconds say more than throughput.",
                settings.join(" and ")
            ),
            format!(
                "- Java's clients are Kafka's own `ProducerPerformance` and `ConsumerPerformance`, \
                 in a JVM that has compiled nothing yet, with {} and otherwise their defaults.",
                java.join(" and ")
            ),
            format!(
                "- Each load goes on for {:?}, after the same load has warmed up broker and JIT \
                 for {:?}. Page cache is written and given back once before everything, and \
                 dirty pages are written back between loads.",
                self.sizes.time, self.sizes.warm_up
            ),
            "- CPU is the broker processes', from `/proc/PID/stat`, with their ended children; what \
             the kernel's own threads write back later is nobody's. Bytes to disk are \
             `write_bytes` of `/proc/PID/io`, RSS is `VmRSS` and `VmHWM`. GB and MB are powers of \
             ten, of record values."
                .to_owned(),
            "- Checked on every run: each topic has the flush setting that it should; the end \
             offsets add up to what was acknowledged; where records are to be flushed, the disk \
             was told to flush at least once for each record written alone."
                .to_owned(),
        ];
        lines.to_vec()
    }

    fn scenario(&self, finished: &Finished<'_>) -> Vec<String> {
        let Scenario { number, title, what, .. } = finished.scenario;
        let mut lines =
            vec![format!("## {number}. {title}"), String::new(), (*what).to_owned(), String::new()];
        if let Err(error) = &finished.pairs {
            lines.push(format!("Not measured: {error:#}."));
            return lines;
        }
        lines.push(self.headings("figure"));
        lines.push("|---|---:|---:|---:|---:|---|".to_owned());
        for outcome in finished.outcomes() {
            lines.push(row(outcome.figure.name, &outcome));
        }
        if finished.scenario.has_rival {
            let picture = picture_name(finished.scenario);
            lines.extend([String::new(), format!("![{title}]({picture})")]);
        }
        lines
    }

    /// One table of every figure that has an aim.
    pub(crate) fn summary(&self) -> String {
        let mut lines = vec![self.headings("scenario"), "|---|---:|---:|---:|---:|---|".to_owned()];
        for finished in self.finished {
            for outcome in finished.outcomes().iter().filter(|it| it.figure.aim.is_some()) {
                let Scenario { number, title, .. } = finished.scenario;
                lines.push(row(&format!("{number}. {title}: {}", outcome.figure.name), outcome));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn headings(&self, first: &str) -> String {
        let (ours, theirs) = (titled(&*self.peers.ours), titled(&*self.peers.theirs));
        format!("| {first} | {ours} | {theirs} | ratio | aim | met |")
    }

    /// Every measurement.
    pub(crate) fn json(&self) -> Value {
        let scenarios = self.finished.iter().map(|finished| {
            let pairs = match &finished.pairs {
                Ok(pairs) => pairs
                    .iter()
                    .map(|pair| json!({ "ours": pair.ours, "theirs": pair.theirs }))
                    .collect::<Value>(),
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            let outcomes = finished.outcomes();
            let outcomes = outcomes.iter().map(|outcome| {
                json!({
                    "key": outcome.figure.key,
                    "name": outcome.figure.name,
                    "ours": outcome.ours,
                    "theirs": outcome.theirs,
                    "judged": outcome.judged(),
                    "of_pairs": outcome.judged,
                    "aim": outcome.figure.aim.map(Aim::text),
                    "met": outcome.is_met(),
                })
            });
            json!({
                "number": finished.scenario.number,
                "title": finished.scenario.title,
                "figures": outcomes.collect::<Value>(),
                "pairs": pairs,
            })
        });
        json!({
            "machine": self.machine,
            "ours": { "name": self.peers.ours.name(), "version": self.peers.ours.version(),
                      "settings": self.peers.ours.settings() },
            "theirs": { "name": self.peers.theirs.name(), "version": self.peers.theirs.version(),
                        "settings": self.peers.theirs.settings() },
            "scenarios": scenarios.collect::<Value>(),
        })
    }
}

fn titled(peer: &dyn Peer) -> String {
    format!("{} {}", peer.name(), peer.version())
}

fn picture_name(scenario: &Scenario) -> String {
    format!("scenario-{}.svg", scenario.number)
}

fn row(name: &str, outcome: &Outcome) -> String {
    format!(
        "| {name} | {} | {} | {} | {} | {} |",
        value_text(outcome.ours),
        outcome.theirs.map(value_text).unwrap_or_default(),
        outcome.judged_text(),
        outcome.figure.aim.map(Aim::text).unwrap_or_default(),
        outcome.met_text(),
    )
}
