//! A made-up debuggee behind a Unix socket: it speaks the real link and the real messages, and
//! keeps its registers, memory and events in tables. It tests logic, not a hypervisor.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::crc::crc32;
use wire_protocol::event::{EventChange, EventEntry, FreeCounts, PoolClass, PoolLine, Trigger};
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{
    AddResults, Constants, CoreState, CoreStates, EventEntries, Features, Hello, Hits, MemoryAt,
    Message, ModuleLayout, Notice, PROTOCOL_VERSION, PoolLines, RamRange, RamRanges,
    RegisterValues, Reply, Request, Stop, StopCause, events_digest,
};
use wire_protocol::refusal::Refusal;

pub(crate) const KERNEL: u64 = 0xffff_ffff_9100_0000;
pub(crate) const MEMORY_BYTES: u64 = 0x1_0000;
const POOL: u32 = 20;
const CODE: [u8; 6] = [0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3];

/// One module, `toy`, in the kernel's own shape.
const MODULES: ModuleLayout = ModuleLayout {
    list_head: KERNEL + 0x4000,
    list: 8,
    name: 24,
    base: 0x60,
    size: 0x68,
    kallsyms: 0x70,
    kallsyms_symtab: 0,
    kallsyms_count: 8,
    kallsyms_strtab: 16,
};
/// Where the module's code is.
pub(crate) const TOY: u64 = 0xffff_ffff_c000_0000;

fn put_module(memory: &mut [u8]) {
    let mut put = |at: usize, value: u64| memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0x4000, KERNEL + 0x4108);
    put(0x4108, KERNEL + 0x4000);
    put(0x4118, u64::from_le_bytes(*b"toy\0\0\0\0\0"));
    put(0x4160, TOY);
    put(0x4168, 0x1000);
    put(0x4170, KERNEL + 0x4200);
    put(0x4200, KERNEL + 0x4300);
    put(0x4208, 2);
    put(0x4210, KERNEL + 0x4400);
    // A global function, name at 1, in section 1.
    put(0x4318, 1 | 0x12 << 32 | 1 << 48);
    put(0x4320, TOY + 0x40);
    put(0x4401, u64::from_le_bytes(*b"toy_play"));
}

/// What tests can change and look at while the debuggee works.
#[derive(Default)]
pub(crate) struct Controls {
    /// Takes requests and does not answer.
    pub(crate) is_mute: AtomicBool,
    /// Ignores so many break-ins.
    pub(crate) deaf_for: AtomicU32,
    /// Closes the connection.
    pub(crate) hang_up: AtomicBool,
    /// The event that is hit as soon as the debuggee runs.
    pub(crate) hit_after_go: AtomicBool,
    /// Answers with a wrong digest of events once, and lists one more event.
    pub(crate) extra_event: AtomicBool,
    /// Reads that were answered with "as expected".
    pub(crate) confirmed: AtomicU32,
    /// Kinds of all requests, in order.
    pub(crate) requests: Mutex<Vec<String>>,
}

pub(crate) struct Debuggee {
    pub(crate) socket: PathBuf,
    pub(crate) controls: Arc<Controls>,
    folder: tempfile::TempDir,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Debuggee {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("line");
        let listener = UnixListener::bind(&socket).expect("a socket");
        listener.set_nonblocking(true).expect("supported");
        let controls = Arc::new(Controls::default());
        let end = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(&controls), Arc::clone(&end));
        let thread = std::thread::spawn(move || serve(&listener, &shared, &stop));
        Self {
            socket,
            controls,
            folder,
            end,
            thread: Some(thread),
        }
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("writable");
        path
    }

    pub(crate) fn symbols(&self) -> PathBuf {
        self.file(
            "System.map",
            "ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81001000 T do_sys_openat2\n\
             ffffffff81002000 T vfs_read\nffffffff81010000 T _end\n",
        )
    }

    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.controls.requests.lock().expect("unpoisoned"))
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("the fake debuggee works");
            }
        }
    }
}

struct Machine {
    base: GuestVirtual,
    halt: u32,
    stop: Option<(StopCause, CoreId)>,
    registers: Vec<BTreeMap<u8, u64>>,
    memory: Vec<u8>,
    events: Vec<EventEntry>,
    next_event: u32,
}

