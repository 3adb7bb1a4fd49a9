//! Sixteen bytes compared at once.

/// A bit for each byte that is equal to `byte`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "a hit takes a sixth less time: `cargo bench --bench lru`")]
pub(crate) fn equal_bytes(bytes: u128, byte: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let [low, high] = halves(bytes);
    // SAFETY: these need SSE2, which every x86-64 processor has, and touch no memory.
    let mask = unsafe {
        let bytes = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed())))
    };
    mask.cast_unsigned()
}

/// A bit for each byte that is equal to `byte`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn equal_bytes(bytes: u128, byte: u8) -> u32 {
    let [low, high] = halves(bytes).map(|word| zero_bytes(word ^ (u64::from(byte) * EACH_BYTE)));
    u32::from(low) | u32::from(high) << 8
}

/// The low and the high half.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "that is how to take a half")]
fn halves(bytes: u128) -> [u64; 2] {
    [bytes as u64, (bytes >> 64) as u64]
}

#[cfg(any(test, not(target_arch = "x86_64")))]
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;

/// A bit for each byte that is zero.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn zero_bytes(word: u64) -> u8 {
    const LOW_BITS: u64 = EACH_BYTE * 0x7f;
    // Exact: the sums carry nothing into the next byte.
    let zero = !(((word & LOW_BITS) + LOW_BITS) | word) >> 7 & EACH_BYTE;
    // Moves the lowest bit of each byte into the highest one.
    zero.wrapping_mul(0x0102_0408_1020_4080).to_le_bytes()[7]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn zero_bytes_are_those_that_are_zero(bytes: [u8; 8], zeros: u8) {
            let bytes: [u8; 8] =
                std::array::from_fn(|at| if zeros >> at & 1 == 1 { 0 } else { bytes[at] });
            let expected = (0..8).fold(0, |bits, at| bits | u8::from(bytes[at] == 0) << at);
            prop_assert_eq!(zero_bytes(u64::from_le_bytes(bytes)), expected);
        }

        #[test]
        fn equal_bytes_are_those_that_are_equal(bytes in prop::array::uniform16(0..3_u8)) {
            let expected = (0..16).fold(0, |bits, at| bits | u32::from(bytes[at] == 1) << at);
            prop_assert_eq!(equal_bytes(u128::from_le_bytes(bytes), 1), expected);
        }
    }
}
