//! Any value of every type that can stand in a message. Lists keep their memory for as long as
//! the test program runs (under Miri: `-Zmiri-ignore-leaks`).

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::event::{
    Access, Actions, Condition, ControlRegister, EventChange, EventEntry, EventSpec, Filter,
    FreeCounts, Modes, Options, PoolClass, PoolLine, Programs, Settings, Space, Stage, SyscallBy,
    TraceKind, Trigger,
};
use wire_protocol::limits;
use wire_protocol::packet::{
    Argument, Arguments, Batch, Constants, Content, CoreState, Failure, FailureCause, Features,
    GlobalName, GlobalOffset, Hello, Item, List, MemoryAt, MessageCounts, Messages, ModuleLayout,
    Notice, RamRange, Register, RegisterSet, RegisterValues, Reply, Request, Source, Stop,
    StopCause,
};
use wire_protocol::refusal::{DetourObstacle, EventOption, ProcessorFeature, ProgramPart, Refusal};

fn forever(len_bytes: usize) -> &'static mut [u8] {
    Box::leak(vec![0; len_bytes].into_boxed_slice())
}

fn list<T: Item<'static>>(items: &[T], base: GuestVirtual) -> List<'static, T> {
    let scratch = forever(items.len() * 1024);
    List::encode_into(items.iter().copied(), base, scratch).expect("1024 bytes are enough")
}

fn items<T: Strategy>(item: T, limit: usize) -> impl Strategy<Value = Vec<T::Value>> {
    vec(item, 0..=limit.min(20))
}

/// Of any size in bits, so that every length on the wire comes up.
pub fn number() -> BoxedStrategy<u64> {
    (any::<u64>(), 0u32..64)
        .prop_map(|(bits, shift)| bits >> shift)
        .boxed()
}

fn number32() -> BoxedStrategy<u32> {
    number().prop_map(|number| number as u32).boxed()
}

fn number16() -> BoxedStrategy<u16> {
    number().prop_map(|number| number as u16).boxed()
}

pub fn base() -> BoxedStrategy<GuestVirtual> {
    prop_oneof![
        Just(GuestVirtual(0)),
        Just(GuestVirtual(0xffff_ffff_8100_0000)),
        any::<u64>().prop_map(GuestVirtual)
    ]
    .boxed()
}

fn address() -> BoxedStrategy<u64> {
    prop_oneof![
        (0u64..32 << 20).prop_map(|offset| 0xffff_ffff_8100_0000 + offset),
        any::<u64>(),
        number()
    ]
    .boxed()
}

fn guest_virtual() -> BoxedStrategy<GuestVirtual> {
    address().prop_map(GuestVirtual).boxed()
}

fn guest_physical() -> BoxedStrategy<GuestPhysical> {
    address().prop_map(GuestPhysical).boxed()
}

fn size() -> BoxedStrategy<u64> {
    prop_oneof![
        number(),
        number().prop_map(|bytes| bytes & !0xfff),
        number().prop_map(|bytes| bytes & !0x3f)
    ]
    .boxed()
}

fn core() -> BoxedStrategy<CoreId> {
    number16().prop_map(CoreId).boxed()
}

fn event_id() -> BoxedStrategy<EventId> {
    number32().prop_map(EventId).boxed()
}

fn class() -> BoxedStrategy<PoolClass> {
    proptest::sample::select(PoolClass::ALL.as_slice()).boxed()
}

fn register() -> BoxedStrategy<Register> {
    proptest::sample::select(Register::ALL.as_slice()).boxed()
}

fn register_set() -> BoxedStrategy<RegisterSet> {
    number()
        .prop_map(|bits| RegisterSet(bits & RegisterSet::ALL.0))
        .boxed()
}

fn features() -> BoxedStrategy<Features> {
    number32().prop_map(Features::from_bits_retain).boxed()
}

