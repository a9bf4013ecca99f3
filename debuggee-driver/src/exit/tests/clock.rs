//! The guest's accesses to the real-time clock, where they leave it.

extern crate std;

use super::events::{cpu, install, instruction, read, set, watch};
use super::machine::{Machine, RAM};
use super::on_a_large_stack;
use crate::cores::exclusive::Exclusive;
use crate::fake::rtc::FakeRtc;
use crate::fake::world::BITMAPS;
use crate::port::{Cpu, PhysicalMemory, gpr};
use crate::rtc::{PORTS, Rtc};
use crate::vmx::{guest, reason, ro};
use std::boxed::Box;
use wire_protocol::event::{Settings, Trigger};

const IN: u64 = 8;
const STRING: u64 = 0x10;
const NOON: [u8; 6] = [0x00, 0x00, 0x12, 0x30, 0x11, 0x26];
const NOON_US: u64 = 1_796_040_000_000_000;

fn machine() -> Machine {
    Machine::with(|parts| {
        let rtc = Exclusive::new(Rtc::new(FakeRtc::at(NOON), 0));
        parts.rtc = Some(Box::leak(Box::new(rtc)));
        parts.fixed.bitmaps.clock_ports = PORTS;
    })
}

/// An access of `size_bytes`, with this in RAX; what is there afterwards.
fn access(machine: &mut Machine, port: u64, form: u64, size_bytes: u64, rax: u64) -> u64 {
    cpu(machine).registers_mut()[gpr::RAX] = rax;
    let qualification = port << 16 | form | (size_bytes - 1);
    set(machine, &[(ro::EXIT_QUALIFICATION, qualification)]);
    instruction(machine, reason::IO);
    cpu(machine).registers()[gpr::RAX]
}

fn now_us(machine: &Machine) -> Option<u64> {
    let rtc = machine.shared.rtc.unwrap();
    rtc.try_with(|rtc| rtc.now_us(NOON_US)).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn the_clocks_ports_are_read_and_written_for_the_guest() {
    on_a_large_stack(|| {
        let mut machine = machine();
        let bits = |machine: &Machine| machine.shared.memory.read_u64(BITMAPS.io + 8) >> 48;
        assert_eq!(bits(&machine), 0xff);
        assert_eq!(now_us(&machine), None);
        access(&mut machine, 0x70, 0, 1, 0xffff_ff04);
        assert_eq!(read(&machine, guest::RIP), RAM + 2);
        assert_eq!(now_us(&machine), Some(NOON_US));
        // What another core did in between does not show.
        assert_eq!(
            access(&mut machine, 0x71, IN, 1, 0x1234_5678_9abc_deff),
            0x1234_5678_9abc_de12
        );
        // Both at once: the index first.
        access(&mut machine, 0x70, 0, 2, 0x1307);
        assert_eq!(access(&mut machine, 0x70, IN, 2, 0), 0x13ff);
        assert_eq!(access(&mut machine, 0x71, IN, 4, u64::MAX), 0xffff_ff13);
        assert!(!machine.traps(0));
    });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn what_is_watched_of_the_clock_is_told_and_can_be_skipped() {
    on_a_large_stack(|| {
        let mut machine = machine();
        let index = watch(&mut machine, Trigger::IoOut { port: Some(0x70) });
        let data = watch(&mut machine, Trigger::IoIn { port: Some(0x71) });
        access(&mut machine, 0x70, 0, 1, 0x09);
        assert_eq!(access(&mut machine, 0x71, IN, 1, 0), 0x26);
        assert_eq!([index, data].map(|event| machine.hits(event)), [1, 1]);
        let mut skips = Settings::new(Trigger::IoOut { port: Some(0x71) });
        skips.actions = wire_protocol::event::Actions::empty();
        skips.options.short_circuit = true;
        install(&mut machine, skips);
        access(&mut machine, 0x71, 0, 1, 0x55);
        assert_eq!(access(&mut machine, 0x71, IN, 1, 0), 0x26);
    });
}

/// No driver of the clock uses OUTS, or an access that begins at a port before it.
#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn an_access_that_is_not_followed_is_the_guests_and_the_index_is_unknown_then() {
    on_a_large_stack(|| {
        for (port, form, size_bytes) in [(0x70, STRING, 1), (0x6e, 0, 4)] {
            let mut machine = machine();
            access(&mut machine, 0x70, 0, 1, 0);
            assert!(now_us(&machine).is_some());
            access(&mut machine, port, form, size_bytes, 0);
            assert!(machine.traps(0));
            assert_eq!(read(&machine, guest::RIP), RAM);
            assert_eq!(now_us(&machine), None);
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn a_clock_that_another_core_has_is_asked_for_again() {
    on_a_large_stack(|| {
        let mut machine = machine();
        let rtc = machine.shared.rtc.unwrap();
        rtc.try_with(|_| {
            access(&mut machine, 0x70, 0, 1, 0);
            assert_eq!(read(&machine, guest::RIP), RAM);
        });
        access(&mut machine, 0x70, 0, 1, 0);
        assert_eq!(read(&machine, guest::RIP), RAM + 2);
    });
}
