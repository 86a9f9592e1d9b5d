//! One thread and a clock that jumps to the next timer when nothing else is left to do.

use std::future::Future;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Runs `task`, and whatever it spawns, to its end.
pub fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, task)
}
