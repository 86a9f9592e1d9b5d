//! Who connects and is not let in: a Kafka client or a port scan on the node port, a broker of
//! another cluster, something on the clients' port that cannot be served.
//!
//! They come again and again, so each address is mentioned once for each reason.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use tracing::{debug, warn};

use super::handshake::HandshakeError;

/// How many are remembered. After that many the list begins anew, so that somebody with many
/// addresses costs some lines of log and not memory without end.
const REMEMBERED_MAX: usize = 1024;

/// Who has been mentioned, and why.
#[derive(Debug, Default)]
pub struct Strangers {
    mentioned: Mutex<HashSet<(IpAddr, String)>>,
}

impl Strangers {
    /// A connection from `peer` was closed because of `error`. It is logged at `warn` the first
    /// time that this address was taken for a stranger, and at `debug` otherwise.
    pub fn on_refused(&self, peer: SocketAddr, error: &HandshakeError) {
        if error.is_strangers() && self.is_news(peer.ip(), "no broker") {
            warn!(
                %peer, %error,
                "what connected to the node port is no broker; Kafka clients use another port \
                 (this address is not mentioned again)"
            );
        } else if error.is_other_version() && self.is_news(peer.ip(), "another version") {
            warn!(%peer, %error, "refused a broker (this address is not mentioned again)");
        } else {
            debug!(%peer, %error, "a connection to the node port came to nothing");
        }
    }

    /// A broker was refused, or its connection closed, for what it said.
    pub fn on_broker(&self, peer: SocketAddr, node: i32, reason: &str) {
        if self.is_news(peer.ip(), reason) {
            warn!(%peer, node, reason, "refused a broker (not mentioned again for this reason)");
        } else {
            debug!(%peer, node, reason, "refused a broker");
        }
    }

    /// A connection to the clients' port was closed because what came by it cannot be served.
    pub fn on_client(&self, peer: SocketAddr, reason: &str) {
        if self.is_news(peer.ip(), "no client") {
            warn!(
                %peer, reason,
                "what came by a connection to the clients' port cannot be served; brokers use \
                 another port (this address is not mentioned again)"
            );
        }
    }

    fn is_news(&self, address: IpAddr, reason: &str) -> bool {
        let mut mentioned = self.mentioned.lock().unwrap_or_else(|held| held.into_inner());
        let news = (address, reason.to_owned());
        if mentioned.len() >= REMEMBERED_MAX && !mentioned.contains(&news) {
            mentioned.clear();
        }
        mentioned.insert(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_news_once_and_the_memory_has_an_end() {
        let strangers = Strangers::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..1024 {
            assert!(strangers.is_news(address(n), "why"));
            assert!(!strangers.is_news(address(n), "why"));
        }
        assert!(strangers.is_news(address(1024), "why"));
        assert_eq!(strangers.mentioned.lock().expect("nobody panicked").len(), 1);
        assert!(!strangers.is_news(address(1024), "why"));
        assert!(strangers.is_news(address(1024), "something else"));
    }
}
