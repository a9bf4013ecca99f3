//! How sessions begin and end, and what a core does that cannot go on.

extern crate std;

use super::machine::{Machine, line};
use super::on_a_large_stack;
use crate::exit::{Death, Fault};
use crate::halt::{self, Stopped};
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

/// What a host sends that shakes hands, breaks in so often, and lets the debuggee go.
fn conversation(break_ins: usize) -> Vec<u8> {
    let timing = Timing {
        retry_us: 1 << 40,
        ack_delay_us: 0,
        byte_time_ns: 0,
    };
    let (mut near, mut far) = (vec![0; Storage::BYTES], vec![0; Storage::BYTES]);
    let mut host = Link::new(Role::Initiator, Storage::carve(&mut near).unwrap(), timing);
    let mut driver = Link::new(Role::Responder, Storage::carve(&mut far).unwrap(), timing);
    let mut sent = Vec::new();
    let mut exchange = |host: &mut Link<'_>| {
        for now_us in 0..10 {
            while let Some(byte) = host.pull(now_us) {
                sent.push(byte);
                driver.push(byte, now_us);
                driver.release();
            }
            while let Some(byte) = driver.pull(now_us) {
                host.push(byte, now_us);
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
    exchange(&mut host);
    let features = Features::empty();
    ask(&mut host, Request::Hello { features }, GuestVirtual(0));
    exchange(&mut host);
    for _ in 0..break_ins {
        host.break_in();
        exchange(&mut host);
    }
    ask(&mut host, Request::Go, KERNEL);
    exchange(&mut host);
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
    // The port takes no more than a few bytes.
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
        let [none, one, two] = [0, 1, 2].map(|count| answered_bytes(&conversation(count)));
        let stop = one - none;
        assert!(stop > 8, "a stop");
        assert_eq!(two, none + 2 * stop);
    });
}

#[test]
fn a_core_that_cannot_go_on_leaves_the_line_to_one_that_can() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        let shared = machine.shared;
        shared.poll.set_on(true);
        let [first, second] = &mut machine.cores;
        Death::new(first, shared, Fault::of_exit(2, 0));
        assert!(shared.rendezvous.has_died(CoreId(0)));
        assert!(shared.poll.is_by(CoreId(1)));
        // The last one has to do it itself.
        Death::new(second, shared, Fault::of_exit(2, 0));
        assert!(shared.poll.is_by(CoreId(1)));
    });
}

#[test]
fn a_core_that_cannot_go_on_tells_so_once() {
    on_a_large_stack(|| {
        let mut machine = Machine::with(|parts| {
            parts.line = line(&conversation(0));
            parts.facts.kernel_base = KERNEL;
        });
        let shared = machine.shared;
        let [core, other] = &mut machine.cores;
        core.cpu.ticks_per_look = shared.clock.timeout_ticks() / 10;
        let mut death = Death::new(core, shared, Fault::of_exit(2, 0));
        other.seat.wait_for_sipi(|| {
            for _ in 0..3 {
                death.turn(core, shared);
            }
        });
        // A second halt would wait for a host for ever.
        assert!(shared.rendezvous.has_died(CoreId(0)));
    });
}
