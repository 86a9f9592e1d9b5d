//! How brokers talk to each other, on a port that no client uses.
//!
//! Everything travels in frames ([`frame`]) that carry a kind and a checksum. A connection begins
//! with a handshake ([`handshake`]) in which both sides say who they are; what follows is the
//! business of whoever asked for the connection. Whatever does not begin so is a stranger: it is
//! closed and mentioned once ([`strangers`]).
//!
//! All of it works over any byte stream, so that TLS and a simulated network fit in.

pub(crate) mod accept;
pub mod frame;
pub mod handshake;
pub mod network;
pub mod strangers;
pub(crate) mod transport;
