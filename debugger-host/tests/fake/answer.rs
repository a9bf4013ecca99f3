//! What the made-up debuggee answers.

use super::{Controls, KERNEL, MEMORY_BYTES, Machine, POOL, send, tasks};
use std::sync::atomic::Ordering;
use wire_protocol::address::{CoreId, EventId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::branch::{Branch, BranchKind, BranchOrder, Notes, filter};
use wire_protocol::digest::DigestKey;
use wire_protocol::event::{
    EventChange, EventEntry, PoolClass, PoolLine, Programs, Selection, Standing, Trigger,
};
use wire_protocol::limits;
use wire_protocol::link::Link;
use wire_protocol::pack::{self, Packing};
use wire_protocol::packet::{
    AddResults, Branches, Constants, CoreState, CoreStates, EventEntries, Features, GlobalOffset,
    GlobalOffsets, GuestSystem, Hello, Hits, LinuxLayout, MemoryAt, Message, MessageCounts, Notice,
    OccasionRules, PROTOCOL_VERSION, PoolLines, RamRanges, RegisterValues, Reply, Request, Source,
    StepBuffer, StepDetail, StepEnd, StepOrder, StepRecord, Stepped, Stop, StopCause, Until,
    events_digest,
};
use wire_protocol::refusal::{BranchObstacle, Refusal};
use wire_protocol::register::{Register, RegisterSet};

/// One module, `toy`, in the kernel's own shape; four processes and a BPF program.
const MODULES: LinuxLayout = LinuxLayout {
    list_head: KERNEL + 0x4000,
    list: 8,
    name: 24,
    base: 0x60,
    size: 0x68,
    kallsyms: 0x70,
    kallsyms_symtab: 0,
    kallsyms_count: 8,
    kallsyms_strtab: 16,
    init_task: KERNEL + 0x5000,
    task_tasks: 0,
    task_tgid: 8,
    task_comm: 16,
    bpf_head: KERNEL + 0x6000,
    bpf_list: 0x20,
    bpf_start: 0,
    bpf_end: 8,
    bpf_name: 16,
};
const KEY: DigestKey = DigestKey(*b"nobody else's...");
/// Where the module's code is.
pub(crate) const TOY: u64 = 0xffff_ffff_c000_0000;

pub(super) fn put_module(memory: &mut [u8]) {
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
    let processes = [
        (0, *b"swapper\0"),
        (0x1c, *b"lonely\0\0"),
        (0x30, *b"twin\0\0\0\0"),
        (0xcf, *b"twin\0\0\0\0"),
    ];
    for (index, (pid, name)) in processes.into_iter().enumerate() {
        let next = (index + 1) % processes.len();
        put(0x5000 + index * 0x40, KERNEL + 0x5000 + next as u64 * 0x40);
        put(0x5008 + index * 0x40, pid);
        put(0x5010 + index * 0x40, u64::from_le_bytes(name));
    }
    put(0x6000, KERNEL + 0x6120);
    put(0x6100, TOY + 0x8000);
    put(0x6108, TOY + 0x8040);
    put(0x6110, u64::from_le_bytes(*b"bpf_prog"));
    put(0x6118, u64::from_le_bytes(*b"_1_toy\0\0"));
    put(0x6120, KERNEL + 0x6000);
}

pub(super) fn answer(
    machine: &mut Machine,
    link: &mut Link<'_>,
    message: &[u8],
    controls: &Controls,
) {
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
        Request::Hello { .. }
            | Request::Cores
            | Request::Pools
            | Request::MessageCounts
            | Request::Flush
            | Request::EventPrograms { .. }
    );
    if needs_halt && machine.stop.is_none() {
        let reply = Reply::Refused(Refusal::NotHalted);
        return send(link, &Message::Reply { id, reply }, base);
    }
    let mut was_hello = false;
    let other_version = *controls.other_version.lock().expect("unpoisoned");
    let reply = match request {
        Request::Hello { .. } if other_version.is_some() => {
            let (body, _) = scratch.split_at(3);
            let version = other_version.unwrap_or_default();
            Reply::ForeignHello { version, body }
        }
        Request::Hello { .. } => {
            was_hello = true;
            hello(machine, controls, &mut scratch, &mut more)
        }
        Request::ForeignHello { .. } => Reply::Refused(Refusal::ProtocolVersion {
            ours: PROTOCOL_VERSION,
        }),
        Request::Go => {
            machine.stop = None;
            machine.hits_left = controls.script_hits.load(Ordering::Relaxed);
            Reply::Done
        }
        Request::ChangeBranches {
            order: BranchOrder::Filter,
            filter,
        } if filter & filter::CALL_STACK != 0 => {
            let obstacle = BranchObstacle::Filter;
            Reply::Refused(Refusal::NoBranches { obstacle })
        }
        Request::ChangeBranches { order, .. } => {
            machine.records_branches = order != BranchOrder::Disable;
            Reply::Done
        }
        Request::ReadBranches { core } => {
            let branch = |from, kind, mispredicted, cycles| Branch {
                from: KERNEL + from,
                to: KERNEL + 0x1000,
                notes: Notes {
                    kind,
                    mispredicted,
                    cycles,
                },
            };
            let is_on = machine.records_branches;
            let all = [
                branch(0x2004, Some(BranchKind::Return), Some(true), Some(12)),
                branch(0x9008, None, None, None),
            ];
            let taken = all.into_iter().take(if is_on { core.0.into() } else { 0 });
            let branches = Branches::encode_into(taken, base, &mut scratch).expect("fits");
            Reply::Branches { is_on, branches }
        }
        Request::ShortCircuit { .. } => Reply::Done,
        Request::Occasions { rules } => {
            for rule in rules.iter() {
                machine.occasions[usize::from(rule.occasion.to_wire())] = rule;
            }
            let rules = OccasionRules::encode_into(machine.occasions, base, &mut scratch);
            Reply::Occasions(rules.expect("fits"))
        }
        Request::Restart => {
            machine.stop = None;
            Reply::Done
        }
        Request::Crash => {
            machine.crashes = true;
            Reply::Done
        }
        Request::Step(order) => {
            step(machine, order, id, link);
            return;
        }
        Request::Cores => {
            let rip = GuestVirtual(KERNEL + 0x2000);
            let other = match machine.stop {
                Some((StopCause::CoreDied { .. }, _)) => CoreState::Died { rip },
                _ => CoreState::WaitForSipi,
            };
            let states = [CoreState::Halted { rip }, other];
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
            expected,
        } => match machine.at(at) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(start) => {
                let end = machine.memory.len().min(start + len_bytes as usize);
                let bytes = &machine.memory[start..end];
                if expected == Some(KEY.digest(bytes)) {
                    controls.confirmed.fetch_add(1, Ordering::Relaxed);
                    let reply = Reply::MemoryAsExpected;
                    return send(link, &Message::Reply { id, reply }, base);
                }
                let mut packed = vec![0; bytes.len()];
                let len = pack::pack(bytes, &mut vec![0; pack::WORK_BYTES], &mut packed);
                packed.truncate(len.unwrap_or(bytes.len()));
                let is_shorter = packed.len() < bytes.len();
                let content = if is_shorter { &packed[..] } else { bytes };
                scratch[..content.len()].copy_from_slice(content);
                Reply::Memory {
                    len_bytes: bytes.len() as u32,
                    packing: is_shorter.then_some(Packing::Model),
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
        Request::ListTasks { which, from } => {
            let is_damaged = controls.lists_loop.load(Ordering::Relaxed);
            Reply::Tasks(tasks::list(which, from, is_damaged, base, &mut scratch))
        }
        Request::Translate { core, address, .. } => {
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
                        in_use: POOL,
                        needed: 1,
                        most: 2048,
                        object_bytes: 9000,
                        arena_left_bytes: 655_360,
                        possible: 1,
                        refill_ms: 1000,
                    }));
                    continue;
                }
                let id = EventId(machine.next_event);
                if spec.settings.is_interception() {
                    // In no list, and its number is given again.
                    results.push(Ok(id));
                    continue;
                }
                machine.next_event += 1;
                if !spec.programs.script.is_empty() {
                    machine.scripts.insert(id, spec.programs.script.to_vec());
                }
                machine.events.push(EventEntry {
                    id,
                    settings: spec.settings,
                    sizes: spec.programs.sizes(),
                    enabled: true,
                    standing: Standing::Active,
                    hits: 0,
                });
                results.push(Ok(id));
            }
            let mut digest = events_digest(machine.events.iter().copied());
            if controls.extra_event.swap(false, Ordering::Relaxed) {
                let mut extra = *machine.events.last().expect("one");
                extra.id = EventId(machine.next_event);
                extra.settings.trigger = Trigger::Cpuid { leaf: Some(0x77) };
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
        Request::ChangeEvents { change, which } => {
            let concerned = |e: &EventEntry| which.contains(e.id, &e.settings);
            let count = machine.events.iter().filter(|e| concerned(e)).count() as u32;
            if let (0, Selection::One(event)) = (count, which) {
                let reply = Reply::Refused(Refusal::NoSuchEvent { event });
                return send(link, &Message::Reply { id, reply }, base);
            }
            match change {
                EventChange::Clear => {
                    machine.events.retain(|e| !concerned(e));
                    let left: Vec<EventId> = machine.events.iter().map(|e| e.id).collect();
                    machine.scripts.retain(|id, _| left.contains(id));
                }
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
            free: machine.left() + count,
            arena_left_bytes: 1 << 20,
        },
        Request::DefineGlobals(names) => {
            let offsets = names.iter().map(|name| {
                let offset = machine.global_names.define(name.hash, name.len_bytes);
                GlobalOffset(offset.expect("there is room").into())
            });
            let offsets = GlobalOffsets::encode_into(offsets, base, &mut scratch);
            Reply::GlobalsDefined(offsets.expect("fits"))
        }
        Request::RunScript { core, program } => {
            let core = usize::from(core.0);
            let ran = machine.run(program, core, Source::Request, 1, |message| {
                send(link, message, base);
            });
            Reply::ScriptRan {
                value: ran.value,
                failure: ran.failure,
            }
        }
        Request::EventPrograms { event } => Reply::EventPrograms(Programs {
            script: machine.scripts.get(&event).map_or(&[], Vec::as_slice),
            ..Programs::NONE
        }),
        Request::Flush | Request::MessageCounts => Reply::MessageCounts(MessageCounts::default()),
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
            match machine.memory.get(start..start + len_bytes as usize) {
                Some(bytes) => Reply::Digest(xxhash_rust::xxh64::xxh64(bytes, 0)),
                None => Reply::Refused(Refusal::PhysicalOutOfRange {
                    address,
                    limit: GuestPhysical(MEMORY_BYTES),
                }),
            }
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

/// Every instruction is a NOP, and `r15` counts. The next request begins where this one did.
fn step(
    machine: &mut Machine,
    StepOrder {
        core,
        count: most,
        detail,
        walk,
    }: StepOrder,
    id: u8,
    link: &mut Link<'_>,
) {
    let base = machine.base;
    // What is not counted is there after three.
    let count = match walk.map(|walk| walk.until) {
        None | Some(Until::Count) => most,
        Some(_) => most.min(3),
    };
    if core.0 > 1 {
        let count = 2;
        let reply = Reply::Refused(Refusal::NoSuchCore { core, count });
        return send(link, &Message::Reply { id, reply }, base);
    }
    let registers = &machine.registers[usize::from(core.0)];
    let mut rip = registers[&(Register::Rip as u8)];
    let mut r15 = registers[&(Register::R15 as u8)];
    let set = RegisterSet::EMPTY.with(Register::R15);
    let mut buffer = StepBuffer::EMPTY;
    buffer.clear(base);
    let mut scratch = [0; 16];
    for number in 1..=count {
        rip += 1;
        r15 += 1;
        if walk.is_some_and(|walk| walk.until != Until::Count) {
            continue;
        }
        if number == count && detail != StepDetail::Registers {
            break;
        }
        let values = RegisterValues::encode_into([r15], &mut scratch).expect("fits");
        let record = StepRecord {
            rip: GuestVirtual(rip),
            code: if detail == StepDetail::Addresses {
                &[]
            } else {
                &[0x90]
            },
            registers: (detail == StepDetail::Registers).then_some((set, values)),
        };
        if buffer.push(&record).is_err() {
            let steps = Message::Notice(Notice::Steps(buffer.steps()));
            send(link, &steps, base);
            buffer.clear(base);
            buffer.push(&record).expect("there is room");
        }
    }
    let end = match walk.map(|walk| walk.until) {
        Some(until) if until != Until::Count && most < 3 => StepEnd::Limit,
        _ => StepEnd::Count,
    };
    machine.halt += 1;
    // As a driver does: what the stop before told is not told again.
    let is_known = machine.stop.is_some_and(|(_, stopped)| stopped == core);
    machine.stop = Some((StopCause::Stepped { end }, core));
    let stepped = Stepped {
        stop: Stop {
            halt: machine.halt,
            cause: StopCause::Stepped { end },
            core,
            rip: GuestVirtual(rip),
            code: &[0x90],
            missing_cores: 0,
            hits: Hits::EMPTY,
            task: (!is_known).then(|| tasks::on_core(core, false)),
        },
        count,
        set,
        values: RegisterValues::encode_into([r15], &mut scratch).expect("fits"),
        steps: buffer.steps(),
    };
    let reply = Reply::Stepped(stepped);
    send(link, &Message::Reply { id, reply }, base);
}

fn hello<'s>(
    machine: &Machine,
    controls: &Controls,
    scratch: &'s mut [u8],
    more: &'s mut [u8],
) -> Reply<'s> {
    let ram = Extent::new(GuestPhysical(0), MEMORY_BYTES);
    Reply::Hello(Hello {
        features: Features::COMPRESSED_MEMORY
            | Features::EXPECTED_MEMORY
            | Features::THREAD_STEPS
            | Features::TASKS,
        session: 0x1234,
        key: Some(KEY),
        cores: 2,
        kernel_base: GuestVirtual(KERNEL),
        direct_map_base: GuestVirtual(0xffff_8880_0000_0000),
        driver_image: Extent::default(),
        tsc_khz: 2_000_000,
        system: controls
            .system
            .lock()
            .expect("unpoisoned")
            .unwrap_or(GuestSystem::Linux(MODULES)),
        constants: Constants::default(),
        banner: "Linux version 6.1 (made up)",
        ram: RamRanges::encode_into(ram, GuestVirtual(0), more).expect("fits"),
        stop: machine.describe(scratch),
    })
}
