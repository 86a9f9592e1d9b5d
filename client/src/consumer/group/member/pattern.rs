//! A subscription by regular expression where the members divide (the classic protocol): each
//! member tries it on the names of all topics itself, when it joins and when that is long ago.
//!
//! The language is the coordinator's of the other protocol, whole names in RE2's syntax, so that a
//! group may go over from one to the other. Topics of the cluster's own are never meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;

/// The longest expression, and the most memory of a compiled one, as brokers have them.
const PATTERN_BYTES_MAX: usize = 1024;
const COMPILED_BYTES_MAX: usize = 1 << 20;

pub(super) struct Pattern {
    regex: Regex,
    matches: BTreeSet<Arc<str>>,
    next_look: Instant,
    failures: u32,
}

/// An expression that cannot be read, or is too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Pattern {
    pub(super) fn compile(expression: &str) -> Result<Self, Unreadable> {
        if expression.len() > PATTERN_BYTES_MAX {
            return Err(Unreadable);
        }
        let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        // By itself first: `a)|(b` is balanced only by the group around it.
        let compiled = compile(expression).and_then(|_| compile(&format!("^(?:{expression})$")));
        let regex = compiled.map_err(|error| {
            tracing::error!(%expression, %error, "the subscription is no regular expression");
            Unreadable
        })?;
        let (matches, next_look) = (BTreeSet::new(), Instant::now());
        Ok(Pattern { regex, matches, next_look, failures: 0 })
    }

    /// The topics that matched when it was last tried.
    pub(super) fn matches(&self) -> impl Iterator<Item = &Arc<str>> {
        self.matches.iter()
    }

    /// Tries the expression on the topics there are now, if that is long ago. Returns whether other
    /// topics match than before. Cancel-safe.
    pub(super) async fn look_if_due(&mut self, cluster: &Arc<Cluster>) -> bool {
        if self.next_look > Instant::now() {
            return false;
        }
        let topics = match cluster.list_topics().await {
            Ok(topics) => topics,
            Err(error) => {
                tracing::debug!(%error, "it is not known which topics there are");
                self.failures = self.failures.saturating_add(1);
                let backoff = cluster.options.retry_backoff;
                self.next_look = Instant::now() + backoff.delay(self.failures, &cluster.jitter);
                return false;
            }
        };
        self.failures = 0;
        self.next_look = Instant::now() + cluster.options.metadata_max_age;
        let theirs = topics.into_iter().filter(|topic| !topic.is_internal).map(|topic| topic.name);
        let matches = theirs.filter(|name| self.regex.is_match(name)).collect();
        std::mem::replace(&mut self.matches, matches) != self.matches
    }
}

/// Comes to its end when other topics match than before. Cancel-safe.
pub(super) async fn matches_change(pattern: Option<&mut Pattern>, cluster: &Arc<Cluster>) {
    let Some(pattern) = pattern else { return std::future::pending().await };
    loop {
        sleep_until(pattern.next_look).await;
        if pattern.look_if_due(cluster).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whole_names_match_and_what_brokers_refuse_is_refused() {
        let pattern = Pattern::compile("orders|pay.*").unwrap_or_else(|_| panic!("it is one"));
        assert!(pattern.regex.is_match("orders") && pattern.regex.is_match("payments"));
        assert!(!pattern.regex.is_match("orders2") && !pattern.regex.is_match("repay"));
        for expression in ["(", "a)|(b", "(?=x)", r"(\w{100}){100}", &"a".repeat(1025)] {
            assert!(Pattern::compile(expression).is_err(), "{expression}");
        }
    }
}
