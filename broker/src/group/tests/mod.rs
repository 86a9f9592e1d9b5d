//! The groups' state machine under test: no log, no clock, no tasks.

mod bench;
mod offsets;
mod random;
mod rebalance;
mod refusals;
mod static_members;
