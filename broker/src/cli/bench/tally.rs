//! What was counted: records, bytes, latencies, and since when. Threads count for themselves and
//! their tallies are added up.

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::cpu::CpuTime;

/// What one thread, or all of them together, did.
pub(super) struct Tally {
    /// When everything was connected and the first record could go.
    pub(super) began: Instant,
    /// What this process had used by then.
    pub(super) cpu_before: Option<CpuTime>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// In microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Tally {
    pub(super) fn begin() -> Self {
        // Up to an hour, to three digits; the bounds are constants, so it cannot fail.
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds");
        let cpu_before = CpuTime::of_this_process();
        Tally { began: Instant::now(), cpu_before, records: 0, bytes: 0, latencies }
    }

    /// Counts a record that was due at `due` and is acknowledged now.
    pub(super) fn count_acknowledged(&mut self, due: Instant, bytes: usize) {
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
        self.records += 1;
        self.bytes += bytes as u64;
    }

    /// Adds what another thread counted; both began when the earlier of them did.
    pub(super) fn add(&mut self, other: &Tally) {
        if other.began < self.began {
            (self.began, self.cpu_before) = (other.began, other.cpu_before);
        }
        self.records += other.records;
        self.bytes += other.bytes;
        self.latencies += &other.latencies;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_is_as_late_as_it_was_due() {
        let mut tally = Tally::begin();
        let due = tally.began;
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
        let mut later = Tally::begin();
        later.count_acknowledged(due, 100);
        tally.add(&later);
        assert_eq!((tally.records, tally.bytes), (1, 100));
        assert!(tally.latencies.equivalent(tally.latencies.max(), 50_000));
        assert_eq!(tally.began, due);
    }
}