fn trigger() -> BoxedStrategy<Trigger> {
    let by = prop_oneof![Just(SyscallBy::Bytes), Just(SyscallBy::Range)].boxed();
    let space = prop_oneof![Just(Space::Virtual), Just(Space::Physical)];
    let access = (1u8..8).prop_map(Access::from_bits_retain);
    let register = prop_oneof![Just(ControlRegister::Cr0), Just(ControlRegister::Cr4)];
    let kind = prop_oneof![
        Just(TraceKind::StepIn),
        Just(TraceKind::StepOut),
        Just(TraceKind::Instrument)
    ];
    let memory = prop_oneof![
        guest_virtual().prop_map(|address| Trigger::EptHook { address }),
        guest_virtual().prop_map(|address| Trigger::EptHook2 { address }),
        (space, access, address(), number()).prop_map(|(space, access, from, len_bytes)| {
            Trigger::Monitor {
                space,
                access,
                from,
                len_bytes,
            }
        }),
    ];
    let numbered = prop_oneof![
        (option::of(number32()), by.clone())
            .prop_map(|(number, by)| Trigger::Syscall { number, by }),
        by.prop_map(|by| Trigger::Sysret { by }),
        option::of(number32()).prop_map(|leaf| Trigger::Cpuid { leaf }),
        option::of(number32()).prop_map(|msr| Trigger::MsrRead { msr }),
        option::of(number32()).prop_map(|msr| Trigger::MsrWrite { msr }),
        option::of(number16()).prop_map(|port| Trigger::IoIn { port }),
        option::of(number16()).prop_map(|port| Trigger::IoOut { port }),
        option::of(any::<u8>()).prop_map(|vector| Trigger::Exception { vector }),
        any::<u8>().prop_map(|vector| Trigger::Interrupt { vector }),
        (register, number()).prop_map(|(register, mask)| Trigger::CrWrite { register, mask }),
    ];
    let others = prop_oneof![
        Just(Trigger::Tsc),
        Just(Trigger::Pmc),
        Just(Trigger::Vmcall),
        Just(Trigger::Dr),
        option::of(number32()).prop_map(|xcr| Trigger::Xsetbv { xcr }),
        (1u8..4).prop_map(|bits| Trigger::Mode {
            to: Modes::from_bits_retain(bits)
        }),
        kind.prop_map(|kind| Trigger::Trace { kind }),
    ];
    prop_oneof![memory, numbered, others].boxed()
}

fn options() -> BoxedStrategy<Options> {
    let stage = prop_oneof![Just(Stage::Pre), Just(Stage::Post), Just(Stage::All)];
    let buffer_bytes = prop_oneof![Just(0), number32()];
    let any_options = (stage, any::<bool>(), any::<bool>(), buffer_bytes).prop_map(
        |(stage, short_circuit, immediate, buffer_bytes)| Options {
            stage,
            short_circuit,
            immediate,
            buffer_bytes,
        },
    );
    prop_oneof![Just(Options::DEFAULT), any_options].boxed()
}

fn programs() -> BoxedStrategy<Programs<'static>> {
    let none = || Just(&[][..]);
    let condition = prop_oneof![
        Just(Condition::Always),
        content().prop_map(Condition::Script),
        content().prop_map(Condition::Code)
    ];
    (
        condition,
        prop_oneof![none(), content()],
        prop_oneof![none(), content()],
    )
        .prop_map(|(condition, script, code)| Programs {
            condition,
            script,
            code,
        })
        .boxed()
}

fn spec() -> BoxedStrategy<EventSpec<'static>> {
    let filter = (option::of(number32()), option::of(core()));
    let programs = prop_oneof![Just(Programs::NONE), programs()];
    (trigger(), filter, any::<bool>(), options(), programs)
        .prop_map(|(trigger, (pid, core), stops, options, programs)| {
            let mut actions = Actions::empty();
            actions.set(Actions::BREAK, stops);
            actions.set(Actions::SCRIPT, !programs.script.is_empty());
            actions.set(Actions::CODE, !programs.code.is_empty());
            EventSpec {
                settings: Settings {
                    trigger,
                    filter: Filter { pid, core },
                    actions,
                    options,
                },
                programs,
            }
        })
        .boxed()
}

pub fn entry() -> BoxedStrategy<EventEntry> {
    (event_id(), spec(), any::<bool>(), number())
        .prop_map(|(id, spec, enabled, hits)| EventEntry {
            id,
            settings: spec.settings,
            sizes: spec.programs.sizes(),
            enabled,
            hits,
        })
        .boxed()
}

