//! The codecs that a batch body can be compressed with.

mod codec;

pub use codec::{Codec, UnknownCodec, UnknownCodecName};
