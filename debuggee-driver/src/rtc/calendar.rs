//! What the registers of the clock mean. Pure.

/// Register B: numbers are binary, not decimal by half bytes.
const BINARY: u8 = 1 << 2;
/// Register B: hours go to 23.
const HOURS_24: u8 = 1 << 1;
/// Of the hour, where they go to 12: it is afternoon.
const AFTERNOON: u8 = 1 << 7;

/// Whoever keeps this clock in a time zone moved it by a multiple of so much.
const ZONE_STEP_US: i64 = 15 * 60 * 1_000_000;
/// Zones are at most so far from the meridian, with an hour for summer.
const ZONE_MAX_US: i64 = 15 * 3_600 * 1_000_000;
/// Two clocks of one machine that differ by more differ by something else than a zone.
const DRIFT_MAX_US: i64 = 2 * 60 * 1_000_000;

/// What was read, as it stands in the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the data sheet's")]
pub struct Reading {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    pub day: u8,
    pub month: u8,
    pub year: u8,
    /// Where the machine has it.
    pub century: Option<u8>,
    /// Register B. MC146818A data sheet, "Time, Calendar, and Alarm Locations" and "Register B".
    pub mode: u8,
}

impl Reading {
    /// Microseconds since 1970 in the clock's own zone, if it says a time that can be.
    #[must_use]
    pub fn local_us(&self) -> Option<u64> {
        let number = |raw| self.number(raw);
        let [second, minute, day, month, year] =
            [self.second, self.minute, self.day, self.month, self.year].map(number);
        let (second, minute, day, month) = (second?, minute?, day?, month?);
        // What stands there is no century on many a machine.
        let century = self.century.and_then(number);
        let century = century.filter(|it| matches!(it, 20 | 21)).unwrap_or(20);
        let year = century * 100 + year.filter(|year| *year < 100)?;
        let hour = self.hour()?;
        let is_possible = second < 60
            && minute < 60
            && (1..=12).contains(&month)
            && (1..=days_in(month, year)).contains(&day);
        let seconds = ((days(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
        is_possible.then_some(seconds * 1_000_000)
    }

    fn number(&self, raw: u8) -> Option<u64> {
        let (high, low) = (u64::from(raw >> 4), u64::from(raw & 0xf));
        if self.mode & BINARY != 0 {
            Some(u64::from(raw))
        } else {
            (high < 10 && low < 10).then_some(high * 10 + low)
        }
    }

    fn hour(&self) -> Option<u64> {
        if self.mode & HOURS_24 != 0 {
            return self.number(self.hour).filter(|hour| *hour < 24);
        }
        let hour = self.number(self.hour & !AFTERNOON)?;
        let noon = u64::from(self.hour & AFTERNOON != 0) * 12;
        (1..=12).contains(&hour).then_some(hour % 12 + noon)
    }
}

const fn days_in(month: u64, year: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 1970-01-01 to a day, in the Gregorian calendar. Years begin in March, so that the day that is left out is a year's last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const TO_1970: u64 = 719_469;
    let (year, month) = match month {
        0..=2 => (year.checked_sub(1)?, month + 9),
        _ => (year, month - 3),
    };
    let before_month = (153 * month + 2) / 5;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + before_month + day;
    days.checked_sub(TO_1970)
}

/// What must be added to the clock's time to have that since 1970, from both at the same moment.
#[must_use]
pub fn zone_us(system_us: u64, local_us: u64) -> i64 {
    let Some(behind_us) = system_us.checked_signed_diff(local_us) else {
        return 0;
    };
    let nearest = behind_us.saturating_add(behind_us.signum() * ZONE_STEP_US / 2);
    let zone_us = nearest / ZONE_STEP_US * ZONE_STEP_US;
    let is_zone = zone_us.abs() <= ZONE_MAX_US && (behind_us - zone_us).abs() <= DRIFT_MAX_US;
    if is_zone { zone_us } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1999-12-31 and so on, by `date -u +%s`.
    const KNOWN: [([u8; 6], u64); 6] = [
        ([0, 0, 0, 1, 1, 0], 946_684_800),
        ([59, 59, 23, 29, 2, 0], 951_868_799),
        ([0, 0, 0, 1, 3, 0], 951_868_800),
        ([45, 6, 21, 28, 2, 23], 1_677_618_405),
        ([0, 0, 12, 29, 2, 24], 1_709_208_000),
        ([59, 59, 23, 31, 12, 99], 4_102_444_799),
    ];

    fn reading(values: [u8; 6], mode: u8) -> Reading {
        let [second, minute, hour, day, month, year] = values;
        Reading {
            second,
            minute,
            hour,
            day,
            month,
            year,
            century: None,
            mode,
        }
    }

    fn decimal(value: u8) -> u8 {
        ((value / 10) << 4) | (value % 10)
    }

    fn twelve(hour: u8) -> (u8, u8) {
        let shown = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        (shown, if hour < 12 { 0 } else { AFTERNOON })
    }

    #[test]
    fn times_in_each_mode_are_those_of_other_calendars() {
        for (values, seconds) in KNOWN {
            for mode in [0, BINARY, HOURS_24, BINARY | HOURS_24] {
                let form = |value| {
                    if mode & BINARY != 0 {
                        value
                    } else {
                        decimal(value)
                    }
                };
                let mut raw = values.map(form);
                if mode & HOURS_24 == 0 {
                    let (hour, afternoon) = twelve(values[2]);
                    raw[2] = form(hour) | afternoon;
                }
                let local_us = reading(raw, mode).local_us();
                assert_eq!(local_us, Some(seconds * 1_000_000), "{values:?} {mode:x}");
            }
        }
    }

    #[test]
    fn times_that_cannot_be_are_none() {
        for raw in [
            [0x60, 0, 0, 1, 1, 0x26],
            [0, 0x60, 0, 1, 1, 0x26],
            [0, 0, 0x24, 1, 1, 0x26],
            [0, 0, 0, 0, 1, 0x26],
            [0, 0, 0, 0x32, 1, 0x26],
            [0, 0, 0, 0x29, 2, 0x26],
            [0, 0, 0, 0x31, 4, 0x26],
            [0, 0, 0, 1, 0, 0x26],
            [0, 0, 0, 1, 0x13, 0x26],
            [0, 0, 0, 1, 1, 0xa6],
            [0x0a, 0, 0, 1, 1, 0x26],
            [0xff; 6],
        ] {
            assert_eq!(reading(raw, HOURS_24).local_us(), None, "{raw:x?}");
        }
        for hour in [0, 0x13, 0x80, 0x93] {
            assert_eq!(reading([0, 0, hour, 1, 1, 0x26], 0).local_us(), None);
        }
        assert_eq!(
            reading([0, 0, 0, 1, 1, 100], BINARY | HOURS_24).local_us(),
            None
        );
    }

    #[test]
    fn a_century_counts_where_it_is_one() {
        let year = |century| {
            let it = Reading {
                century,
                ..reading([0, 0, 0, 1, 1, 0], HOURS_24)
            };
            it.local_us().unwrap() / 1_000_000
        };
        let [in_2000, in_2100] = [946_684_800, 4_102_444_800];
        for century in [None, Some(0x20), Some(0x00), Some(0xff), Some(0x19)] {
            assert_eq!(year(century), in_2000);
        }
        assert_eq!(year(Some(0x21)), in_2100);
    }

    #[test]
    fn clocks_that_differ_by_hours_differ_by_a_zone_and_others_do_not() {
        const MINUTE: i64 = 60_000_000;
        const SYSTEM: u64 = 1_796_040_000_000_000;
        for (minutes, expected) in [
            (0, 0),
            (60, 60),
            (-60, -60),
            (-330, -330),
            (345, 345),
            (14 * 60, 14 * 60),
            (-12 * 60 + 1, -12 * 60),
            (1, 0),
            (7, 0),
            (8, 0),
            (20 * 60, 0),
            (-24 * 60, 0),
        ] {
            let local = SYSTEM.checked_add_signed(-minutes * MINUTE).unwrap();
            assert_eq!(zone_us(SYSTEM, local), expected * MINUTE, "{minutes}");
        }
        assert_eq!(zone_us(u64::MAX, 0), 0);
    }
}
