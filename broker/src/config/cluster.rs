//! Whether this broker is alone, and if not, where it meets the others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::Conflict;
use super::{BrokerConfig, HostPort};

/// Where a broker with others listens for them unless it is told otherwise.
pub const NODE_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9192);

impl BrokerConfig {
    /// Where to listen for other brokers; `None` if this broker is alone and nobody said that
    /// others may come.
    pub fn node_listen(&self) -> Option<SocketAddr> {
        let is_with_others = !self.seeds.is_empty() || !self.join.is_empty();
        self.node_listen.or(is_with_others.then_some(NODE_LISTEN_DEFAULT))
    }

    /// What other brokers are told to connect to, once `bound` is the address really listened on.
    pub fn node_advertised(&self, bound: SocketAddr) -> HostPort {
        match &self.node_advertise {
            Some(HostPort { host, port: 0 }) => HostPort { host: host.clone(), port: bound.port() },
            Some(advertise) => advertise.clone(),
            None => HostPort::from(bound),
        }
    }

    /// Whether the settings of a broker among others go together.
    pub(super) fn check_cluster(&self) -> Result<(), Conflict> {
        if !self.seeds.is_empty() && !self.join.is_empty() {
            return Err(Conflict::SeedsAndJoin);
        }
        let Some(listen) = self.node_listen() else {
            return match self.node_advertise {
                Some(_) => Err(Conflict::AdvertisedByNobody),
                None => Ok(()),
            };
        };
        if listen.ip().is_unspecified() && self.node_advertise.is_none() {
            return Err(Conflict::NothingToAdvertiseToNodes);
        }
        let others = [("listen", Some(self.listen)), ("admin_listen", self.admin_listen)];
        if let Some((name, _)) = others.iter().find(|(_, it)| *it == Some(listen))
            && listen.port() != 0
        {
            return Err(Conflict::SameAddress(name, "node.listen", listen));
        }
        self.check_addresses(&self.node_advertised(listen))
    }

    fn check_addresses(&self, own: &HostPort) -> Result<(), Conflict> {
        for (index, seed) in self.seeds.iter().enumerate() {
            if self.seeds.iter().take(index).any(|earlier| earlier.is_same_place(seed)) {
                return Err(Conflict::SeedTwice(seed.clone()));
            }
        }
        let is_own = |address: &HostPort| address.is_same_place(own);
        if !self.seeds.is_empty() && !self.seeds.iter().any(is_own) {
            return Err(Conflict::NotASeed(own.clone()));
        }
        if !self.join.is_empty() && self.join.iter().all(is_own) {
            return Err(Conflict::JoinsItself(own.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use super::*;

    fn config(content: &str) -> Result<BrokerConfig, String> {
        let file = Some((std::path::Path::new("thalweg.toml"), content));
        let layers = Layers { file, ..Layers::default() };
        BrokerConfig::from_layers(layers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broker_alone_listens_for_nobody_unless_told() {
        assert_eq!(config("").expect("valid").node_listen(), None);
        let told = config("[node]\nlisten = \"127.0.0.1:0\"").expect("valid");
        assert_eq!(told.node_listen(), Some(SocketAddr::from(([127, 0, 0, 1], 0))));
        let bound = SocketAddr::from(([127, 0, 0, 1], 4711));
        assert_eq!(told.node_advertised(bound).to_string(), "127.0.0.1:4711");
        let joining = config("join = \"a.example:9192\"").expect("valid");
        assert_eq!(joining.node_listen(), Some(NODE_LISTEN_DEFAULT));
    }

    #[test]
    fn seeds_are_a_list_with_this_broker_in_it() {
        for content in [
            "seeds = \"localhost:9192, b.example:9192\"",
            "seeds = [\"a.example:1\", \"b.example:1\"]\n\
             node = { listen = \"0.0.0.0:1\", advertise = \"b.example:1\" }",
            "seeds = \"a.example:1,b.example:1\"\n\
             node = { listen = \"0.0.0.0:1\", advertise = \"B.example:0\" }",
        ] {
            assert_eq!(config(content).expect(content).seeds.len(), 2);
        }
    }

    #[test]
    fn what_cannot_be_a_cluster_is_refused_with_what_to_change() {
        for (content, part) in [
            ("seeds = \"127.0.0.1:9192\"\njoin = \"a:1\"", "one or the other"),
            ("seeds = \"a:1,b:1\"", "--node-advertise"),
            ("seeds = \"127.0.0.1:9192,a:1,A:1\"", "names A:1 twice"),
            ("join = \"127.0.0.1:9192\"", "another broker"),
            ("seeds = \"a:1\"\n[node]\nlisten = \"0.0.0.0:1\"", "say with node.advertise"),
            ("[node]\nadvertise = \"a:1\"", "nobody listens"),
            ("[node]\nlisten = \"127.0.0.1:9092\"", "listen and node.listen are both"),
            ("[node]\nlisten = \"127.0.0.1:9292\"", "admin_listen and node.listen are both"),
            ("seeds = \"a,b\"", "a list of host:port pairs"),
            ("seeds = \"a:0\"", "a list of host:port pairs"),
        ] {
            let error = config(content).expect_err(content);
            assert!(error.contains(part), "{content}: {error}");
        }
    }
}
