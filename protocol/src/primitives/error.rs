//! What can go wrong between bytes and values. Both errors are small and hold no text from the
//! peer. A failed decode leaves its reader at the fault, so that the caller can say where it was.

use thiserror::Error;

/// Why bytes are not the value they were said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The frame ends inside a value.
    #[error("{needed} bytes needed where {remaining} remain")]
    Truncated {
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// An array claims more elements than the rest of the frame can hold.
    #[error("{count} elements claimed where {remaining} bytes remain")]
    CountBeyondFrame {
        /// Elements claimed.
        count: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// The values of the frame would take far more memory than the frame itself.
    #[error("decoding would take {wanted} more bytes of memory where the frame is allowed {left}")]
    AllowanceSpent {
        /// Bytes about to be allocated.
        wanted: usize,
        /// Bytes that the frame may still cause to be allocated.
        left: usize,
    },
    /// A length or count below −1, which stands for null.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// A varint of more than 32 bits.
    #[error("varint longer than 32 bits")]
    VarintTooLong,
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    InvalidUtf8,
    /// Null in a field that has no null in this version.
    #[error("null where this version requires a value")]
    UnexpectedNull,
    /// A tagged field whose value ends before its stated size.
    #[error("{0} bytes left over after a tagged field")]
    TrailingBytes(usize),
    /// A message version that this crate does not know.
    #[error("unsupported version {0}")]
    UnsupportedVersion(i16),
}

/// Why a value cannot be written at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Null in a field that has no null in this version.
    #[error("{field} is null, which version {version} cannot express")]
    Null {
        /// The field, as the struct names it.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field holds a value that matters and that the version has no place for (KIP-35, KIP-482).
    #[error("{field} is set, which version {version} does not have")]
    NotInVersion {
        /// The field, as the struct names it.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Unknown tagged fields in a version that has no tagged fields.
    #[error("tagged fields are set, which version {0} does not have")]
    NoTaggedFields(i16),
    /// A string, array or whole frame too long for its length prefix.
    #[error("length {0} is too long for its prefix")]
    TooLong(usize),
    /// A message version that this crate does not know.
    #[error("unsupported version {0}")]
    UnsupportedVersion(i16),
}
