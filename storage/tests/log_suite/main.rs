//! The log, tested as its callers see it.

mod beginning;
mod behaviour;
mod crash;
mod damage;
mod follower;
mod full_disk;
mod harness;
mod model;
mod offline;
mod repair;
mod retention;
mod timestamps;
mod wreckage;