fn serve(listener: &UnixListener, controls: &Controls, end: &AtomicBool) {
    let mut memory = vec![0; Storage::BYTES];
    let storage = Storage::carve(&mut memory).expect("enough");
    let timing = Timing {
        retry_us: 100_000,
        ack_delay_us: 5_000,
        byte_time_ns: 0,
    };
    let mut link = Link::new(Role::Responder, storage, timing);
    let mut machine = Machine {
        base: GuestVirtual(0),
        halt: 0,
        stop: None,
        registers: (0..2_u64)
            .map(|core| {
                (0..45)
                    .map(|n| (n, 0x1000 * (core + 1) + u64::from(n)))
                    .collect()
            })
            .collect(),
        memory: vec![0; MEMORY_BYTES as usize],
        events: Vec::new(),
        next_event: 0,
    };
    machine.memory[0x1000..0x1000 + CODE.len()].copy_from_slice(&CODE);
    put_module(&mut machine.memory);
    for core in &mut machine.registers {
        core.insert(16, KERNEL + 0x1000);
    }
    let started = Instant::now();
    let mut line = None;
    while !end.load(Ordering::Relaxed) {
        if controls.hang_up.swap(false, Ordering::Relaxed) {
            line = None;
        }
        if let Ok((stream, _)) = listener.accept() {
            stream
                .set_read_timeout(Some(Duration::from_millis(2)))
                .expect("supported");
            line = Some(stream);
        }
        let Some(stream) = line.as_mut() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let now = || started.elapsed().as_micros() as u64;
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => line = None,
            Ok(count) => {
                for byte in &bytes[..count] {
                    match link.push(*byte, now()) {
                        Some(Incoming::Message) => {
                            let request = link.message().to_vec();
                            link.release();
                            answer(&mut machine, &mut link, &request, controls);
                        }
                        Some(Incoming::BreakIn) => break_in(&mut machine, &mut link, controls),
                        Some(Incoming::Connected) => machine.base = GuestVirtual(0),
                        None => {}
                    }
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => line = None,
        }
        let Some(stream) = line.as_mut() else {
            continue;
        };
        loop {
            let count = link.pull_into(&mut bytes, now());
            if count == 0 || stream.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    }
}

fn break_in(machine: &mut Machine, link: &mut Link<'_>, controls: &Controls) {
    if controls.deaf_for.load(Ordering::Relaxed) > 0 {
        controls.deaf_for.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    if machine.stop.is_none() {
        machine.stop(StopCause::BreakIn, CoreId(0), link);
    }
}

fn send(link: &mut Link<'_>, message: &Message<'_>, base: GuestVirtual) {
    let mut buffer = vec![0; limits::MESSAGE_BYTES];
    let mut out = Writer::new(&mut buffer);
    message.encode(base, &mut out).expect("fits");
    link.send(out.written()).expect("room");
}

impl Machine {
    fn stop(&mut self, cause: StopCause, core: CoreId, link: &mut Link<'_>) {
        self.halt += 1;
        self.stop = Some((cause, core));
        if self.base.0 != 0 {
            let mut scratch = [0; 4096];
            let stop = self.describe(&mut scratch).expect("halted");
            send(link, &Message::Notice(Notice::Stopped(stop)), self.base);
        }
    }

    fn describe<'s>(&self, scratch: &'s mut [u8]) -> Option<Stop<'s>> {
        let (cause, core) = self.stop?;
        let hits = self
            .events
            .iter()
            .filter(|e| e.hits > 0)
            .map(|e| (e.id, e.hits));
        Some(Stop {
            halt: self.halt,
            cause,
            core,
            rip: GuestVirtual(KERNEL + 0x1000),
            code: &CODE,
            missing_cores: 0,
            hits: Hits::encode_into(hits, GuestVirtual(0), scratch).expect("fits"),
        })
    }

    fn free(&self) -> FreeCounts {
        let left = POOL.saturating_sub(self.events.len() as u32);
        FreeCounts {
            regular_events: left,
            big_events: 0,
            ept_hooks: left,
        }
    }

    fn at(&self, at: MemoryAt) -> Result<usize, Refusal> {
        match at {
            MemoryAt::Virtual { address, .. } => address
                .0
                .checked_sub(KERNEL)
                .filter(|offset| *offset < MEMORY_BYTES)
                .map(|offset| offset as usize)
                .ok_or(Refusal::NotPresent { address }),
            MemoryAt::Physical { address } if address.0 < MEMORY_BYTES => Ok(address.0 as usize),
            MemoryAt::Physical { address } => Err(Refusal::PhysicalOutOfRange {
                address,
                limit: GuestPhysical(MEMORY_BYTES),
            }),
        }
    }
}

fn answer(machine: &mut Machine, link: &mut Link<'_>, message: &[u8], controls: &Controls) {
    let (id, request) = Request::decode(message, machine.base).expect("readable");
    let name = format!("{request:?}");
    let name = name
        .split([' ', '{', '('])
        .next()
        .unwrap_or_default()
        .to_owned();
    controls.requests.lock().expect("unpoisoned").push(name);
    if controls.is_mute.load(Ordering::Relaxed) {
        return;
    }
    let base = machine.base;
    let mut scratch = vec![0; limits::MESSAGE_BYTES];
    let mut more = vec![0; 4096];
    let needs_halt = !matches!(
        request,
        Request::Hello { .. } | Request::Cores | Request::Pools
    );
    if needs_halt && machine.stop.is_none() {
        let reply = Reply::Refused(Refusal::NotHalted);
        return send(link, &Message::Reply { id, reply }, base);
    }
    let mut was_hello = false;
    let reply = match request {
        Request::Hello { .. } => {
            was_hello = true;
            hello(machine, &mut scratch, &mut more)
        }
        Request::Go => {
            machine.stop = None;
            Reply::Done
        }
        Request::Cores => {
            let rip = GuestVirtual(KERNEL + 0x2000);
            let states = [CoreState::Halted { rip }, CoreState::WaitForSipi];
            Reply::Cores(CoreStates::encode_into(states, base, &mut scratch).expect("fits"))
        }
        Request::ReadRegisters { core, set } => {
            let values: Vec<u64> = set
                .iter()
                .map(|r| machine.registers[usize::from(core.0)][&(r as u8)])
                .collect();
            Reply::Registers {
                set,
                values: RegisterValues::encode_into(values, &mut scratch).expect("fits"),
            }
        }
        Request::WriteRegister {
            core,
            register,
            value,
        } => {
            machine.registers[usize::from(core.0)].insert(register as u8, value);
            Reply::Done
        }
        Request::ReadMemory {
            at,
            len_bytes,
            expected_crc,
        } => match machine.at(at) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(start) => {
                let end = machine.memory.len().min(start + len_bytes as usize);
                let bytes = &machine.memory[start..end];
                if expected_crc == Some(crc32(bytes)) {
                    controls.confirmed.fetch_add(1, Ordering::Relaxed);
                    let reply = Reply::MemoryAsExpected;
                    return send(link, &Message::Reply { id, reply }, base);
                }
                let packed = lz4_flex::block::compress(bytes);
                let compressed = packed.len() < bytes.len();
                let content = if compressed { &packed[..] } else { bytes };
                scratch[..content.len()].copy_from_slice(content);
                Reply::Memory {
                    len_bytes: bytes.len() as u32,
                    compressed,
                    bytes: &scratch[..content.len()],
                }
            }
        },
        Request::WriteMemory { at, bytes } => match machine.at(at) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(start) => {
                machine.memory[start..start + bytes.len()].copy_from_slice(bytes);
                Reply::Done
            }
        },
        Request::Translate { core, address } => {
            match machine.at(MemoryAt::Virtual { core, address }) {
                Err(refusal) => Reply::Refused(refusal),
                Ok(offset) => Reply::Physical {
                    address: GuestPhysical(offset as u64),
                    page_bytes: 2 << 20,
                },
            }
        }
        Request::AddEvents { events, .. } => {
            let mut results = Vec::new();
            for spec in events.iter() {
                if machine.events.len() as u32 == POOL {
                    results.push(Err(Refusal::PoolExhausted {
                        class: PoolClass::RegularEvent,
                        reserved: POOL,
                        object_bytes: 9000,
                        arena_left_bytes: 655_360,
                    }));
                    continue;
                }
                let id = EventId(machine.next_event);
                machine.next_event += 1;
                machine.events.push(EventEntry {
                    id,
                    spec,
                    enabled: true,
                    hits: 0,
                });
                results.push(Ok(id));
            }
            let mut digest = events_digest(machine.events.iter().copied());
            if controls.extra_event.swap(false, Ordering::Relaxed) {
                let mut extra = *machine.events.last().expect("one");
                extra.id = EventId(machine.next_event);
                extra.spec.trigger = Trigger::Cpuid { leaf: Some(0x77) };
                machine.next_event += 1;
                machine.events.push(extra);
                digest = events_digest(machine.events.iter().copied());
            }
            Reply::EventsAdded {
                results: AddResults::encode_into(results, base, &mut scratch).expect("fits"),
                free: machine.free(),
                digest,
            }
        }
        Request::ChangeEvents { change, event } => {
            let concerned = |e: &EventEntry| event.is_none_or(|id| id == e.id);
            let count = machine.events.iter().filter(|e| concerned(e)).count() as u32;
            if let (0, Some(event)) = (count, event) {
                let reply = Reply::Refused(Refusal::NoSuchEvent { event });
                return send(link, &Message::Reply { id, reply }, base);
            }
            match change {
                EventChange::Clear => machine.events.retain(|e| !concerned(e)),
                _ => {
                    for entry in machine.events.iter_mut().filter(|e| concerned(e)) {
                        entry.enabled = change == EventChange::Enable;
                    }
                }
            }
            Reply::EventsChanged {
                count,
                free: machine.free(),
                digest: events_digest(machine.events.iter().copied()),
            }
        }
        Request::ListEvents { from } => {
            let entries = machine.events.iter().filter(|e| e.id >= from).copied();
            Reply::Events(EventEntries::encode_into(entries, base, &mut scratch).expect("fits"))
        }
        Request::Prealloc { count, .. } => Reply::Carved {
            ready: count,
            queued: 0,
            free: machine.free().regular_events + count,
            arena_left_bytes: 1 << 20,
        },
        Request::Pools => {
            let lines = PoolClass::ALL.map(|class| PoolLine {
                class,
                object_bytes: 9000,
                reserved: POOL,
                in_use: machine.events.len() as u32,
            });
            Reply::Pools {
                lines: PoolLines::encode_into(lines, base, &mut scratch).expect("fits"),
                arena_carved_bytes: 1 << 20,
                arena_left_bytes: 15 << 20,
            }
        }
        Request::DigestMemory { address, len_bytes } => {
            let start = address.0 as usize;
            let bytes = &machine.memory[start..start + len_bytes as usize];
            Reply::Digest(xxhash_rust::xxh64::xxh64(bytes, 0))
        }
    };
    let is_go = matches!(request, Request::Go);
    send(link, &Message::Reply { id, reply }, base);
    if was_hello {
        machine.base = GuestVirtual(KERNEL);
    }
    if is_go && controls.hit_after_go.load(Ordering::Relaxed) {
        let event = machine.events.first_mut().expect("an event");
        event.hits += 1;
        let cause = StopCause::Event { event: event.id };
        machine.stop(cause, CoreId(1), link);
    }
}

fn hello<'s>(machine: &Machine, scratch: &'s mut [u8], more: &'s mut [u8]) -> Reply<'s> {
    let ram = [RamRange {
        start: 0,
        len_bytes: MEMORY_BYTES,
    }];
    Reply::Hello(Hello {
        version: PROTOCOL_VERSION,
        features: Features::COMPRESSED_MEMORY | Features::EXPECTED_MEMORY,
        session: 0x1234,
        cores: 2,
        kernel_base: GuestVirtual(KERNEL),
        direct_map_base: GuestVirtual(0xffff_8880_0000_0000),
        driver_image: (GuestVirtual(0), 0),
        tsc_khz: 2_000_000,
        modules: MODULES,
        constants: Constants::default(),
        banner: "Linux version 6.1 (made up)",
        ram: RamRanges::encode_into(ram, GuestVirtual(0), more).expect("fits"),
        stop: machine.describe(scratch),
    })
}
