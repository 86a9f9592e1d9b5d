//! Record batches: the unit that producers send, the log stores, and consumers fetch.
//!
//! A batch is a 61-byte header and a body of records, compressed as one piece or not at all. The
//! broker looks only at headers wherever it can ([`BatchHeader`], [`BatchView`], [`HeaderPatch`]);
//! walking records ([`Records`], [`BatchView::scan`]) and building them ([`BatchBuilder`]) is for
//! clients, for compaction and for the few checks that need it. Only format version 2 exists here:
//! Kafka 4 dropped the older ones.
//!
//! Source: `clients/src/main/java/org/apache/kafka/common/record/DefaultRecordBatch.java`, KIP-98.

mod attributes;
mod builder;
mod control;
mod crc;
mod error;
mod header;
mod patch;
mod record;
mod records;
mod rewrite;
mod scan;
#[cfg(test)]
mod tests;
mod varint;
mod view;

pub use attributes::{Attributes, TimestampType};
pub use builder::{BatchBuilder, BatchOptions};
pub use control::{ControlError, EndTxnMarker, TransactionResult};
pub use crc::{Crc32c, crc32c};
pub use error::{BatchError, BuildError, RecordError, RecordFault};
pub use header::{BatchHeader, CRC_START, HEADER_LEN, LENGTH_OVERHEAD, MAGIC};
pub use patch::HeaderPatch;
pub use record::{Header, Headers, HeadersIter, Record, RecordRef};
pub use records::{RecordRefs, Records};
pub use rewrite::RewriteError;
pub use scan::Scan;
pub use view::{BatchView, Batches};
