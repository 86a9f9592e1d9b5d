//! When records are due. A thread that does nothing else says so, since the timers of an event loop
//! are coarse.

use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

/// Due times that are not yet met. A connection that is further behind is told them later, but they
/// stay what they are.
const DUE_AHEAD: usize = 1024;

/// Gives the times at which records are due, `seconds_each` apart and each when it has come, to so
/// many connections in turn. It ends when one of them listens no more.
pub(super) fn schedule(
    begin: Instant,
    seconds_each: f64,
    connections: usize,
) -> Vec<mpsc::Receiver<Instant>> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| mpsc::channel(DUE_AHEAD)).unzip();
    thread::spawn(move || {
        for (number, times) in (0_u64..).zip(senders.iter().cycle()) {
            let due = begin + Duration::from_secs_f64(seconds_each * number as f64);
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            if times.blocking_send(due).is_err() {
                return;
            }
        }
    });
    receivers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_are_due_in_turn_however_late_they_are_taken() {
        let begin = Instant::now();
        let mut connections = schedule(begin, 1e-3, 2);
        for number in 0..6_u32 {
            let due = connections[number as usize % 2].recv().await;
            assert_eq!(due, Some(begin + number * Duration::from_millis(1)));
        }
    }
}
