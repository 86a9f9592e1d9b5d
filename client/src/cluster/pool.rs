//! One connection to each broker, made when first wanted and made anew, after a while, when lost.
//!
//! At most one attempt per broker is under way, and everybody who wants the connection shares it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::{Instant, sleep_until};

use crate::address::BrokerAddress;
use crate::backoff::Jitter;
use crate::connection::{Connection, dial};
use crate::error::ConnectError;
use crate::options::Options;
use crate::single_flight::SingleFlight;

/// The connections of one purpose. Long polls have a pool of their own: answers come in order, so
/// whatever shared a connection with them would wait as long as they do.
#[derive(Debug)]
pub(crate) struct Pool {
    options: Arc<Options>,
    jitter: Arc<Jitter>,
    slots: Mutex<HashMap<BrokerAddress, Arc<Slot>>>,
}

/// The place of one broker's connection.
#[derive(Debug, Default)]
struct Slot {
    dialing: SingleFlight<Result<Connection, ConnectError>>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    open: Option<Connection>,
    /// Attempts that failed since the last success, and when the next may begin.
    failures: u32,
    not_before: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(options: Arc<Options>, jitter: Arc<Jitter>) -> Self {
        Pool { options, jitter, slots: Mutex::default() }
    }

    /// An open connection to `broker`. After a failure the next attempt waits for the reconnect
    /// backoff, and all who want the connection meanwhile wait for the same attempt.
    ///
    /// Cancel-safe: the attempt goes on for others.
    pub(crate) async fn connection(
        &self,
        broker: &BrokerAddress,
    ) -> Result<Connection, ConnectError> {
        let slot = self.slot(broker);
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        let dialing = || {
            let (slot, broker) = (slot.clone(), broker.clone());
            let (options, jitter) = (self.options.clone(), self.jitter.clone());
            async move { slot.dial(broker, &options, &jitter).await }
        };
        slot.dialing.join(dialing).await
    }

    /// The connection to `broker` if it is open now.
    pub(crate) fn open_connection(&self, broker: &BrokerAddress) -> Option<Connection> {
        self.slot(broker).open()
    }

    fn slot(&self, broker: &BrokerAddress) -> Arc<Slot> {
        let mut slots = self.slots.lock().expect("no one panics while holding this lock");
        if let Some(slot) = slots.get(broker) {
            return slot.clone();
        }
        slots.entry(broker.clone()).or_default().clone()
    }
}

impl Slot {
    fn open(&self) -> Option<Connection> {
        let mut state = self.state();
        state.open.take_if(|connection| !connection.is_open());
        state.open.clone()
    }

    async fn dial(
        &self,
        broker: BrokerAddress,
        options: &Options,
        jitter: &Jitter,
    ) -> Result<Connection, ConnectError> {
        // Another attempt may have succeeded between the caller's look and this one's start.
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        let not_before = self.state().not_before;
        if let Some(not_before) = not_before {
            sleep_until(not_before).await;
        }
        let outcome = dial(broker, options).await;
        let mut state = self.state();
        match &outcome {
            Ok(connection) => {
                state.open = Some(connection.clone());
                state.failures = 0;
                // A broker that accepts and hangs up at once must not be dialed in a tight loop.
                state.not_before = Some(Instant::now() + options.reconnect_backoff.min);
            }
            Err(error) => {
                tracing::debug!(%error, "connection attempt failed");
                state.failures += 1;
                let delay = options.reconnect_backoff.delay(state.failures, jitter);
                state.not_before = Some(Instant::now() + delay);
            }
        }
        outcome
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SlotState> {
        self.state.lock().expect("no one panics while holding this lock")
    }
}
