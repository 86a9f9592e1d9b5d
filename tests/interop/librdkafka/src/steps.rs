//! Reports one line for each step, in the form tests/interop/run reads.

use std::time::Duration;

use anyhow::Result;

/// A broker that is slower than this at anything we ask has failed.
pub const DEADLINE: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct Steps {
    failed: bool,
}

impl Steps {
    /// A step that fails is reported and the next one still runs: one run shows all faults.
    pub async fn step(&mut self, name: &str, body: impl Future<Output = Result<()>>) {
        let result = match tokio::time::timeout(DEADLINE, body).await {
            Ok(result) => result,
            Err(elapsed) => Err(elapsed.into()),
        };
        match result {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                self.failed = true;
                let reason = format!("{error:#}");
                let line: Vec<&str> = reason.split_whitespace().collect();
                println!("FAIL {name}: {:.500}", line.join(" "));
            }
        }
    }

    pub fn failed(&self) -> bool {
        self.failed
    }
}

/// Waits for a state that a broker reaches on its own; the step's deadline bounds it.
pub async fn eventually(mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    while !condition()? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
