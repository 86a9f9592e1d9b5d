//! Wall and processor time of this process between two moments.

use std::time::{Duration, Instant};

use crate::Load;

pub(crate) struct Lap {
    wall: Instant,
    user: Duration,
    system: Duration,
}

pub(crate) struct Figures {
    megabytes_per_second: f64,
    user_per_gigabyte: f64,
    system_per_gigabyte: f64,
    seconds_per_million: f64,
}

impl Lap {
    pub(crate) fn begin() -> Self {
        let (user, system) = processor_time();
        Lap { wall: Instant::now(), user, system }
    }

    pub(crate) fn end(self, load: &Load<'_>) -> Figures {
        let wall = self.wall.elapsed().as_secs_f64();
        let (user, system) = processor_time();
        let user = (user - self.user).as_secs_f64();
        let system = (system - self.system).as_secs_f64();
        let bytes = (load.count * load.value.len()) as f64;
        Figures {
            megabytes_per_second: bytes / 1e6 / wall,
            user_per_gigabyte: user / (bytes / 1e9),
            system_per_gigabyte: system / (bytes / 1e9),
            seconds_per_million: (user + system) / (load.count as f64 / 1e6),
        }
    }
}

impl Figures {
    pub(crate) const HEADINGS: &str = "\
| client | does | bytes | MB/s | user s/GB | system s/GB | s per million |
|---|---|--:|--:|--:|--:|--:|";

    pub(crate) fn row(&self, client: &str, what: &str, size: usize) -> String {
        let Figures { megabytes_per_second, user_per_gigabyte, .. } = self;
        format!(
            "| {client} | {what} | {size} | {megabytes_per_second:.0} | {user_per_gigabyte:.2} | \
             {:.2} | {:.2} |",
            self.system_per_gigabyte, self.seconds_per_million,
        )
    }
}

/// User and system time of this process with all its threads, as Linux counts them.
fn processor_time() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut ticks = fields.split(' ').skip(11).map(|ticks| ticks.parse().unwrap_or(0));
    let mut time = || Duration::from_millis(ticks.next().unwrap_or(0) * 10);
    (time(), time())
}
