//! The variable-length integers inside records: zigzag, then seven bits a byte, the lowest first;
//! the top bit says that more follow. (As protobuf's `sint32` and `sint64`.)

use super::RecordFault;

/// Bytes that `value` takes as a varint or varlong.
pub(super) const fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    // Seven bits a byte, rounded up; the result is between 1 and 10.
    bits.div_ceil(7) as usize
}

/// Appends `value` as a varint or varlong: they differ only in the range of their values.
#[inline(always)]
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let zigzag = zigzag(value);
    let [low, next, ..] = (zigzag & 0x7f | (zigzag & 0x3f80) << 1).to_le_bytes();
    // Deltas and lengths within a batch rarely take more than two bytes.
    match zigzag {
        0..0x80 => out.push(low),
        0x80..0x4000 => out.extend_from_slice(&[low | 0x80, next]),
        _ => put_long_varint(out, zigzag),
    }
}

#[cold]
fn put_long_varint(out: &mut Vec<u8>, zigzag: u64) {
    let mut rest = zigzag;
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        out.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}

/// Takes a varlong off the front of `bytes`.
#[inline(always)]
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Result<i64, RecordFault> {
    match *bytes {
        [first @ 0..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(unzigzag(u64::from(*first)))
        }
        [first, second @ 0..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(unzigzag(u64::from(first & 0x7f) | u64::from(*second) << 7))
        }
        _ => take_long_varlong(bytes),
    }
}

/// As [`take_varlong`], for those of any number of bytes.
#[cold]
fn take_long_varlong(bytes: &mut &[u8]) -> Result<i64, RecordFault> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    loop {
        let (&byte, rest) = bytes.split_first().ok_or(RecordFault::Truncated)?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        // The tenth byte has room for the 64th bit only.
        if shift > 63 || (shift == 63 && low > 1) {
            return Err(RecordFault::BadVarint);
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(unzigzag(value));
        }
        shift += 7;
    }
}

/// Takes a varint off the front of `bytes`: a varlong whose value must fit 32 bits.
#[inline(always)]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<i32, RecordFault> {
    i32::try_from(take_varlong(bytes)?).map_err(|_| RecordFault::BadVarint)
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    }

    #[test]
    fn the_published_examples_hold() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(encoded(value), bytes, "{value}");
            assert_eq!(varint_len(value), bytes.len(), "{value}");
            assert_eq!(take_varlong(&mut &bytes[..]), Ok(value));
        }
    }

    #[test]
    fn what_does_not_fit_or_end_is_refused() {
        let beyond_i32 = encoded(i64::from(i32::MAX) + 1);
        assert_eq!(take_varint(&mut &beyond_i32[..]), Err(RecordFault::BadVarint));
        let bit_65 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_varlong(&mut &bit_65[..]), Err(RecordFault::BadVarint));
        let endless = [0x80; 20];
        assert_eq!(take_varlong(&mut &endless[..]), Err(RecordFault::BadVarint));
        assert_eq!(take_varlong(&mut &endless[..5]), Err(RecordFault::Truncated));
        assert_eq!(take_varlong(&mut &[][..]), Err(RecordFault::Truncated));
    }

    #[test]
    fn needless_zero_bytes_are_read_as_every_client_reads_them() {
        assert_eq!(take_varint(&mut &[0x82, 0x80, 0x00][..]), Ok(1));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value: i64) {
            let bytes = encoded(value);
            prop_assert_eq!(varint_len(value), bytes.len());
            let mut rest = &bytes[..];
            prop_assert_eq!(take_varlong(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
        }
    }
}
