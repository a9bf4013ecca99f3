//! A made-up debuggee behind a Unix socket: it speaks the real link and the real messages, and
//! keeps its registers, memory and events in tables. It tests logic, not a hypervisor.

mod answer;
pub(crate) mod host;
pub(crate) mod places;
pub(crate) mod script;
pub(crate) mod sessions;
mod tasks;

use answer::{answer, put_module};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::event::{EventEntry, FreeCounts, PoolClass};
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{
    Came, GuestSystem, Hits, MemoryAt, Message, Notice, Occasion, OccasionRule, OccasionText,
    Source, Stop, StopCause,
};
use wire_protocol::refusal::Refusal;
use wire_protocol::script::globals::Globals;

pub(crate) const KERNEL: u64 = 0xffff_ffff_9100_0000;
pub(crate) const MEMORY_BYTES: u64 = 0x1_0000;
const POOL: u32 = 20;
const CODE: [u8; 6] = [0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3];

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
    /// Every event with a script is hit so often as soon as the debuggee runs.
    pub(crate) script_hits: AtomicU32,
    /// Answers with a wrong digest of events once, and lists one more event.
    pub(crate) extra_event: AtomicBool,
    /// Reads that were answered with "as expected".
    pub(crate) confirmed: AtomicU32,
    /// Says that it runs this system.
    pub(crate) system: Mutex<Option<GuestSystem<'static>>>,
    /// Says that it speaks this version of the protocol.
    pub(crate) other_version: Mutex<Option<u16>>,
    /// The next halt is told like this, or not at all.
    pub(crate) next_stop: Mutex<Option<ToldStop>>,
    /// The driver says goodbye and is there no more, or is loaded anew.
    pub(crate) driver: Mutex<Option<Driver>>,
    /// The list of processes is a loop.
    pub(crate) lists_loop: AtomicBool,
    /// Core 1 dies.
    pub(crate) core_dies: AtomicBool,
    pub(crate) occasion: Mutex<Option<Occasion>>,
    /// Messages that are sent as they are, whatever they mean.
    pub(crate) raw: Mutex<Vec<Vec<u8>>>,
    /// Kinds of all requests, in order.
    pub(crate) requests: Mutex<Vec<String>>,
}

/// How a halt is told that is not told as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldStop {
    /// In words that cannot be read.
    Garbled,
    /// Not at all.
    Lost,
}

/// What becomes of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// It says goodbye and goes.
    Goes,
    /// It is loaded.
    Comes,
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
            "ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81000800 T finish_task_switch\nffffffff81001000 T do_sys_openat2\n\
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
    next_stop: Option<ToldStop>,
    is_loaded: bool,
    registers: Vec<BTreeMap<u8, u64>>,
    memory: Vec<u8>,
    events: Vec<EventEntry>,
    next_event: u32,
    globals: Vec<AtomicU64>,
    global_names: Globals,
    /// Scripts of events.
    scripts: BTreeMap<EventId, Vec<u8>>,
    /// Hits that are still to come.
    hits_left: u32,
    records_branches: bool,
    occasions: [OccasionRule; Occasion::COUNT],
    /// The kernel panics when it goes on.
    crashes: bool,
}

fn serve(listener: &UnixListener, controls: &Controls, end: &AtomicBool) {
    let mut link = new_link();
    // Its greeting still lies in the line.
    link.break_in();
    let mut machine = Machine {
        base: GuestVirtual(0),
        halt: 0,
        stop: None,
        next_stop: None,
        is_loaded: true,
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
        globals: script::globals(),
        global_names: Globals::new(),
        scripts: BTreeMap::new(),
        hits_left: 0,
        records_branches: false,
        occasions: Occasion::ALL.map(OccasionRule::at_first),
        crashes: false,
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
            // Nobody reads it.
            Ok(_) if !machine.is_loaded => {}
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
                        Some(Incoming::Busy | Incoming::TakenOver) | None => {}
                    }
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => line = None,
        }
        if link.is_idle() {
            machine.hit_scripts(&mut link);
        }
        match controls.driver.lock().expect("unpoisoned").take() {
            Some(Driver::Goes) => {
                send(&mut link, &Message::Notice(Notice::Goodbye), machine.base);
                machine.is_loaded = false;
            }
            Some(Driver::Comes) => {
                link = new_link();
                link.break_in();
                machine.base = GuestVirtual(0);
                machine.stop = None;
                machine.halt = 0;
                machine.is_loaded = true;
            }
            None => {}
        }
        if let Some(told) = controls.next_stop.lock().expect("unpoisoned").take() {
            machine.next_stop = Some(told);
        }
        if let Some(occasion) = controls.occasion.lock().expect("unpoisoned").take() {
            machine.come(occasion, &mut link);
        }
        if machine.stop.is_none() && std::mem::take(&mut machine.crashes) {
            machine.come(Occasion::Panic, &mut link);
        }
        if controls.core_dies.swap(false, Ordering::Relaxed) {
            let (reason, detail) = (2, 0);
            let cause = StopCause::CoreDied { reason, detail };
            machine.stop(cause, CoreId(1), &mut link);
        }
        for message in controls.raw.lock().expect("unpoisoned").drain(..) {
            link.send(&message).expect("room");
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
    match machine.stop {
        // The host does not know.
        Some(_) => machine.tell_stop(link),
        // The host asks again.
        None if machine.hits_left > 0 => {}
        None => machine.stop(StopCause::BreakIn, CoreId(0), link),
    }
}

