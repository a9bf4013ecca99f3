//! The machine's real-time clock: an MC146818, or what stands in for it in a chipset, behind an index and a data port.
//!
//! The index can be written and not read, and the guest may be between writing it and using it. So each access of the guest's to
//! these ports leaves the guest and is carried out here, which tells the index; whoever reads the clock in VMX-root writes the
//! guest's index again before anybody else comes here. The guest finds nothing but that it took a little longer.
//!
//! In VMX-root, by one core at a time; nothing here waits. Of a machine whose driver uses a network: it wants to know the time.

mod calendar;

pub use calendar::{Reading, zone_us};

use crate::port::{PortRange, RegisterIo};

/// Index and data, and the same for the second bank of memory, which some chipsets have. Where they lack it, or it is turned off,
/// its ports are other names of the first ("RTC I/O Registers" of Intel's chipsets: 70h, 72h, 74h, 76h).
pub const PORTS: PortRange = PortRange {
    first: 0x70,
    count: 8,
};

/// Registers by number, from [`PORTS`]' first port on.
const INDEX: u8 = 0;
const DATA: u8 = 1;
/// Numbers of index ports are even.
const IS_DATA: u8 = 1;
/// In the index it keeps NMIs from the processors.
const NMI_MASK: u8 = 1 << 7;

/// MC146818A data sheet, "Address Map".
mod address {
    pub(super) const SECONDS: u8 = 0;
    pub(super) const MINUTES: u8 = 2;
    pub(super) const HOURS: u8 = 4;
    pub(super) const DAY: u8 = 7;
    pub(super) const MONTH: u8 = 8;
    pub(super) const YEAR: u8 = 9;
    pub(super) const A: u8 = 10;
    pub(super) const B: u8 = 11;
    pub(super) const D: u8 = 13;
}

/// Register A: the time changes now, or within 244 us.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Register B: somebody sets the time.
const SET: u8 = 1 << 7;
/// Register D: the battery was never empty.
const VALID: u8 = 1 << 7;

/// See the module.
#[derive(Debug)]
pub struct Rtc<R> {
    registers: R,
    /// What the guest wrote to the index port; none as long as that is not known.
    index: Option<u8>,
    /// Where the firmware says that the century is.
    century: Option<u8>,
    /// What the clock is behind the time since 1970: it may have a time zone.
    zone_us: Option<i64>,
}

impl<R: RegisterIo> Rtc<R> {
    /// Nothing is read before the guest was seen writing the index. `century` is where the firmware says that it is; 0: nowhere.
    #[must_use]
    pub const fn new(registers: R, century: u8) -> Self {
        let is_there = century > address::D && century < NMI_MASK;
        Self {
            registers,
            index: None,
            century: if is_there { Some(century) } else { None },
            zone_us: None,
        }
    }

    /// The guest reads one of [`PORTS`], by number.
    pub fn guest_reads(&mut self, register: u8) -> u8 {
        self.registers.read(register)
    }

    /// The guest writes one.
    pub fn guest_writes(&mut self, register: u8, value: u8) {
        match register {
            INDEX => self.index = Some(value),
            other if other & IS_DATA != 0 => {}
            // Another bank's, or this one's by another name.
            _ => self.index = None,
        }
        self.registers.write(register, value);
    }

    /// The guest does something to the ports that is not followed.
    pub const fn lose_index(&mut self) {
        self.index = None;
    }

    /// Microseconds since 1970, if the clock can be read right now and says something that can be. `system_us` is what the
    /// operating system's clock would say: the first time tells the time zone in which this one runs.
    pub fn now_us(&mut self, system_us: u64) -> Option<u64> {
        let local_us = self.read()?.local_us()?;
        let zone_us = *self
            .zone_us
            .get_or_insert_with(|| zone_us(system_us, local_us));
        local_us.checked_add_signed(zone_us)
    }

    /// Reads all of it twice, since this may have taken longer than the clock grants.
    fn read(&mut self) -> Option<Reading> {
        let index = self.index?;
        let once = self.read_once(index);
        let again = self.read_once(index);
        self.registers.write(INDEX, index);
        once.filter(|once| again.as_ref() == Some(once))
    }

