//! Whether this broker lives, and whether clients should be sent to it.
//!
//! Alive is a process that answers. Ready is a broker that has recovered its partitions and is not
//! stopping. A full disk leaves it ready, because reads go on, but is told to whoever asks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use serde::Serialize;

/// What the broker is doing. Written by the broker, read by the admin server.
#[derive(Debug, Default)]
pub struct Health {
    phase: AtomicU8,
    recovered: AtomicUsize,
    partitions: AtomicUsize,
    disk_full: AtomicBool,
}

/// The stages of a broker's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading its configuration, opening its files.
    Starting,
    /// Checking what the last run left.
    Recovering {
        /// Partitions checked.
        recovered: usize,
        /// Partitions to check.
        partitions: usize,
    },
    /// Serving.
    Serving,
    /// Answering what it has begun, taking nothing new.
    Draining,
}

const STARTING: u8 = 0;
const RECOVERING: u8 = 1;
const SERVING: u8 = 2;
const DRAINING: u8 = 3;

/// What `/healthz` and `/readyz` say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether clients should be sent here.
    pub ready: bool,
    /// What the broker is doing, in one word.
    pub phase: &'static str,
    /// Why it is not ready; empty if it is.
    pub reasons: Vec<String>,
    /// What an operator should know although it keeps nobody from being served.
    pub warnings: Vec<String>,
}

impl Health {
    /// A broker that has just been started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Recovery of `partitions` partitions begins.
    pub fn begin_recovery(&self, partitions: usize) {
        self.recovered.store(0, Ordering::Relaxed);
        self.partitions.store(partitions, Ordering::Relaxed);
        self.phase.store(RECOVERING, Ordering::Release);
    }

    /// One more partition is recovered.
    pub fn on_partition_recovered(&self) {
        self.recovered.fetch_add(1, Ordering::Relaxed);
    }

    /// The broker serves. Not after it has begun to drain: stopping wins a race with starting.
    pub fn begin_serving(&self) {
        let _ = self.phase.try_update(Ordering::AcqRel, Ordering::Acquire, |phase| {
            (phase < DRAINING).then_some(SERVING)
        });
    }

    /// The broker stops.
    pub fn begin_draining(&self) {
        self.phase.store(DRAINING, Ordering::Release);
    }

    /// Whether writes are refused for want of disk space.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }

    /// What the broker is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            STARTING => Phase::Starting,
            RECOVERING => Phase::Recovering {
                recovered: self.recovered.load(Ordering::Relaxed),
                partitions: self.partitions.load(Ordering::Relaxed),
            },
            SERVING => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// What to tell whoever asks.
    pub fn report(&self) -> HealthReport {
        let phase = self.phase();
        let ready = phase == Phase::Serving;
        let mut warnings = Vec::new();
        if self.disk_full.load(Ordering::Relaxed) {
            warnings.push("disk full: writes are refused until there is space again".to_owned());
        }
        HealthReport {
            ready,
            phase: phase.name(),
            reasons: if ready { Vec::new() } else { vec![phase.to_string()] },
            warnings,
        }
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering { .. } => "recovering",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Self::Recovering { recovered, partitions } = self {
            write!(f, " {recovered}/{partitions} partitions")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_ready_only_between_recovery_and_drain() {
        let health = Health::new();
        assert_eq!(health.report().reasons, ["starting"]);
        health.begin_recovery(3);
        health.on_partition_recovered();
        assert_eq!(health.report().reasons, ["recovering 1/3 partitions"]);
        health.begin_serving();
        assert!(health.report().ready);
        health.begin_draining();
        health.begin_serving();
        assert_eq!(health.phase(), Phase::Draining, "a late start does not undo a stop");
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_the_broker_ready() {
        let health = Health::new();
        health.begin_serving();
        health.set_disk_full(true);
        let report = health.report();
        assert!(report.ready && report.reasons.is_empty());
        assert_eq!(report.warnings.len(), 1);
        health.set_disk_full(false);
        assert!(health.report().warnings.is_empty());
    }
}