/// The link of a driver that was just loaded.
fn new_link() -> Link<'static> {
    let memory = Box::leak(vec![0; Storage::BYTES].into_boxed_slice());
    let storage = Storage::carve(memory).expect("enough");
    let timing = Timing {
        retry_us: 100_000,
        ack_delay_us: 5_000,
        answer_us: 500_000,
        byte_time_ns: 0,
    };
    Link::new(Role::Responder, storage, timing)
}

fn send(link: &mut Link<'_>, message: &Message<'_>, base: GuestVirtual) {
    let mut buffer = vec![0; limits::MESSAGE_BYTES];
    let mut out = Writer::new(&mut buffer);
    message.encode(base, &mut out).expect("fits");
    link.send(out.written()).expect("room");
}

impl Machine {
    /// Some of the hits that are to come, so that the line has room for what they print.
    fn hit_scripts(&mut self, link: &mut Link<'_>) {
        let now = self.hits_left.min(100);
        if self.stop.is_some() || now == 0 {
            return;
        }
        self.hits_left -= now;
        let base = self.base;
        for (id, program) in self.scripts.clone() {
            let source = Source::Event(id);
            let ran = self.run(&program, 1, source, now, |message| {
                send(link, message, base)
            });
            let entry = self
                .events
                .iter_mut()
                .find(|e| e.id == id)
                .expect("it is there");
            entry.hits += u64::from(now);
            if ran.pauses && self.stop.is_none() {
                self.stop(StopCause::Event { event: id }, CoreId(1), link);
            }
        }
    }

    fn stop(&mut self, cause: StopCause, core: CoreId, link: &mut Link<'_>) {
        self.halt += 1;
        self.stop = Some((cause, core));
        self.tell_stop(link);
    }

    /// Something comes, and halts if that is wanted.
    fn come(&mut self, occasion: Occasion, link: &mut Link<'_>) {
        let (place, text): (_, &[u8]) = match occasion {
            Occasion::Panic => (0, b"no init found"),
            Occasion::ModuleLoad | Occasion::ModuleUnload => (answer::TOY, b"toy"),
            Occasion::Program => (0x40_1000, b"twin"),
            _ => (KERNEL + 0x2004, b"invalid opcode"),
        };
        let came = Came {
            occasion,
            place: GuestVirtual(place),
            number: 9,
            text: OccasionText::new(text),
        };
        if self.occasions.iter().any(|rule| rule.is_for(&came)) {
            self.stop(StopCause::Occasion(came), CoreId(1), link);
        }
    }

    fn tell_stop(&mut self, link: &mut Link<'_>) {
        if let Some(told) = self.next_stop.take() {
            if told == ToldStop::Garbled {
                link.send(&[0x80]).expect("room");
            }
            return;
        }
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
            task: Some(tasks::on_core(core, true)),
        })
    }

    fn left(&self) -> u32 {
        POOL.saturating_sub(self.events.len() as u32)
    }

    fn free(&self) -> FreeCounts {
        let left = self.left();
        FreeCounts::default()
            .with(PoolClass::RegularEvent, left)
            .with(PoolClass::EptHook, left)
    }

    fn at(&self, at: MemoryAt) -> Result<usize, Refusal> {
        match at {
            MemoryAt::Virtual { address, .. } | MemoryAt::Tables { address, .. } => address
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
