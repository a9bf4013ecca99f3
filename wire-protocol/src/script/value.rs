//! Single values: what the interpreter's operations have in common.

/// What a comparison leaves.
#[inline(always)]
pub(super) fn flag(condition: bool) -> u64 {
    u64::from(condition)
}

/// The lowest half of a value, extended with its sign.
#[inline(always)]
pub(super) fn sign_extended(value: u64) -> u64 {
    i64::from(value as i32) as u64
}

/// The number that these bits are.
#[inline(always)]
pub(super) fn float(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// A shift, unless it is by so much that nothing is left.
#[inline(always)]
pub(super) fn shift(amount: u64, shifted: impl FnOnce(u32) -> u64) -> u64 {
    if amount < 64 {
        shifted(amount as u32)
    } else {
        0
    }
}

/// As many ones; the count has been verified to be below 64.
#[inline(always)]
pub(super) fn mask(count: u8) -> u64 {
    (1 << (count & 63)) - 1
}
