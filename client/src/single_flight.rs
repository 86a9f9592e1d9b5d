//! One execution of something that many want at once: a connection being made, metadata being read.
//!
//! The work runs in a task of its own, so whoever gives up waiting takes nothing from the others.

use std::sync::Mutex;

use tokio::sync::watch;

/// Work of which at most one execution is under way.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    landing: Mutex<Option<watch::Receiver<Option<T>>>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        SingleFlight { landing: Mutex::new(None) }
    }
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// The outcome of the execution under way, or else of one that `start` begins.
    ///
    /// Cancel-safe: the execution goes on without this caller.
    pub(crate) async fn join<F>(&self, start: impl Fn() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        loop {
            let mut landing = self.board(&start);
            // An error means that the task's runtime ended before the work did: begin again on
            // ours.
            if let Ok(outcome) = landing.wait_for(Option::is_some).await
                && let Some(outcome) = &*outcome
            {
                return outcome.clone();
            }
        }
    }

    /// Begins an execution if none is under way, and does not wait for it.
    pub(crate) fn begin<F>(&self, start: impl Fn() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.board(&start);
    }

    fn board<F>(&self, start: &impl Fn() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landing = self.landing.lock().expect("no one panics while holding this lock");
        if let Some(under_way) = landing.as_ref()
            && under_way.has_changed().is_ok()
        {
            return under_way.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let work = start();
        tokio::spawn(async move {
            let outcome = work.await;
            sender.send_replace(Some(outcome));
        });
        *landing = Some(receiver.clone());
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn callers_share_one_execution_and_a_later_one_begins_another() {
        let flight = SingleFlight::default();
        let count = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let start = || {
            let (count, gate) = (count.clone(), gate.clone());
            async move {
                gate.acquire().await.expect("the gate stays open").forget();
                count.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        {
            let abandoned = flight.join(start);
            tokio::pin!(abandoned);
            assert!(abandoned.as_mut().now_or_never().is_none());
        }
        gate.add_permits(1);
        let (first, second) = tokio::join!(flight.join(start), flight.join(start));
        assert_eq!((first, second), (1, 1));
        gate.add_permits(1);
        assert_eq!(flight.join(start).await, 2);
    }
}
