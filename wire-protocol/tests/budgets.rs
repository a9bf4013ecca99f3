//! What the work of a debugger costs on the wire: exact bytes of both directions, with framing
//! and acknowledgements, over two real links on a line that loses nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::Pair;
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::digest::Digest;
use wire_protocol::event::{
    EventChange, EventSpec, Filter, FreeCounts, PoolClass, Selection, Trigger,
};
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::pack::Packing;
use wire_protocol::packet::{
    AddResults, EventSpecs, Features, Hits, MemoryAt, Message, Notice, RegisterValues, Reply,
    Request, Stop, StopCause, StopTask, TaskName,
};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::{Register, RegisterSet};

const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
const KERNEL: GuestVirtual = GuestVirtual(0xffff_ffff_8145_6789);
const FAR_KERNEL: GuestVirtual = GuestVirtual(0xffff_ffff_81ff_fff0);
const MODULE: GuestVirtual = GuestVirtual(0xffff_ffff_c0ab_cdef);
const DIRECT_MAP: GuestVirtual = GuestVirtual(0xffff_8881_0234_5678);
const CORE: CoreId = CoreId(0);

fn request_bytes(request: &Request<'_>) -> Vec<u8> {
    let mut memory = vec![0; MESSAGE_BYTES];
    let mut out = Writer::new(&mut memory);
    request.encode(7, BASE, &mut out).unwrap();
    out.written().to_vec()
}

fn message_bytes(message: &Message<'_>) -> Vec<u8> {
    let mut memory = vec![0; MESSAGE_BYTES];
    let mut out = Writer::new(&mut memory);
    message.encode(BASE, &mut out).unwrap();
    out.written().to_vec()
}

fn reply_bytes(reply: Reply<'_>) -> Vec<u8> {
    message_bytes(&Message::Reply { id: 7, reply })
}

/// Bytes on the wire for requests and their replies, one after the other.
fn exchange(work: &[(Request<'_>, Reply<'_>)]) -> usize {
    let mut pair = Pair::connected();
    let before = pair.bytes;
    for (request, _) in work {
        pair.host.send(&request_bytes(request)).unwrap();
    }
    let mut replies = work.iter().map(|(_, reply)| reply_bytes(*reply));
    pair.settle_with(|_| replies.next());
    assert_eq!(pair.to_host.len(), work.len());
    assert_eq!(pair.host.statistics().repeated_frames, 0);
    assert_eq!(pair.debuggee.statistics().repeated_frames, 0);
    pair.bytes - before
}

#[track_caller]
fn hold(work: &str, budget: usize, bytes: usize) {
    println!("| {work} | {budget} | {bytes} |");
    assert!(bytes <= budget, "{work}: {bytes} bytes, budget {budget}");
}

fn hook<'a>(address: GuestVirtual) -> EventSpec<'a> {
    EventSpec::new(Trigger::EptHook { address })
}

/// Of the classes that a hook concerns.
fn free(regular_events: u32, pages: u32) -> FreeCounts {
    FreeCounts::default()
        .with(PoolClass::RegularEvent, regular_events)
        .with(PoolClass::EptHook, pages)
}

fn add(addresses: &[GuestVirtual], first_id: u32) -> (Vec<u8>, Vec<u8>) {
    let mut scratch = [0; 4096];
    let specs = addresses.iter().copied().map(hook);
    let request = request_bytes(&Request::AddEvents {
        core: CORE,
        all_or_nothing: true,
        events: EventSpecs::encode_into(specs, BASE, &mut scratch).unwrap(),
    });
    let results = (0..addresses.len() as u32).map(|n| Ok(EventId(first_id + n)));
    let mut scratch = [0; 4096];
    let reply = reply_bytes(Reply::EventsAdded {
        results: AddResults::encode_into(results, BASE, &mut scratch).unwrap(),
        free: free(200, 120),
        digest: 0xbeef,
    });
    (request, reply)
}

fn exchange_encoded(work: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let mut pair = Pair::connected();
    let before = pair.bytes;
    for (request, _) in work {
        pair.host.send(request).unwrap();
    }
    let mut replies = work.iter().map(|(_, reply)| reply.clone());
    pair.settle_with(|_| replies.next());
    assert_eq!(pair.to_host.len(), work.len());
    pair.bytes - before
}

