//! Exactly one batch in a slice of `Bytes`, its header parsed once, and the walk over many.
//!
//! A view shares the buffer that the batch arrived in: the request's frame, the tail cache, or a
//! mapped segment. It is made without looking at the body; whoever does not know that the bytes are
//! good calls [`BatchView::verify_crc`].

use bytes::Bytes;

use super::{Attributes, BatchError, BatchHeader, CRC_START, HEADER_LEN, crc32c};

/// One batch: consistent header fields, and exactly as many bytes as they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    header: BatchHeader,
    bytes: Bytes,
}

impl BatchView {
    /// A view of `bytes`, which must hold one batch and nothing else.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let (batch, rest) = Self::split_first(bytes)?;
        if rest.is_empty() { Ok(batch) } else { Err(BatchError::TrailingBytes(rest.len())) }
    }

    /// Splits the first batch off `bytes`; gives the batch and what follows it.
    pub fn split_first(mut bytes: Bytes) -> Result<(Self, Bytes), BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let needed = header.size();
        if needed > bytes.len() {
            return Err(BatchError::TooShort { needed, available: bytes.len() });
        }
        let rest = bytes.split_off(needed);
        Ok((Self { header, bytes }, rest))
    }

    /// The parsed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The attribute bits.
    pub fn attributes(&self) -> Attributes {
        self.header.attributes
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records, as compressed as they are.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Checks the bytes from the attributes on against the checksum in the header.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let expected = self.header.crc;
        let actual = crc32c(self.bytes.get(CRC_START..).unwrap_or_default());
        if actual == expected { Ok(()) } else { Err(BatchError::BadCrc { expected, actual }) }
    }
}

/// The batches of a fetched blob, in order. The last one may have been cut off by the fetch's byte
/// limit: the walk ends before it without an error, as it does in every Kafka client.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// A walk over the batches in `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not walked yet: at the end, those of the batch that was cut off.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchView::split_first(self.rest.clone()) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(BatchError::TooShort { .. }) => None,
            Err(error) => {
                // Where the next batch would begin is unknown, so the walk ends here.
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches {}
