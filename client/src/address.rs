//! Where a broker is reached, as people write it and as errors name it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thalweg_protocol::NodeId;
use thiserror::Error;

/// The address of a broker, and its id once the cluster has told it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerAddress {
    node: Option<NodeId>,
    host: Arc<str>,
    port: u16,
}

impl BrokerAddress {
    /// The address of a broker whose id is not known, as a bootstrap address is.
    pub fn new(host: &str, port: u16) -> Self {
        BrokerAddress { node: None, host: host.into(), port }
    }

    pub(crate) fn of_node(node: NodeId, host: &str, port: u16) -> Self {
        BrokerAddress { node: Some(node), host: host.into(), port }
    }

    /// The broker's id, if the address came from the cluster itself.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// A name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Reads a list as in `bootstrap.servers`: `host:port`, separated by commas. A protocol before
    /// an address (`PLAINTEXT://`) is passed over, an IPv6 address stands in brackets.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, AddressError> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let addresses: Vec<Self> = entries.map(str::parse).collect::<Result<_, _>>()?;
        if addresses.is_empty() { Err(AddressError::Empty) } else { Ok(addresses) }
    }
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = || AddressError::Invalid(text.into());
        let plain = text.split_once("://").map_or(text, |(_, address)| address);
        let (host, port) = plain.rsplit_once(':').ok_or_else(invalid)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            // Without brackets nobody can tell the port from the last group.
            None if host.contains(':') => return Err(invalid()),
            None => host,
        };
        let port = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || port == 0 {
            return Err(invalid());
        }
        Ok(BrokerAddress::new(host, port))
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, host, port } = self;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        match node {
            Some(node) => write!(f, "broker {node} at {open}{host}{close}:{port}"),
            None => write!(f, "{open}{host}{close}:{port}"),
        }
    }
}

/// Why a text is no list of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// There is not one address.
    #[error("no broker address: give at least one as host:port")]
    Empty,
    /// Not `host:port`.
    #[error("{0:?} is no broker address: write it as host:port, an IPv6 host in brackets")]
    Invalid(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        let list = BrokerAddress::parse_list(" a:1, PLAINTEXT://b.example:9092 ,[::1]:3,").unwrap();
        let names: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a:1", "b.example:9092", "[::1]:3"]);
        assert_eq!(list[2].host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_named_in_the_error() {
        assert_eq!(BrokerAddress::parse_list(" , "), Err(AddressError::Empty));
        for bad in ["host", "host:", ":9092", "host:0", "host:70000", "::1:9092", "[]:1"] {
            assert_eq!(BrokerAddress::parse_list(bad), Err(AddressError::Invalid(bad.into())));
        }
    }
}