fn event_refusal() -> BoxedStrategy<Refusal> {
    let part = proptest::sample::select(ProgramPart::ALL.as_slice()).boxed();
    let option = proptest::sample::select(EventOption::ALL.as_slice());
    let feature = proptest::sample::select(ProcessorFeature::ALL.as_slice());
    let limit =
        (number32(), number32(), 0..4).prop_map(|(limit_bytes, asked_bytes, which)| match which {
            0 => Refusal::ConditionTooBig {
                limit_bytes,
                asked_bytes,
            },
            1 => Refusal::ActionTooBig {
                limit_bytes,
                asked_bytes,
            },
            2 => Refusal::BufferOverMessage {
                limit_bytes,
                asked_bytes,
            },
            _ => Refusal::BufferTooBig {
                limit_bytes,
                asked_bytes,
            },
        });
    let numbers = (number32(), number32(), number32(), number32(), size());
    prop_oneof![
        limit,
        (part.clone(), numbers).prop_map(|(part, numbers)| Refusal::NoBigEvent {
            part,
            regular_bytes: numbers.0,
            asked_bytes: numbers.1,
            reserved: numbers.2,
            object_bytes: numbers.3,
            arena_left_bytes: numbers.4,
        }),
        (part, number32(), any::<u8>()).prop_map(|(part, at, reason)| Refusal::BadProgram {
            part,
            at,
            reason
        }),
        option.prop_map(|option| Refusal::OptionDoesNotFit { option }),
        (number(), number(), number()).prop_map(|(value, least, most)| Refusal::ValueOutOfRange {
            value,
            least,
            most
        }),
        number16().prop_map(|port| Refusal::OwnPort { port }),
        number32().prop_map(|msr| Refusal::OwnMsr { msr }),
        feature.prop_map(|feature| Refusal::NoFeature { feature }),
        Just(Refusal::UnknownTrigger),
        proptest::sample::select(DetourObstacle::ALL.as_slice())
            .prop_map(|obstacle| Refusal::NoDetour { obstacle }),
        event_id().prop_map(|event| Refusal::PageTaken { event }),
        (number32(), number32()).prop_map(|(has_bytes, asked_bytes)| Refusal::GlobalLength {
            has_bytes,
            asked_bytes
        }),
        (number32(), number32(), number32()).prop_map(|(free_bytes, free_names, asked_bytes)| {
            Refusal::GlobalsFull {
                free_bytes,
                free_names,
                asked_bytes,
            }
        }),
        number().prop_map(|address| Refusal::NotRam {
            address: GuestPhysical(address)
        }),
    ]
    .boxed()
}

pub fn refusal() -> BoxedStrategy<Refusal> {
    prop_oneof![
        number32().prop_map(|pid| Refusal::ProcessNotFound { pid }),
        (class(), number32(), number32(), size()).prop_map(
            |(class, reserved, object_bytes, arena_left_bytes)| Refusal::PoolExhausted {
                class,
                reserved,
                object_bytes,
                arena_left_bytes,
            }
        ),
        (core(), event_id()).prop_map(|(core, event)| Refusal::ClearIncomplete { core, event }),
        core().prop_map(|core| Refusal::CoreNotHeld { core }),
        guest_virtual().prop_map(|address| Refusal::NotPresent { address }),
        (guest_physical(), guest_physical())
            .prop_map(|(address, limit)| Refusal::PhysicalOutOfRange { address, limit }),
        guest_physical().prop_map(|address| Refusal::DebuggerMemory { address }),
        number32().prop_map(|limit| Refusal::TooManyHooksOnPage { limit }),
        core().prop_map(|core| Refusal::CoreAway { core }),
        event_id().prop_map(|event| Refusal::NoSuchEvent { event }),
        (core(), number16()).prop_map(|(core, count)| Refusal::NoSuchCore { core, count }),
        register().prop_map(|register| Refusal::ReadOnlyRegister { register }),
        (register(), number())
            .prop_map(|(register, value)| Refusal::BadRegisterValue { register, value }),
        (size(), size()).prop_map(|(limit_bytes, asked_bytes)| Refusal::TooLong {
            limit_bytes,
            asked_bytes
        }),
        Just(Refusal::NotHalted),
        number16().prop_map(|ours| Refusal::ProtocolVersion { ours }),
        any::<u8>().prop_map(|kind| Refusal::UnknownRequest { kind }),
        Just(Refusal::Malformed),
        (class(), number32(), number32()).prop_map(|(class, asked, possible)| {
            Refusal::ArenaTooSmall {
                class,
                asked,
                possible,
            }
        }),
        event_refusal(),
    ]
    .boxed()
}

