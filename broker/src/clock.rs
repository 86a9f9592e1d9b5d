//! Wall-clock time, the one place that reads it.
//!
//! Timers and latencies use `tokio::time`, which a simulation can pause. What is written into
//! records, retention and producer expiry need the time of day, and get it from here.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as Kafka's timestamps count.
#[expect(clippy::disallowed_methods, reason = "this is the owner of the wall clock")]
fn system_now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// The broker's source of the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now_ms: fn() -> i64,
}

impl Clock {
    /// The machine's clock.
    pub(crate) fn system() -> Clock {
        Clock { now_ms: system_now_ms }
    }

    /// A clock that a simulation sets.
    pub(crate) fn simulated(now_ms: fn() -> i64) -> Clock {
        Clock { now_ms }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }
}
