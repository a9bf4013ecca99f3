//! How sessions begin and end, and what a core does that cannot go on.

extern crate std;

use super::machine::{DRIVER, Machine, TOKEN, line};
use super::on_a_large_stack;
use crate::exit::core::Outcome;
use crate::exit::{Death, Fault, hypercall};
use crate::halt::{self, Stopped};
use crate::port::{Cpu, gpr};
use crate::vmx::guest;
use core::sync::atomic::Ordering::SeqCst;
use std::vec;
use std::vec::Vec;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::frame::BREAK_IN;
use wire_protocol::link::{Link, Role, Storage, Timing};
use wire_protocol::packet::{Features, Request, StopCause};

const KERNEL: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);

#[test]
fn a_break_in_counts_within_a_session_only() {
    on_a_large_stack(|| {
        for (halts_without_session, is_in_session) in [(false, false), (false, true), (true, false)]
        {
            let machine = Machine::with(|parts| {
                parts.line = line(&BREAK_IN);
                parts.fixed.halts_without_session = halts_without_session;
                if is_in_session {
                    parts.line.base = KERNEL;
                }
            });
            let counts = halts_without_session || is_in_session;
            let cpu = &machine.cores[0].cpu;
            assert_eq!(halt::poll(cpu, machine.shared), counts);
        }
    });
}

/// What a host sends that shakes hands, breaks in so often, and lets the debuggee go. Whether it has heard of the halt
/// each time.
pub(super) fn conversation(break_ins: &[bool]) -> Vec<u8> {
    let timing = Timing {
        retry_us: 1 << 40,
        ack_delay_us: 0,
        answer_us: 500_000,
        byte_time_ns: 0,
    };
    let (mut near, mut far) = (vec![0; Storage::BYTES], vec![0; Storage::BYTES]);
    let mut host = Link::new(Role::Initiator, Storage::carve(&mut near).unwrap(), timing);
    let mut driver = Link::new(Role::Responder, Storage::carve(&mut far).unwrap(), timing);
    let mut sent = Vec::new();
    let mut exchange = |host: &mut Link<'_>, is_answered: bool| {
        if is_answered {
            driver.send(b"an answer").unwrap();
        }
        for now_us in 0..10 {
            while let Some(byte) = host.pull(now_us) {
                sent.push(byte);
                driver.push(byte, now_us);
                driver.release();
            }
            if is_answered {
                // The answer takes its time.
                sent.extend([0; 1024]);
            }
            while let Some(byte) = driver.pull(now_us) {
                host.push(byte, now_us);
                host.release();
            }
        }
    };
    let ask = |host: &mut Link<'_>, request: Request<'_>, base| {
        let mut buffer = [0; 32];
        let mut out = Writer::new(&mut buffer);
        request.encode(1, base, &mut out).unwrap();
        host.send(out.written()).unwrap();
    };
    host.connect(7);
    exchange(&mut host, false);
    let features = Features::empty();
    ask(&mut host, Request::Hello { features }, GuestVirtual(0));
    exchange(&mut host, true);
    for is_heard in break_ins {
        host.break_in();
        exchange(&mut host, *is_heard);
    }
    ask(&mut host, Request::Go, KERNEL);
    exchange(&mut host, false);
    sent
}

/// Bytes that are queued for the host after a halt in which it sent this.
fn answered_bytes(sent: &[u8]) -> usize {
    let mut machine = Machine::with(|parts| {
        parts.line = line(sent);
        parts.facts.kernel_base = KERNEL;
    });
    let shared = machine.shared;
    let [core, other] = &mut machine.cores;
    core.cpu.ticks_per_look = shared.clock.timeout_ticks() / 10;
    other.seat.wait_for_sipi(|| {
        let cause = StopCause::BreakIn;
        let stopped = halt::stop(&mut core.seat, &mut core.cpu, shared, cause, None);
        assert!(matches!(stopped, Stopped::Served { .. }));
    });
    shared.line.try_with(|line| line.queued_bytes()).unwrap()
}

#[test]
fn a_break_in_that_arrives_in_a_halt_is_answered_by_the_stop() {
    on_a_large_stack(|| {
        let unheard = |break_ins: &[bool]| answered_bytes(&conversation(break_ins));
        let (none, one) = (unheard(&[]), unheard(&[false]));
        assert!(one > none + 8, "a stop");
        assert_eq!(unheard(&[false, false]), one, "it is under way");
        assert_eq!(unheard(&[true]), none);
        assert_eq!(unheard(&[true, false]), one, "it is told again");
    });
}

#[test]
fn a_driver_that_halts_at_load_listens_once_a_host_has_let_it_go() {
    on_a_large_stack(|| {
        for halts in [false, true] {
            let mut machine = Machine::with(|parts| {
                parts.line = line(&conversation(&[]));
                parts.facts.kernel_base = KERNEL;
                parts.fixed.halts_without_session = halts;
            });
            let shared = machine.shared;
            let [core, other] = &mut machine.cores;
            core.cpu.ticks_per_look = shared.clock.timeout_ticks() / 10;
            core.cpu.vmwrite(guest::RIP, DRIVER);
            let registers = core.cpu.registers_mut();
            registers[gpr::RAX] = hypercall::MAGIC;
            registers[gpr::RCX] = hypercall::ARM;
            registers[gpr::RSI] = TOKEN;
            let outcome = other.seat.wait_for_sipi(|| hypercall::handle(core));
            assert!(matches!(outcome, Outcome::Advance));
            assert_eq!(shared.halts.load(SeqCst), u32::from(halts));
            assert!(shared.poll.is_by(CoreId(0)));
        }
    });
}

#[test]
fn a_core_that_cannot_go_on_leaves_the_line_to_one_that_can() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let shared = machine.shared;
        shared.poll.set_on(true);
        let [first, second] = &mut machine.cores;
        Death::new(first, Fault::of_exit(2, 0));
        assert!(shared.rendezvous.has_died(CoreId(0)));
        assert!(shared.poll.is_by(CoreId(1)));
        // The last one has to do it itself.
        Death::new(second, Fault::of_exit(2, 0));
        assert!(shared.poll.is_by(CoreId(1)));
    });
}

#[test]
fn a_core_that_cannot_go_on_tells_so_once() {
    on_a_large_stack(|| {
        let mut machine = Machine::with(|parts| {
            parts.line = line(&conversation(&[]));
            parts.facts.kernel_base = KERNEL;
        });
        let shared = machine.shared;
        let [core, other] = &mut machine.cores;
        core.cpu.ticks_per_look = shared.clock.timeout_ticks() / 10;
        let mut death = Death::new(core, Fault::of_exit(2, 0));
        other.seat.wait_for_sipi(|| {
            for _ in 0..3 {
                death.turn(core);
            }
        });
        // A second halt would wait for a host for ever.
        assert!(shared.rendezvous.has_died(CoreId(0)));
    });
}
