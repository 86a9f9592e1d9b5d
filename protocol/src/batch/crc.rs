//! CRC-32C (Castagnoli; CRC-32/ISCSI in the catalogue), the checksum of batches, and its
//! arithmetic.
//!
//! A CRC is linear: when the first bytes of a message change, the new checksum follows from the old
//! one and the changed bytes alone. So the broker can stamp a header without reading the body
//! again, and a body that was damaged before the stamp still fails its check after it.

/// The reflected generator polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `x^(8·2^k)` modulo the polynomial for every `k`: the factor that appends `2^k` zero bytes.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const ZERO_BYTES: [u32; 32] = {
    // In the reflected notation bit 31 is the coefficient of x^0, so this is x^8.
    let mut factors = [1 << 23; 32];
    let mut k = 1;
    while k < 32 {
        factors[k] = multiply(factors[k - 1], factors[k - 1]);
        k += 1;
    }
    factors
};

/// The CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-32C of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Crc32c {
    digest: crc_fast::Digest,
}

impl Crc32c {
    /// The checksum of nothing yet.
    pub fn new() -> Self {
        Self { digest: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi) }
    }

    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The CRC-32C of all pieces so far.
    pub fn finish(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the digest serves 64-bit checksums too; the upper half of this one is zero"
        )]
        let crc = self.digest.finalize() as u32;
        crc
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC of a message whose beginning changed from `old` to `new` (of equal length) and is
/// followed by `tail_len` untouched bytes, fewer than 4 GiB. Takes a few hundred instructions,
/// whatever the length.
pub(super) fn crc32c_replace_prefix(crc: u32, old: &[u8], new: &[u8], tail_len: usize) -> u32 {
    debug_assert_eq!(old.len(), new.len());
    crc ^ append_zeroes(crc32c(old) ^ crc32c(new), tail_len)
}

/// The effect on a CRC (without its initial and final inversion) of `len` zero bytes.
fn append_zeroes(crc: u32, len: usize) -> u32 {
    let mut shifted = crc;
    for (k, factor) in ZERO_BYTES.iter().enumerate() {
        if len >> k & 1 == 1 {
            shifted = multiply(*factor, shifted);
        }
    }
    shifted
}

/// The product of two polynomials over GF(2), modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1_u32 << 31;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_catalogue_check_value_holds() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_have_the_crc_of_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..6),
        ) {
            let mut crc = Crc32c::new();
            for piece in &pieces {
                crc.update(piece);
            }
            prop_assert_eq!(crc.finish(), crc32c(&pieces.concat()));
        }

        #[test]
        fn a_replaced_prefix_gives_the_crc_of_the_new_message(
            (old, new) in (1_usize..64).prop_flat_map(|len| {
                (prop::collection::vec(any::<u8>(), len), prop::collection::vec(any::<u8>(), len))
            }),
            tail in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let before = crc32c(&[&old[..], &tail].concat());
            let after = crc32c(&[&new[..], &tail].concat());
            prop_assert_eq!(crc32c_replace_prefix(before, &old, &new, tail.len()), after);
        }
    }
}
