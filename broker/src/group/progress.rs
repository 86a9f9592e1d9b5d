//! How much of what a coordinator appended has committed: the counter on which all answers wait.

use tokio::sync::{mpsc, watch};

use crate::partition::Ticket;

/// A count of appends. An answer computed after `n` of them may go out when `n` have committed.
pub(super) type AppendCount = u64;

/// Nothing of this coordinator counts any more; what was appended last may or may not last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// The receiving end of appends: what has committed, and whether all is lost.
pub(super) struct Progress {
    state: watch::Sender<Result<AppendCount, Lost>>,
    tickets: mpsc::UnboundedSender<Ticket>,
}

impl Progress {
    /// Nothing appended yet. Gives the queue that `follow` takes.
    pub(super) fn new() -> (Progress, mpsc::UnboundedReceiver<Ticket>) {
        // Not bounded here: the partition bounds what it takes before it commits.
        let (tickets, queue) = mpsc::unbounded_channel();
        (Progress { state: watch::Sender::new(Ok(0)), tickets }, queue)
    }

    /// An append was taken.
    pub(super) fn on_appended(&self, ticket: Ticket) {
        // After the loss of leadership nobody follows, and nobody is told of anything.
        let _ = self.tickets.send(ticket);
    }

    /// All is lost: everyone who waits is told so.
    pub(super) fn lose(&self) {
        self.state.send_modify(|state| *state = Err(Lost));
    }

    /// Whether all is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.state.borrow().is_err()
    }

    /// Waits until `count` appends have committed.
    pub(super) async fn committed(&self, count: AppendCount) -> Result<(), Lost> {
        let mut state = self.state.subscribe();
        let reached = state.wait_for(|state| !matches!(state, Ok(done) if *done < count)).await;
        match reached {
            Ok(state) => state.map(drop),
            Err(_gone) => Err(Lost),
        }
    }

    /// Counts commits in the order of appends until one fails.
    pub(super) async fn follow(&self, mut queue: mpsc::UnboundedReceiver<Ticket>) {
        let mut done: AppendCount = 0;
        while let Some(mut ticket) = queue.recv().await {
            if ticket.done().await.is_err() || self.is_lost() {
                return;
            }
            done += 1;
            self.state.send_modify(|state| *state = Ok(done));
        }
    }
}
