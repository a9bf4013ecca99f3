//! Model-specific registers that matter here, and how the MSR bitmap names them. Pure.

/// Extended features: SYSCALL, long mode.
pub const EFER: u32 = 0xc000_0080;

/// Whether VMX may be turned on, and whether that is settled.
const FEATURE_CONTROL: u32 = 0x3a;

/// VMX capability registers.
const VMX_FIRST: u32 = 0x480;
const VMX_LAST: u32 = 0x491;

/// Each quarter of the bitmap has a bit for this many registers.
const QUARTER: u32 = 0x2000;
/// First register of the upper range.
const HIGH: u32 = 0xc000_0000;

/// Registers by which VMX itself is controlled: no event may watch them.
#[must_use]
pub const fn is_hypervisors(number: u32) -> bool {
    number == FEATURE_CONTROL || (number >= VMX_FIRST && number <= VMX_LAST)
}

/// The bit of the MSR bitmap that lets reads or writes of a register leave the guest; `None` if
/// they always do ("MSR-Bitmap Address", 25.6.9).
#[must_use]
pub const fn bitmap_bit(number: u32, write: bool) -> Option<u64> {
    let bit = if number < QUARTER {
        number
    } else if number >= HIGH && number - HIGH < QUARTER {
        number - HIGH + QUARTER
    } else {
        return None;
    };
    let half = if write { 2 * QUARTER } else { 0 };
    Some((half + bit) as u64)
}

/// All registers that the bitmap covers.
pub fn covered() -> impl Iterator<Item = u32> {
    (0..QUARTER).chain(HIGH..HIGH + QUARTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitmap_has_four_quarters() {
        assert_eq!(bitmap_bit(0x10, false), Some(0x10));
        assert_eq!(bitmap_bit(EFER, false), Some(0x2080));
        assert_eq!(bitmap_bit(0x10, true), Some(0x4010));
        assert_eq!(bitmap_bit(HIGH + 0x1fff, true), Some(0x7fff));
        assert_eq!(bitmap_bit(0x2000, false), None);
        assert_eq!(bitmap_bit(0x4000_0000, true), None);
        assert_eq!(covered().count(), 0x4000);
    }
}
