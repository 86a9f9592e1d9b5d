//! A host name or address with a port, as clients are told it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::value::BadValue;

/// `broker-1.example.com:9092`, or `[::1]:9092`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The name or address, without brackets.
    pub host: String,
    /// The port; 0 stands for the port really listened on.
    pub port: u16,
}

impl HostPort {
    /// Whether both surely mean the same place. Names are not looked up.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let name = |it: &Self| match it.host.as_str() {
            "localhost" => "127.0.0.1".to_owned(),
            name => name.to_ascii_lowercase(),
        };
        self.port == other.port && name(self) == name(other)
    }
}

impl FromStr for HostPort {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (host, port) = text.trim().rsplit_once(':').ok_or(BadValue::NotAHostPort)?;
        let port = port.parse().map_err(|_| BadValue::NotAHostPort)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_address = bracketed.is_some() && host.parse::<std::net::Ipv6Addr>().is_ok();
        // RFC 1035 allows 255 bytes; Kafka's metadata has room for 32,767.
        let is_name = bracketed.is_none()
            && (1..=255).contains(&host.len())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if is_address || is_name {
            Ok(Self { host: host.to_owned(), port })
        } else {
            Err(BadValue::NotAHostPort)
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_read_back_as_written() {
        for text in ["localhost:9092", "10.0.0.7:1", "broker-1.example.com:9092", "[::1]:9092"] {
            assert_eq!(text.parse::<HostPort>().map(|parsed| parsed.to_string()), Ok(text.into()));
        }
        for text in ["", "9092", ":9092", "host:", "host:70000", "::1:9092", "a b:1", "http://a:1"]
        {
            assert_eq!(text.parse::<HostPort>(), Err(BadValue::NotAHostPort), "{text}");
        }
    }
}