fn memory_at() -> BoxedStrategy<MemoryAt> {
    prop_oneof![
        (core(), guest_virtual()).prop_map(|(core, address)| MemoryAt::Virtual { core, address }),
        guest_physical().prop_map(|address| MemoryAt::Physical { address })
    ]
    .boxed()
}

fn content() -> BoxedStrategy<&'static [u8]> {
    vec(any::<u8>(), 1..300)
        .prop_map(|bytes| &*bytes.leak())
        .boxed()
}

pub fn request(base: GuestVirtual) -> BoxedStrategy<Request<'static>> {
    prop_oneof![
        (number16(), features())
            .prop_map(|(version, features)| Request::Hello { version, features }),
        Just(Request::Go),
        Just(Request::Cores),
        any::<bool>().prop_map(|on| Request::ShortCircuit { on }),
        Just(Request::Pools),
        (core(), register_set()).prop_map(|(core, set)| Request::ReadRegisters { core, set }),
        (core(), register(), number()).prop_map(|(core, register, value)| {
            Request::WriteRegister {
                core,
                register,
                value,
            }
        }),
        (memory_at(), number32(), option::of(any::<u32>())).prop_map(
            |(at, len_bytes, expected_crc)| Request::ReadMemory {
                at,
                len_bytes,
                expected_crc,
            }
        ),
        (memory_at(), content()).prop_map(|(at, bytes)| Request::WriteMemory { at, bytes }),
        (core(), guest_virtual()).prop_map(|(core, address)| Request::Translate { core, address }),
        (guest_physical(), size())
            .prop_map(|(address, len_bytes)| Request::DigestMemory { address, len_bytes }),
        (
            core(),
            any::<bool>(),
            items(spec(), limits::EVENTS_PER_REQUEST)
        )
            .prop_map(move |(core, all_or_nothing, events)| Request::AddEvents {
                core,
                all_or_nothing,
                events: list(&events, base),
            }),
        (0..3, option::of(event_id())).prop_map(|(change, event)| Request::ChangeEvents {
            change: match change {
                0 => EventChange::Enable,
                1 => EventChange::Disable,
                _ => EventChange::Clear,
            },
            event,
        }),
        event_id().prop_map(|from| Request::ListEvents { from }),
        (class(), number32()).prop_map(|(class, count)| Request::Prealloc { class, count }),
        items(
            (any::<u64>(), number32()).prop_map(|(hash, len_bytes)| GlobalName { hash, len_bytes }),
            limits::GLOBALS_PER_REQUEST
        )
        .prop_map(move |names| Request::DefineGlobals(list(&names, base))),
        (core(), content()).prop_map(|(core, program)| Request::RunScript { core, program }),
        event_id().prop_map(|event| Request::EventPrograms { event }),
        Just(Request::Flush),
        Just(Request::MessageCounts),
    ]
    .boxed()
}

fn failure() -> BoxedStrategy<Failure> {
    let cause = proptest::sample::select(FailureCause::ALL.as_slice());
    (cause, number32(), number())
        .prop_map(|(cause, at, detail)| Failure { cause, at, detail })
        .boxed()
}

fn record_content() -> BoxedStrategy<Content<'static>> {
    let argument = prop_oneof![
        address().prop_map(Argument::Number),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Argument::Bytes(bytes.leak()))
    ];
    let arguments = vec(argument, 0..=limits::PRINT_ARGUMENTS);
    prop_oneof![
        (number32(), arguments).prop_map(|(site, arguments)| Content::Print {
            site,
            arguments: Arguments::encode_into(&arguments, forever(1024)).expect("fits"),
        }),
        (address(), vec(any::<u8>(), 0..=limits::STOP_CODE_BYTES)).prop_map(|(rip, code)| {
            Content::Trace {
                rip,
                code: code.leak(),
            }
        }),
        failure().prop_map(Content::Failure),
    ]
    .boxed()
}