#[test]
fn epthook_with_break_fits_its_budget() {
    for (place, address) in [
        ("kernel", KERNEL),
        ("kernel end", FAR_KERNEL),
        ("module", MODULE),
    ] {
        for (age, id) in [("first", 0), ("hundredth", 99)] {
            let bytes = exchange_encoded(&[add(&[address], id)]);
            hold(
                &format!("!epthook + break, {place}, {age} event"),
                48,
                bytes,
            );
        }
    }
}

#[test]
fn eighty_epthooks_from_a_script_fit_their_budget() {
    // Scattered over 16 MiB of text, as functions are.
    let addresses: Vec<_> = (0..80u64)
        .map(|n| GuestVirtual(BASE.0 + n.wrapping_mul(0x9e37_79b1) % (16 << 20)))
        .collect();
    let work = addresses.chunks(40).map(|half| add(half, 0));
    let bytes = exchange_encoded(&work.collect::<Vec<_>>());
    hold("80 x !epthook, two requests", 2000, bytes);
    hold(
        "80 x !epthook, one request",
        2000,
        exchange_encoded(&[add(&addresses, 0)]),
    );
}

#[test]
fn cpuid_event_for_one_process_fits_its_budget() {
    let mut spec = EventSpec::new(Trigger::Cpuid { leaf: Some(1) });
    spec.settings.filter = Filter {
        pid: Some(12_345),
        tid: None,
        core: Some(CoreId(1)),
    };
    let mut scratch = [0; 64];
    let events = EventSpecs::encode_into([spec], BASE, &mut scratch).unwrap();
    let request = Request::AddEvents {
        core: CORE,
        all_or_nothing: true,
        events,
    };
    let (_, reply) = add(&[KERNEL], 3);
    let bytes = exchange_encoded(&[(request_bytes(&request), reply)]);
    hold("!cpuid 1 pid core + break", 56, bytes);
}

#[test]
fn prealloc_fits_its_budget() {
    for (free, arena_left_bytes) in [(57, 40 << 20), (300, (200 << 20) + 64)] {
        let bytes = exchange(&[(
            Request::Prealloc {
                class: PoolClass::RegularEvent,
                count: 50,
            },
            Reply::Carved {
                ready: 50,
                queued: 0,
                free,
                arena_left_bytes,
            },
        )]);
        hold(
            &format!("prealloc 50, {free} free, {arena_left_bytes} bytes left"),
            40,
            bytes,
        );
    }
}

/// A core that stands in a system call.
fn typical(register: Register) -> u64 {
    match register {
        Register::Rax | Register::Rdi => DIRECT_MAP.0,
        Register::Rcx | Register::Rip => KERNEL.0,
        Register::Rdx => 0x1000,
        Register::Rsp | Register::Rbp => 0xffff_c900_0123_fe58,
        Register::Rbx | Register::R12 | Register::R13 => 0xffff_8881_0fed_c000,
        Register::Rsi => 0x7ffd_1234_5678,
        Register::R11 | Register::Rflags => 0x246,
        Register::R14 => u64::MAX - 10,
        Register::R15 => 0xffff_ea00_0412_3400,
        Register::Cs => 0x10,
        Register::Ss => 0x18,
        _ => 0,
    }
}

fn registers(value: impl Fn(Register) -> u64) -> usize {
    // What `r` shows.
    let shown = Register::ALL.into_iter().filter(|it| *it <= Register::Gs);
    let set = shown.fold(RegisterSet::EMPTY, RegisterSet::with);
    let values: Vec<_> = set.iter().map(value).collect();
    let mut scratch = [0; 512];
    exchange(&[(
        Request::ReadRegisters { core: CORE, set },
        Reply::Registers {
            set,
            values: RegisterValues::encode_into(values, &mut scratch).unwrap(),
        },
    )])
}

#[test]
fn general_registers_fit_their_budget() {
    hold("r, typical", 180, registers(typical));
    let worst = |register| match register {
        _ if (Register::Es..=Register::Gs).contains(&register) => 0xffff,
        _ => 0x8123_4567_89ab_cdef,
    };
    hold(
        "r, no value shorter than its register",
        226,
        registers(worst),
    );
}

