//! A batch in its final form, on its way to the broker.
//!
//! It is sealed without a producer's identity and stamped when it is first sent, because only then
//! is its number known; a batch that lost its number is stamped again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thalweg_protocol::batch::{
    BatchHeader, BatchOptions, BuildError, CRC_START, HEADER_LEN, crc32c,
};
use tokio::time::Instant;

use super::accumulator::Gathering;
use super::builder::Settings;
use super::delivery::Completion;
use super::error::Attempt;
use crate::address::BrokerAddress;

/// The producer that numbers its batches, as the cluster knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
}

/// A batch's number: that of its first record among all that `identity` wrote to the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    pub(super) sequence: i32,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) record_count: i32,
    pub(super) completion: Arc<Completion>,
    pub(super) reserved: usize,
    pub(super) deadline: Instant,
    pub(super) stamp: Option<Stamp>,
    pub(super) is_in_flight: bool,
    /// How often it has been sent.
    pub(super) attempts: u32,
    /// Whether an attempt may have written it, for all that is known.
    pub(super) may_be_written: bool,
    /// How the last attempt failed, and whom it was made to.
    pub(super) last: Option<(BrokerAddress, Attempt)>,
}

impl Batch {
    /// Compresses and seals what was gathered. An error leaves the completion to be told.
    pub(super) fn seal(gathering: Gathering, settings: &Settings) -> Result<Self, Unsealed> {
        let Gathering { builder, completion, reserved, opened_at } = gathering;
        let options = BatchOptions {
            codec: settings.codec,
            level: settings.level,
            ..BatchOptions::default()
        };
        let record_count = builder.record_count();
        match builder.finish(&options) {
            Ok(bytes) => Ok(Batch {
                bytes,
                record_count,
                completion,
                reserved,
                deadline: opened_at + settings.delivery_timeout,
                stamp: None,
                is_in_flight: false,
                attempts: 0,
                may_be_written: false,
                last: None,
            }),
            Err(error) => Err(Unsealed { completion, reserved, error }),
        }
    }

    /// Gives the batch its number, in its header too.
    pub(super) fn stamp(&mut self, stamp: Stamp) {
        self.stamp = Some(stamp);
        let bytes = std::mem::take(&mut self.bytes).try_into_mut();
        // A frame that was given up may still hold on to the bytes.
        let mut bytes = bytes.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut header = BatchHeader::parse(&bytes).expect("the batch was built by this producer");
        header.producer_id = stamp.identity.producer_id;
        header.producer_epoch = stamp.identity.epoch;
        header.base_sequence = stamp.sequence;
        // The checksum covers the header from its attributes on, but not itself.
        bytes[..HEADER_LEN].copy_from_slice(&header.write());
        header.crc = crc32c(&bytes[CRC_START..]);
        bytes[..HEADER_LEN].copy_from_slice(&header.write());
        self.bytes = bytes.freeze();
    }

    /// The sequence after that of the last record; it wraps at 31 bits (KIP-98).
    pub(super) fn next_sequence(&self, sequence: i32) -> i32 {
        sequence.wrapping_add(self.record_count) & i32::MAX
    }
}

/// A batch that could not be put together.
pub(super) struct Unsealed {
    pub(super) completion: Arc<Completion>,
    pub(super) reserved: usize,
    pub(super) error: BuildError,
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use thalweg_protocol::batch::BatchView;

    use super::*;
    use crate::producer::accumulator::Accumulator;
    use crate::record::Record;

    /// A sealed batch of `record_count` records.
    pub(in crate::producer) fn batch(record_count: i32, settings: &Settings) -> Batch {
        let accumulator = Accumulator::new(0, "t".into(), 0);
        for _ in 0..record_count {
            let record = Record::to("t").value("some value, some value").timestamp(1);
            assert!(accumulator.append(&record, 100, 1_000_000, |_| ()).is_ok());
        }
        let gathering = accumulator.take(|_| true).expect("a batch is open");
        Batch::seal(gathering, settings).ok().expect("sealed")
    }

    #[tokio::test]
    async fn a_batch_can_be_stamped_again_while_its_bytes_are_held() {
        let settings = Settings {
            codec: thalweg_protocol::compression::Codec::Lz4,
            delivery_timeout: Duration::from_secs(1),
            ..Settings::default()
        };
        let mut batch = batch(3, &settings);
        for (epoch, sequence) in [(0, 7), (1, i32::MAX - 1)] {
            let held = batch.bytes.clone();
            let stamp = Stamp { identity: Identity { producer_id: 5, epoch }, sequence };
            batch.stamp(stamp);
            let view = BatchView::parse(batch.bytes.clone()).unwrap();
            view.verify_crc().unwrap();
            let header = view.header();
            assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (5, epoch, sequence)
            );
            assert_eq!(view.records(1000).unwrap().count(), 3);
            BatchView::parse(held).unwrap().verify_crc().unwrap();
        }
        assert_eq!((batch.next_sequence(0), batch.next_sequence(i32::MAX - 1)), (3, 1));
    }
}