fn messages() -> BoxedStrategy<Messages<'static>> {
    let source = prop_oneof![Just(Source::Request), event_id().prop_map(Source::Event)];
    let lost = prop_oneof![Just(0), number()];
    let record = (source, number(), lost, record_content());
    (core(), vec(record, 1..5))
        .prop_map(|(core, records)| {
            let mut batch = Batch::new(forever(limits::BATCH_BYTES));
            let mut content = [0; limits::RECORD_BYTES];
            for (source, tsc, lost, what) in records {
                let len = what.encode_into(&mut content).expect("fits");
                // What finds no room any more stays out.
                let _ = batch.push(source, tsc, lost, &content[..len]);
            }
            batch.finish(core).expect("one at least")
        })
        .boxed()
}

fn stop(base: GuestVirtual) -> BoxedStrategy<Stop<'static>> {
    let cause = prop_oneof![
        Just(StopCause::BreakIn),
        event_id().prop_map(|event| StopCause::Event { event })
    ];
    let code = vec(any::<u8>(), 0..=limits::STOP_CODE_BYTES).prop_map(|code| &*code.leak());
    let hits = items((event_id(), number()), limits::HITS_PER_STOP);
    let missing = prop_oneof![Just(0), number()];
    (
        number32(),
        cause,
        core(),
        guest_virtual(),
        code,
        missing,
        hits,
    )
        .prop_map(
            move |(halt, cause, core, rip, code, missing_cores, hits)| Stop {
                halt,
                cause,
                core,
                rip,
                code,
                missing_cores,
                hits: list(&hits, base),
            },
        )
        .boxed()
}

pub fn notice(base: GuestVirtual) -> BoxedStrategy<Notice<'static>> {
    prop_oneof![
        stop(base).prop_map(Notice::Stopped),
        messages().prop_map(Notice::Messages),
        (core(), number16(), address(), number()).prop_map(|(core, vector, rip, detail)| {
            Notice::Fault {
                core,
                vector,
                rip,
                detail,
            }
        }),
    ]
    .boxed()
}

fn modules() -> BoxedStrategy<ModuleLayout> {
    (address(), vec(number32(), 8))
        .prop_map(|(list_head, at)| ModuleLayout {
            list_head,
            list: at[0],
            name: at[1],
            base: at[2],
            size: at[3],
            kallsyms: at[4],
            kallsyms_symtab: at[5],
            kallsyms_count: at[6],
            kallsyms_strtab: at[7],
        })
        .boxed()
}

fn constants() -> BoxedStrategy<Constants> {
    (size(), size(), any::<bool>(), number32())
        .prop_map(
            |(arena_bytes, prealloc_only_bytes, hide_time, poll_hz)| Constants {
                arena_bytes,
                prealloc_only_bytes,
                hide_time,
                poll_hz,
            },
        )
        .boxed()
}

fn hello() -> BoxedStrategy<Hello<'static>> {
    guest_virtual()
        .prop_flat_map(|kernel_base| {
            let range =
                (size(), size()).prop_map(|(start, len_bytes)| RamRange { start, len_bytes });
            let machine = (
                items(range, limits::RAM_RANGES),
                option::of(stop(kernel_base)),
            );
            let numbers = (number16(), features(), any::<u64>(), number16(), number32());
            let places = (guest_virtual(), guest_virtual(), size());
            (
                numbers,
                places,
                modules(),
                constants(),
                "\\PC{0,40}",
                machine,
            )
                .prop_map(
                    move |(numbers, places, modules, constants, banner, (ram, stop))| Hello {
                        version: numbers.0,
                        features: numbers.1,
                        session: numbers.2,
                        cores: numbers.3,
                        tsc_khz: numbers.4,
                        kernel_base,
                        direct_map_base: places.0,
                        driver_image: (places.1, places.2),
                        modules,
                        constants,
                        banner: banner.leak(),
                        ram: list(&ram, kernel_base),
                        stop,
                    },
                )
        })
        .boxed()
}

fn free() -> BoxedStrategy<FreeCounts> {
    vec((class(), number32()), 0..8)
        .prop_map(|counts| {
            let none = FreeCounts::default();
            counts
                .into_iter()
                .fold(none, |free, (class, count)| free.with(class, count))
        })
        .boxed()
}

