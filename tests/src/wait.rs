//! Waiting for a state, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives it up. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL_EVERY: Duration = Duration::from_millis(5);

/// Asks `probe` until it has an answer.
///
/// # Panics
/// If there is none in time; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(POLL_EVERY);
    }
}