#[test]
fn four_kibibytes_fit_their_budget() {
    let noise: Vec<u8> = (0..4096u32).map(|n| (n % 255 + 1) as u8).collect();
    for (place, address) in [("kernel", KERNEL), ("direct map", DIRECT_MAP)] {
        let bytes = exchange(&[(
            Request::ReadMemory {
                at: MemoryAt::Virtual {
                    core: CORE,
                    address,
                },
                len_bytes: 4096,
                expected: None,
            },
            Reply::Memory {
                len_bytes: 4096,
                packing: None,
                bytes: &noise,
            },
        )]);
        hold(&format!("4 KiB without a zero byte, {place}"), 4160, bytes);
    }
    for packing in [Packing::Model, Packing::Quick] {
        let bytes = exchange(&[(
            Request::ReadMemory {
                at: MemoryAt::Physical {
                    address: GuestPhysical(0xf_ffff_f000),
                },
                len_bytes: 4096,
                expected: None,
            },
            Reply::Memory {
                len_bytes: 4096,
                packing: Some(packing),
                bytes: noise.get(..2200).unwrap(),
            },
        )]);
        hold(
            &format!("4 KiB packed to 2200, {packing:?}, physical"),
            2300,
            bytes,
        );
    }
}

#[test]
fn expected_memory_fits_its_budget() {
    let bytes = exchange(&[(
        Request::ReadMemory {
            at: MemoryAt::Virtual {
                core: CORE,
                address: DIRECT_MAP,
            },
            len_bytes: 4096,
            expected: Some(Digest(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        },
        Reply::MemoryAsExpected,
    )]);
    hold("4 KiB as expected", 64, bytes);
}

#[test]
fn going_on_fits_its_budget() {
    hold("g", 64, exchange(&[(Request::Go, Reply::Done)]));
}

#[test]
fn changing_one_event_fits_its_budget() {
    let request = Request::ChangeEvents {
        change: EventChange::Clear,
        which: Selection::One(EventId(200)),
    };
    let free = free(200, 200);
    let reply = Reply::EventsChanged {
        count: 1,
        free,
        digest: 0xbeef,
    };
    hold("events c", 48, exchange(&[(request, reply)]));
}

#[test]
fn a_refusal_fits_its_budget() {
    let refusal = Refusal::NotPresent {
        address: DIRECT_MAP,
    };
    let bytes = exchange(&[(Request::Pools, Reply::Refused(refusal))]);
    hold("a refusal", 48, bytes);
}

fn stop(cause: StopCause, rip: GuestVirtual) -> Stop<'static> {
    Stop {
        halt: 300,
        cause,
        core: CoreId(1),
        rip,
        // The instruction alone is told. Most have no more bytes; each more is one more, with the longest name and all
        // registers changed.
        code: &[0x90; 5],
        missing_cores: 0,
        hits: Hits::EMPTY,
        task: Some(StopTask {
            pid: 1234,
            tid: 1235,
            name: TaskName::new(b"systemd-journal"),
            changed: Some(RegisterSet(0xff_ffff)),
        }),
    }
}

#[test]
fn break_in_with_its_stop_fits_its_budget() {
    for (place, rip) in [("kernel", KERNEL), ("user", GuestVirtual(0x7fff_1234_5678))] {
        let mut pair = Pair::connected();
        let before = pair.bytes;
        pair.host.break_in();
        pair.settle();
        assert_eq!(pair.break_ins, 1);
        let notice = Notice::Stopped(stop(StopCause::BreakIn, rip));
        let notice = message_bytes(&Message::Notice(notice));
        pair.debuggee.send(&notice).unwrap();
        pair.settle();
        assert_eq!(pair.to_host, [notice]);
        hold(&format!("break-in, {place}"), 64, pair.bytes - before);
    }
}

#[test]
fn event_stop_fits_its_budget() {
    let mut pair = Pair::connected();
    let before = pair.bytes;
    let mut scratch = [0; 64];
    let event = EventId(3);
    let mut stop = stop(StopCause::Event { event }, KERNEL);
    stop.hits = Hits::encode_into([(event, 1000)], BASE, &mut scratch).unwrap();
    let notice = Message::Notice(Notice::Stopped(stop));
    pair.debuggee.send(&message_bytes(&notice)).unwrap();
    pair.settle();
    hold("stop at an event, one hit count", 64, pair.bytes - before);
}

#[test]
fn a_session_begins_with_frames_that_fit_a_uart_fifo() {
    let mut pair = Pair::connected();
    hold("session: syn, syn-ack, ack", 35, pair.bytes);
    let hello = Request::Hello {
        features: Features::all(),
    };
    let before = pair.host.statistics().sent_bytes;
    pair.host.send(&request_bytes(&hello)).unwrap();
    while pair.host.pull(pair.now_us).is_some() {}
    let bytes = pair.host.statistics().sent_bytes - before;
    hold("hello", 16, bytes as usize);
}
