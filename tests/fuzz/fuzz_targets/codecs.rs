//! Compressed bytes from outside, whose content may be of any size.
//!
//! The first byte chooses the codec, the second the cap; the rest is compressed. The content must
//! never exceed the cap, must be the same under every cap that has room for it, and must survive
//! being compressed again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{Corpus, fuzz_target};
use thalweg_protocol::compression::{Codec, CompressionError, compress, decompress};

fuzz_target!(|input: &[u8]| -> Corpus {
    let [codec, cap, compressed @ ..] = input else { return Corpus::Reject };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    // From 64 bytes to 512 KiB.
    let cap = 64 << (cap % 14);
    let compressed = Bytes::copy_from_slice(compressed);
    match decompress(codec, compressed.clone(), cap) {
        Ok(content) => {
            assert!(content.len() <= cap, "{} bytes in spite of a cap of {cap}", content.len());
            hold_at_other_caps(codec, &compressed, &content);
            compress_again(codec, &content);
        }
        Err(CompressionError::TooLarge { cap: said }) => assert_eq!(said, cap),
        Err(CompressionError::Corrupt(said)) => assert_eq!(said, codec),
        Err(error @ CompressionError::Failed(_)) => panic!("decompression: {error}"),
    }
    Corpus::Keep
});

fn hold_at_other_caps(codec: Codec, compressed: &Bytes, content: &Bytes) {
    let exact = decompress(codec, compressed.clone(), content.len());
    assert_eq!(exact.as_ref(), Ok(content), "a cap of exactly the content's size");
    if let Some(cap) = content.len().checked_sub(1) {
        let refused = decompress(codec, compressed.clone(), cap);
        assert_eq!(refused, Err(CompressionError::TooLarge { cap }));
    }
}

fn compress_again(codec: Codec, content: &Bytes) {
    let mut out = b"what stood there before".to_vec();
    let before = out.len();
    compress(codec, None, content, &mut out).expect("there is memory");
    let again = decompress(codec, Bytes::from(out).slice(before..), content.len());
    assert_eq!(again.as_ref(), Ok(content));
}
