//! Events, and why they are refused.

use super::*;
use wire_protocol::bytecode::program::Reason;

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
        option::of(number32()).prop_map(|number| Trigger::SyscallEntry { number }),
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
    let lead_bytes = option::of(0..=limits::LEAD_BYTES);
    let any_options = (
        stage,
        any::<bool>(),
        any::<bool>(),
        buffer_bytes,
        lead_bytes,
    )
        .prop_map(
            |(stage, short_circuit, immediate, buffer_bytes, lead_bytes)| Options {
                stage,
                short_circuit,
                immediate,
                buffer_bytes,
                lead_bytes,
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

fn breakpoint() -> BoxedStrategy<Breakpoint> {
    let lifetimes = [
        Lifetime::UntilCleared,
        Lifetime::UntilItHalts,
        Lifetime::UntilNextHalt,
    ];
    (1..=u32::MAX, proptest::sample::select(lifetimes.to_vec()))
        .prop_map(|(first_pass, lifetime)| Breakpoint {
            first_pass,
            lifetime,
        })
        .boxed()
}

pub(super) fn spec() -> BoxedStrategy<EventSpec<'static>> {
    let number = || option::of(number32());
    let filter = (number(), number(), option::of(core()));
    let programs = prop_oneof![Just(Programs::NONE), programs()];
    let breakpoint = option::of(breakpoint());
    let parts = (trigger(), filter, any::<bool>(), options(), programs);
    (parts, breakpoint)
        .prop_map(|(parts, breakpoint)| {
            let (trigger, (pid, tid, core), stops, options, programs) = parts;
            let mut actions = Actions::empty();
            actions.set(Actions::BREAK, stops);
            actions.set(Actions::SCRIPT, !programs.script.is_empty());
            actions.set(Actions::CODE, !programs.code.is_empty());
            EventSpec {
                settings: Settings {
                    trigger,
                    filter: Filter { pid, tid, core },
                    actions,
                    options,
                    breakpoint,
                },
                programs,
            }
        })
        .boxed()
}

pub(super) fn standing() -> BoxedStrategy<Standing> {
    proptest::sample::select(Standing::ALL.as_slice()).boxed()
}

pub fn entry() -> BoxedStrategy<EventEntry> {
    (event_id(), spec(), any::<bool>(), standing(), number())
        .prop_map(|(id, spec, enabled, standing, hits)| EventEntry {
            id,
            settings: spec.settings,
            sizes: spec.programs.sizes(),
            enabled,
            standing,
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
            0 => Refusal::Event(EventRefusal::ConditionTooBig {
                limit_bytes,
                asked_bytes,
            }),
            1 => Refusal::Event(EventRefusal::ActionTooBig {
                limit_bytes,
                asked_bytes,
            }),
            2 => Refusal::Event(EventRefusal::BufferOverMessage {
                limit_bytes,
                asked_bytes,
                most_bytes: limit_bytes / 2,
            }),
            _ => Refusal::Event(EventRefusal::BufferTooBig {
                limit_bytes,
                asked_bytes,
            }),
        });
    let numbers = (vec(number32(), 6), size());
    prop_oneof![
        limit,
        (part.clone(), numbers).prop_map(|(part, numbers)| Refusal::Event(
            EventRefusal::NoBigEvent {
                part,
                regular_bytes: numbers.0[0],
                asked_bytes: numbers.0[1],
                reserved: numbers.0[2],
                object_bytes: numbers.0[3],
                arena_left_bytes: numbers.1,
                possible: numbers.0[4],
                refill_ms: numbers.0[5],
            }
        )),
        (part, number32(), proptest::sample::select(Reason::ALL)).prop_map(|(part, at, reason)| {
            Refusal::Event(EventRefusal::BadProgram { part, at, reason })
        }),
        option.prop_map(|option| Refusal::Event(EventRefusal::OptionDoesNotFit { option })),
        (number(), number(), number()).prop_map(|(value, least, most)| Refusal::ValueOutOfRange {
            value,
            least,
            most
        }),
        number16().prop_map(|port| Refusal::Event(EventRefusal::OwnPort { port })),
        number32().prop_map(|msr| Refusal::Event(EventRefusal::OwnMsr { msr })),
        feature.prop_map(|feature| Refusal::Event(EventRefusal::NoFeature { feature })),
        proptest::sample::select(DetourObstacle::ALL.as_slice())
            .prop_map(|obstacle| Refusal::Event(EventRefusal::NoDetour { obstacle })),
        event_id().prop_map(|event| Refusal::Event(EventRefusal::PageTaken { event })),
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
        number().prop_map(|address| Refusal::Event(EventRefusal::NotRam {
            address: GuestPhysical(address)
        })),
    ]
    .boxed()
}

pub fn refusal() -> BoxedStrategy<Refusal> {
    prop_oneof![
        number32().prop_map(|pid| Refusal::ProcessNotFound { pid }),
        proptest::sample::select(BranchObstacle::ALL.as_slice())
            .prop_map(|obstacle| Refusal::NoBranches { obstacle }),
        (class(), vec(number32(), 7), size()).prop_map(|(class, counts, arena_left_bytes)| {
            Refusal::PoolExhausted {
                class,
                reserved: counts[0],
                in_use: counts[1],
                needed: counts[2],
                most: counts[3],
                object_bytes: counts[4],
                arena_left_bytes,
                possible: counts[5],
                refill_ms: counts[6],
            }
        }),
        (core(), event_id()).prop_map(|(core, event)| Refusal::Event(
            EventRefusal::ClearIncomplete { core, event }
        )),
        core().prop_map(|core| Refusal::CoreNotHeld { core }),
        guest_virtual().prop_map(|address| Refusal::NotPresent { address }),
        (guest_physical(), guest_physical())
            .prop_map(|(address, limit)| Refusal::PhysicalOutOfRange { address, limit }),
        guest_physical().prop_map(|address| Refusal::DebuggerMemory { address }),
        number32().prop_map(|limit| Refusal::Event(EventRefusal::TooManyHooksOnPage { limit })),
        core().prop_map(|core| Refusal::CoreAway { core }),
        core().prop_map(|core| Refusal::CoreDied { core }),
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
        Just(Refusal::AnswerLost),
        (guest_physical(), number())
            .prop_map(|(address, len_bytes)| Refusal::NotWholePages { address, len_bytes }),
        (class(), number32(), number32(), number32()).prop_map(|(class, asked, possible, room)| {
            Refusal::ArenaTooSmall {
                class,
                asked,
                possible,
                room,
            }
        }),
        event_refusal(),
    ]
    .boxed()
}
