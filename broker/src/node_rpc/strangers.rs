//! Connections to the node port that are no broker's: a Kafka client, a port scan, a health check.
//!
//! They come again and again, so each address is mentioned once.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use tracing::{debug, warn};

use super::handshake::HandshakeError;

/// How many addresses are remembered. After that many the list begins anew, so that somebody with
/// many addresses costs some lines of log and not memory without end.
const REMEMBERED_MAX: usize = 1024;

/// The addresses that have been mentioned.
#[derive(Debug, Default)]
pub struct Strangers {
    mentioned: Mutex<HashSet<IpAddr>>,
}

impl Strangers {
    /// A connection from `peer` was closed because of `error`. It is logged at `warn` the first
    /// time that this address was taken for a stranger, and at `debug` otherwise.
    pub fn on_refused(&self, peer: SocketAddr, error: &HandshakeError) {
        if error.is_strangers() && self.is_news(peer.ip()) {
            warn!(
                %peer, %error,
                "what connected to the node port is no broker; Kafka clients use another port \
                 (this address is not mentioned again)"
            );
        } else {
            debug!(%peer, %error, "a connection to the node port came to nothing");
        }
    }

    fn is_news(&self, address: IpAddr) -> bool {
        let mut mentioned = self.mentioned.lock().unwrap_or_else(|held| held.into_inner());
        if mentioned.len() >= REMEMBERED_MAX && !mentioned.contains(&address) {
            mentioned.clear();
        }
        mentioned.insert(address)
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
            assert!(strangers.is_news(address(n)));
            assert!(!strangers.is_news(address(n)));
        }
        assert!(strangers.is_news(address(1024)));
        assert_eq!(strangers.mentioned.lock().expect("nobody panicked").len(), 1);
        assert!(!strangers.is_news(address(1024)));
    }
}