fn registers() -> BoxedStrategy<Reply<'static>> {
    (register_set(), any::<[u64; 64]>(), any::<[u8; 64]>())
        .prop_map(|(set, bits, shifts)| {
            let values = bits.iter().zip(shifts).map(|(bits, shift)| {
                let cut = *bits as i64 >> (shift % 64);
                cut as u64
            });
            let values = values.take(set.len());
            let values = RegisterValues::encode_into(values, forever(512)).expect("enough");
            Reply::Registers { set, values }
        })
        .boxed()
}

fn core_state() -> BoxedStrategy<CoreState> {
    prop_oneof![
        guest_virtual().prop_map(|rip| CoreState::Halted { rip }),
        Just(CoreState::WaitForSipi),
        Just(CoreState::Missing),
        Just(CoreState::Offline)
    ]
    .boxed()
}

fn pool_line() -> BoxedStrategy<PoolLine> {
    (class(), number32(), number32(), number32())
        .prop_map(|(class, object_bytes, reserved, in_use)| PoolLine {
            class,
            object_bytes,
            reserved,
            in_use,
        })
        .boxed()
}

pub fn reply(base: GuestVirtual) -> BoxedStrategy<Reply<'static>> {
    let result = prop_oneof![event_id().prop_map(Ok), refusal().prop_map(Err)];
    let system = prop_oneof![
        hello().prop_map(Reply::Hello),
        Just(Reply::Done),
        refusal().prop_map(Reply::Refused),
        items(core_state(), limits::CORES)
            .prop_map(move |states| Reply::Cores(list(&states, base))),
        registers(),
    ];
    let memory = prop_oneof![
        content().prop_map(|bytes| Reply::Memory {
            len_bytes: bytes.len() as u32,
            compressed: false,
            bytes,
        }),
        (content(), 1u32..1000).prop_map(|(bytes, gain)| Reply::Memory {
            len_bytes: bytes.len() as u32 + gain,
            compressed: true,
            bytes,
        }),
        Just(Reply::MemoryAsExpected),
        (guest_physical(), 0u32..64).prop_map(|(address, shift)| Reply::Physical {
            address,
            page_bytes: 1 << shift,
        }),
        any::<u64>().prop_map(Reply::Digest),
    ];
    let event = prop_oneof![
        (
            items(result, limits::EVENTS_PER_REQUEST),
            free(),
            any::<u16>()
        )
            .prop_map(move |(results, free, digest)| Reply::EventsAdded {
                results: list(&results, base),
                free,
                digest,
            }),
        (number32(), free(), any::<u16>()).prop_map(|(count, free, digest)| {
            Reply::EventsChanged {
                count,
                free,
                digest,
            }
        }),
        items(entry(), limits::EVENTS_PER_REPLY)
            .prop_map(move |entries| Reply::Events(list(&entries, base))),
    ];
    let pool = prop_oneof![
        (
            number32(),
            prop_oneof![Just(0), number32()],
            number32(),
            size()
        )
            .prop_map(|(ready, queued, free, arena_left_bytes)| Reply::Carved {
                ready,
                queued,
                free,
                arena_left_bytes,
            }),
        (items(pool_line(), PoolClass::ALL.len()), size(), size()).prop_map(
            move |(lines, arena_carved_bytes, arena_left_bytes)| Reply::Pools {
                lines: list(&lines, base),
                arena_carved_bytes,
                arena_left_bytes,
            }
        ),
    ];
    let programs = (option::of((content(), any::<bool>())), content(), content());
    let script = prop_oneof![
        programs.prop_map(|(condition, script, code)| Reply::EventPrograms(Programs {
            condition: match condition {
                None => Condition::Always,
                Some((bytes, true)) => Condition::Script(bytes),
                Some((bytes, false)) => Condition::Code(bytes),
            },
            script,
            code,
        })),
        items(
            number32().prop_map(GlobalOffset),
            limits::GLOBALS_PER_REQUEST
        )
        .prop_map(move |offsets| Reply::GlobalsDefined(list(&offsets, base))),
        (address(), option::of(failure()))
            .prop_map(|(value, failure)| Reply::ScriptRan { value, failure }),
        vec(number(), 5).prop_map(|counts| Reply::MessageCounts(MessageCounts {
            produced: counts[0],
            delivered: counts[1],
            dropped: counts[2],
            flushed: counts[3],
            waiting: counts[4],
        })),
    ];
    prop_oneof![system, memory, event, pool, script].boxed()
}
