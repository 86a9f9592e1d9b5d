//! A client for Thalweg and for any other broker that speaks Kafka's protocol: producer, consumer
//! and administration, in Rust down to the socket.
//!
//! Everything begins with a [`Client`]. Futures are cancel-safe unless they say otherwise, errors
//! say which broker, topic and partition they are about and whether trying again may help, and
//! nothing is queued without a bound.
//!
//! [`Producer`](producer::Producer) gathers records into batches and sends them, idempotently by
//! default. [`Consumer`](consumer::Consumer) reads topics as a member of a group,
//! [`PartitionConsumer`](consumer::PartitionConsumer) reads partitions that it is told.
//! [`Admin`](admin::Admin) creates, describes and alters. The protocol itself is re-exported as
//! [`protocol`], and [`Client::request`] sends any message of it.
//!
//! # Spans
//!
//! At debug level, `tracing` has a span for each produce request until it is answered (`produce`:
//! `broker`, `partitions`, `bytes`, `attempt`), each fetch answer that has records, while it is
//! taken apart (`fetch`: `broker`, `partitions`, `bytes`), each round of a rebalance (`rebalance`:
//! `group`) and each commit (`commit`: `group`, `partitions`). There is none for a record: a trace
//! travels with its record by [`Record::traced`], or an [`Interceptor`](producer::Interceptor).
//!
// Its examples run against a broker, which this crate cannot depend on: thalweg-testing runs them.
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]

mod address;
pub mod admin;
mod backoff;
mod client;
mod cluster;
mod committed_offset;
mod connection;
pub mod consumer;
pub mod error;
mod hook;
mod observer;
mod options;
pub mod producer;
mod properties;
mod record;
mod single_flight;
mod topic_partition;
mod trace_context;

pub use address::BrokerAddress;
pub use client::{Client, ClientBuilder, ClientError};
pub use cluster::{
    Broker, FoundOffset, GroupError, GroupFault, Isolation, OffsetAt, PartitionError,
    PartitionFault, Target, TopicError, TopicFault,
};
pub use committed_offset::CommittedOffset;
pub use hook::HookError;
pub use observer::{ObservedBatch, ObservedChange, ObservedFetch, ObservedRequest, Observer};
pub use properties::{Properties, PropertyError, PropertyWarning};
pub use record::Record;
pub use thalweg_protocol as protocol;
pub use thalweg_protocol::compression::Codec;
pub use topic_partition::TopicPartition;
pub use trace_context::{TRACEPARENT, TRACESTATE, TraceContext, TraceHeaders};
