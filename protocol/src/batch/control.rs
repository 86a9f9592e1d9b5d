//! Control records: the markers that end a transaction in a partition.
//!
//! | record | bytes | field                                    |
//! |--------|------:|------------------------------------------|
//! | key    |     2 | version: 0                               |
//! | key    |     2 | type: 0 abort, 1 commit; others are no transaction markers |
//! | value  |     2 | version: 0                               |
//! | value  |     4 | epoch of the coordinator that wrote it   |
//!
//! Source: `EndTxnMarker.json`, `ControlRecordType.java`. Later versions only append fields.

use thiserror::Error;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// Its records are not to be delivered to readers of committed records.
    Abort,
    /// Its records count.
    Commit,
}

/// The contents of the one record of a transaction marker batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndTxnMarker {
    /// How the transaction ended.
    pub result: TransactionResult,
    /// Epoch of the transaction coordinator; a marker of an older coordinator is refused.
    pub coordinator_epoch: i32,
}

/// Why a control record cannot be read as a transaction marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The key or value ends too early, or is null.
    #[error("the control record is too short")]
    TooShort,
    /// A version below zero.
    #[error("control record version {0} is impossible")]
    BadVersion(i16),
    /// A control record that does not end a transaction. Readers skip it.
    #[error("control record type {0} does not end a transaction")]
    OtherType(i16),
}

const VERSION: [u8; 2] = [0, 0];

impl EndTxnMarker {
    /// The key of the marker's record.
    pub fn key(&self) -> [u8; 4] {
        let [v0, v1] = VERSION;
        let result = match self.result {
            TransactionResult::Abort => 0,
            TransactionResult::Commit => 1,
        };
        [v0, v1, 0, result]
    }

    /// The value of the marker's record.
    pub fn value(&self) -> [u8; 6] {
        let [v0, v1] = VERSION;
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }

    /// Reads the marker out of its record's key and value.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, ControlError> {
        let [v0, v1, t0, t1] = *prefix(key)?;
        check_version(i16::from_be_bytes([v0, v1]))?;
        let result = match i16::from_be_bytes([t0, t1]) {
            0 => TransactionResult::Abort,
            1 => TransactionResult::Commit,
            other => return Err(ControlError::OtherType(other)),
        };
        let [v0, v1, e0, e1, e2, e3] = *prefix(value)?;
        check_version(i16::from_be_bytes([v0, v1]))?;
        Ok(Self { result, coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]) })
    }
}

fn prefix<const N: usize>(bytes: Option<&[u8]>) -> Result<&[u8; N], ControlError> {
    bytes.and_then(<[u8]>::first_chunk).ok_or(ControlError::TooShort)
}

fn check_version(version: i16) -> Result<(), ControlError> {
    if version < 0 { Err(ControlError::BadVersion(version)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_from_its_record() {
        let marker =
            EndTxnMarker { result: TransactionResult::Commit, coordinator_epoch: 0x0102_0304 };
        assert_eq!(marker.key(), [0, 0, 0, 1]);
        assert_eq!(marker.value(), [0, 0, 1, 2, 3, 4]);
        assert_eq!(EndTxnMarker::parse(Some(&marker.key()), Some(&marker.value())), Ok(marker));
    }

    #[test]
    fn newer_versions_are_read_up_to_what_we_know() {
        let parsed = EndTxnMarker::parse(Some(&[0, 1, 0, 0, 9]), Some(&[0, 1, 0, 0, 0, 7, 9, 9]));
        let abort = EndTxnMarker { result: TransactionResult::Abort, coordinator_epoch: 7 };
        assert_eq!(parsed, Ok(abort));
    }

    #[test]
    fn what_is_no_marker_is_refused() {
        let value = Some(&[0, 0, 0, 0, 0, 1][..]);
        assert_eq!(EndTxnMarker::parse(None, value), Err(ControlError::TooShort));
        assert_eq!(EndTxnMarker::parse(Some(&[0, 0, 0]), value), Err(ControlError::TooShort));
        assert_eq!(EndTxnMarker::parse(Some(&[0, 0, 0, 1]), None), Err(ControlError::TooShort));
        let leader_change = EndTxnMarker::parse(Some(&[0, 0, 0, 2]), value);
        assert_eq!(leader_change, Err(ControlError::OtherType(2)));
        let negative = EndTxnMarker::parse(Some(&[0xff, 0xff, 0, 1]), value);
        assert_eq!(negative, Err(ControlError::BadVersion(-1)));
    }
}
