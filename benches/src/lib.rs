//! What benchmarks share: server processes, their CPU time, connections that carry raw frames, and
//! logs.

pub mod frames;
pub mod logs;
pub mod server;
