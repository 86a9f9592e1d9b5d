//! The network side: sockets, frames, order of answers, byte budgets.

pub(crate) mod connection;
pub(crate) mod dispatch;
pub(crate) mod listener;
pub(crate) mod memory;
