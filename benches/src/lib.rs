//! What the end-to-end benchmarks share: server processes, their CPU time, and connections that
//! carry raw frames.

pub mod frames;
pub mod server;