    fn read_once(&mut self, index: u8) -> Option<Reading> {
        let mut at = |address: u8| {
            self.registers.write(INDEX, index & NMI_MASK | address);
            self.registers.read(DATA)
        };
        // Where there is no clock all bits are ones.
        if at(address::A) & UPDATE_IN_PROGRESS != 0 {
            return None;
        }
        let mode = at(address::B);
        if mode & SET != 0 || at(address::D) & VALID == 0 {
            return None;
        }
        Some(Reading {
            second: at(address::SECONDS),
            minute: at(address::MINUTES),
            hour: at(address::HOURS),
            day: at(address::DAY),
            month: at(address::MONTH),
            year: at(address::YEAR),
            century: self.century.map(at),
            mode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::rtc::FakeRtc;

    /// 2026-11-30, a Monday.
    const NOON_US: u64 = 1_796_040_000_000_000;

    fn clock() -> Rtc<FakeRtc> {
        Rtc::new(FakeRtc::at([0x00, 0x00, 0x12, 0x30, 0x11, 0x26]), 0)
    }

    #[test]
    fn the_guests_index_is_there_again_after_the_clock_was_read() {
        let mut rtc = clock();
        assert_eq!(rtc.now_us(NOON_US), None, "nobody knows the index");
        for index in [0x09, 0x8b] {
            rtc.registers.indices.clear();
            rtc.guest_writes(INDEX, index);
            assert_eq!(rtc.now_us(NOON_US), Some(NOON_US));
            let masks = rtc.registers.indices.iter().map(|it| it & NMI_MASK);
            assert!(masks.clone().count() > 10);
            assert!(masks.clone().all(|mask| mask == index & NMI_MASK));
            let expected = rtc.registers.cells[usize::from(index & !NMI_MASK)];
            assert_eq!(rtc.guest_reads(DATA), expected);
        }
        rtc.guest_writes(DATA, 0x06);
        assert_eq!(rtc.registers.cells[0x0b], 0x06);
    }

    #[test]
    fn a_second_bank_that_may_be_the_first_leaves_the_index_unknown() {
        for lose in [
            |rtc: &mut Rtc<FakeRtc>| rtc.guest_writes(2, 0x10),
            |rtc: &mut Rtc<FakeRtc>| rtc.lose_index(),
        ] {
            let mut rtc = clock();
            rtc.guest_writes(INDEX, 0);
            rtc.guest_writes(3, 0xff);
            assert!(rtc.now_us(NOON_US).is_some());
            lose(&mut rtc);
            let written = rtc.registers.indices.len();
            assert_eq!(rtc.now_us(NOON_US), None);
            assert_eq!(rtc.registers.indices.len(), written);
            rtc.guest_writes(INDEX, 0);
            assert!(rtc.now_us(NOON_US).is_some());
        }
    }

    #[test]
    fn a_clock_that_changes_is_set_has_lost_its_battery_or_is_none_says_nothing() {
        for (at, value) in [(0x0a, 0xa6), (0x0b, 0x82), (0x0d, 0x00), (0x08, 0x13)] {
            let mut rtc = clock();
            rtc.registers.cells[at] = value;
            rtc.guest_writes(INDEX, 0);
            assert_eq!(rtc.now_us(NOON_US), None, "{at:x}");
        }
        let mut none = Rtc::new(FakeRtc::none(), 0x32);
        none.guest_writes(INDEX, 0x0a);
        assert_eq!(none.now_us(NOON_US), None);
        assert_eq!(none.registers.indices.last(), Some(&0x0a));
        // It changes between the first time and the second.
        let mut rtc = clock();
        rtc.registers.ticks_at_read = Some(12);
        rtc.guest_writes(INDEX, 0);
        assert_eq!(rtc.now_us(NOON_US), None);
        assert_eq!(rtc.now_us(NOON_US), Some(NOON_US + 1_000_000));
    }

    #[test]
    fn the_time_zone_is_what_the_first_reading_told() {
        const HOUR_US: u64 = 3_600_000_000;
        let mut rtc = clock();
        rtc.guest_writes(INDEX, 0);
        let system_us = NOON_US + 5 * HOUR_US + 700_000;
        assert_eq!(rtc.now_us(system_us), Some(NOON_US + 5 * HOUR_US));
        // The system's clock is that of a machine that was restored; this one went on.
        rtc.registers.cells[4] = 0x14;
        assert_eq!(rtc.now_us(system_us), Some(NOON_US + 7 * HOUR_US));
    }

    #[test]
    fn the_century_is_read_where_the_firmware_says() {
        let mut rtc = Rtc::new(FakeRtc::at([0x00, 0x00, 0x12, 0x30, 0x11, 0x26]), 0x32);
        rtc.registers.cells[0x32] = 0x21;
        rtc.guest_writes(INDEX, 0);
        let century_us = 36_524 * 86_400_000_000;
        assert_eq!(rtc.now_us(NOON_US), Some(NOON_US + century_us));
    }
}
