//! Baud rates, and which of them a UART makes by dividing its clock. Pure; for the UART when it is set up or changed, for
//! what is said when it cannot be, and for the host, which asks for no other ones.

use core::fmt;

/// What a rate is that both ends can be expected to know, in ascending order.
pub const STANDARD: [u32; 16] = [
    1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600, 1_000_000,
    1_500_000, 2_000_000, 3_000_000, 4_000_000,
];

/// Clock of the UART of a PC.
pub const PC_CLOCK_HZ: u32 = 1_843_200;

/// Looks of the receiver at each bit.
const CLOCKS_PER_BIT: u64 = 16;

/// By how much the rate may be off, in thousandths: half a bit at the end of a byte, shared by both ends, with something to
/// spare.
const OFF_MAX_PER_MILLE: u64 = 20;

/// What the clock is divided by for this rate, or for one so near that the other end does not notice.
#[must_use]
pub fn divisor(clock_hz: u32, baud_hz: u32) -> Option<u16> {
    let lowest = STANDARD.first().copied().unwrap_or(1);
    if baud_hz < lowest {
        return None;
    }
    let clock_hz = u64::from(clock_hz);
    let per_bit_hz = CLOCKS_PER_BIT * u64::from(baud_hz);
    let divisor = (clock_hz + per_bit_hz / 2) / per_bit_hz;
    let made = divisor * per_bit_hz;
    if made.abs_diff(clock_hz) * 1000 > made * OFF_MAX_PER_MILLE {
        return None;
    }
    u16::try_from(divisor).ok().filter(|divisor| *divisor != 0)
}

/// Time that a byte takes: start bit, eight data bits, stop bit. 0 for no rate.
#[must_use]
pub fn byte_time_ns(baud_hz: u32) -> u32 {
    let time = 10_000_000_000_u64.checked_div(baud_hz.into());
    time.and_then(|time| time.try_into().ok()).unwrap_or(0)
}

/// The lowest standard rate above this one that the clock makes.
#[must_use]
pub fn next_above(clock_hz: u32, baud_hz: u32) -> Option<u32> {
    let above = STANDARD.into_iter().filter(|baud| *baud > baud_hz);
    above
        .filter(|baud| divisor(clock_hz, *baud).is_some())
        .min()
}

/// The highest one below.
#[must_use]
pub fn next_below(clock_hz: u32, baud_hz: u32) -> Option<u32> {
    let below = STANDARD.into_iter().filter(|baud| *baud < baud_hz);
    below
        .filter(|baud| divisor(clock_hz, *baud).is_some())
        .max()
}

/// The standard rates that a clock makes, as a sentence has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The clock.
    pub clock_hz: u32,
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let can_be = |baud: &&u32| divisor(self.clock_hz, **baud).is_some();
        let last = STANDARD.iter().rposition(|baud| can_be(&baud));
        let Some(last) = last else {
            return f.write_str("none of the usual rates");
        };
        let mut is_first = true;
        for (place, baud) in STANDARD.iter().enumerate().filter(|(_, baud)| can_be(baud)) {
            if !is_first {
                f.write_str(if place == last { " or " } else { ", " })?;
            }
            is_first = false;
            write!(f, "{baud}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::proptest_config;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn a_pc_makes_its_rates_exactly_and_no_faster_ones() {
        let made = STANDARD.map(|baud| divisor(PC_CLOCK_HZ, baud));
        let exact = [96, 48, 24, 12, 6, 3, 2, 1].map(Some);
        assert_eq!(made[..8], exact);
        assert_eq!(made[8..], [None; 8]);
    }

    #[test]
    fn a_faster_clock_makes_faster_rates() {
        const FAST_HZ: u32 = 16 * 921_600;
        assert_eq!(divisor(FAST_HZ, 921_600), Some(1));
        assert_eq!(divisor(FAST_HZ, 115_200), Some(8));
        // Intel's, for which nothing is exact.
        assert_eq!(divisor(48_000_000, 3_000_000), Some(1));
        assert_eq!(divisor(48_000_000, 115_200), Some(26));
        assert_eq!(divisor(48_000_000, 2_000_000), None, "25 % off");
    }

    #[test]
    fn impossible_rates_are_none() {
        for baud in [0, 1, 7, 1199, 130_000, 230_400, u32::MAX] {
            assert_eq!(divisor(PC_CLOCK_HZ, baud), None, "{baud}");
        }
        assert_eq!(divisor(0, 9600), None);
        assert_eq!(divisor(u32::MAX, 1200), None, "more than 16 bits");
    }

    #[test]
    fn a_byte_has_ten_bits() {
        assert_eq!([0, 9600, 115_200].map(byte_time_ns), [0, 1_041_666, 86_805]);
    }

    #[test]
    fn the_next_rate_is_one_that_the_clock_makes() {
        assert_eq!(next_above(PC_CLOCK_HZ, 9600), Some(19_200));
        assert_eq!(next_above(PC_CLOCK_HZ, 115_200), None);
        // 2,000,000 is between them, and 25 % off.
        assert_eq!(next_above(48_000_000, 1_500_000), Some(3_000_000));
        assert_eq!(next_below(48_000_000, 3_000_000), Some(1_500_000));
        assert_eq!(next_below(PC_CLOCK_HZ, 1200), None);
    }

    #[test]
    fn rates_are_listed() {
        let said = |clock_hz| Rates { clock_hz }.to_string();
        assert_eq!(
            said(PC_CLOCK_HZ),
            "1200, 2400, 4800, 9600, 19200, 38400, 57600 or 115200"
        );
        assert_eq!(said(16 * 1200), "1200");
        assert_eq!(said(0), "none of the usual rates");
    }

    proptest! {
        #![proptest_config(proptest_config())]
        #[test]
        fn what_is_divided_is_near_what_was_asked_for(clock_hz: u32, baud_hz: u32) {
            if let Some(divisor) = divisor(clock_hz, baud_hz) {
                let made = f64::from(clock_hz) / 16.0 / f64::from(divisor);
                prop_assert!((made / f64::from(baud_hz) - 1.0).abs() < 0.021);
            }
        }
    }
}
