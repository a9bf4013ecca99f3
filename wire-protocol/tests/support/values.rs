//! Any value of every type that can stand in a message. Lists keep their memory for as long as
//! the test program runs (under Miri: `-Zmiri-ignore-leaks`).

mod events;
mod replies;

use events::spec;
pub use events::{entry, refusal};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
pub use replies::reply;
use wire_protocol::address::{Address, CoreId, EventId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::branch::{BRANCHES_MAX, Branch, BranchOrder, Notes};
use wire_protocol::digest::{Digest, DigestKey};
use wire_protocol::event::{
    Access, Actions, Breakpoint, Condition, ControlRegister, EventChange, EventEntry, EventSpec,
    Filter, FreeCounts, Lifetime, Modes, Options, PoolClass, PoolLine, Programs, Selection,
    Settings, Space, Stage, Standing, SyscallBy, TraceKind, Trigger,
};
use wire_protocol::limits;
use wire_protocol::pack::Packing;
use wire_protocol::packet::{
    Argument, Arguments, Batch, Came, Constants, Content, CoreState, Failure, FailureCause,
    Features, FoundTasks, GlobalName, GlobalOffset, GuestSystem, Hello, Item, LinuxLayout, List,
    MemoryAt, MessageCounts, Messages, NetworkCounts, Notice, Occasion, OccasionRule,
    OccasionRules, OccasionText, PROTOCOL_VERSION, RegisterValues, Reply, Request, Source,
    StepDetail, StepOrder, Stop, StopCause, StopTask, Task, TaskName, TaskSelection, TaskState,
    TasksEnd, Until, Walk,
};
use wire_protocol::refusal::{
    BranchObstacle, DetourObstacle, EventOption, EventRefusal, ProcessorFeature, ProgramPart,
    Refusal,
};
use wire_protocol::register::{Register, RegisterSet};
use wire_protocol::secure::Dropped;

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

fn root() -> BoxedStrategy<GuestPhysical> {
    (0u64..1 << 52)
        .prop_map(|page| GuestPhysical(page << 12))
        .boxed()
}

fn memory_at() -> BoxedStrategy<MemoryAt> {
    prop_oneof![
        (core(), guest_virtual()).prop_map(|(core, address)| MemoryAt::Virtual { core, address }),
        guest_physical().prop_map(|address| MemoryAt::Physical { address }),
        (root(), guest_virtual()).prop_map(|(root, address)| MemoryAt::Tables { root, address })
    ]
    .boxed()
}

fn content() -> BoxedStrategy<&'static [u8]> {
    vec(any::<u8>(), 1..300)
        .prop_map(|bytes| &*bytes.leak())
        .boxed()
}

/// What another version says.
fn foreign() -> BoxedStrategy<(u16, &'static [u8])> {
    let version = number16().prop_filter("another one", |version| *version != PROTOCOL_VERSION);
    (version, content()).boxed()
}

fn step_order() -> BoxedStrategy<StepOrder> {
    let until = prop_oneof![
        Just(Until::Count),
        Just(Until::Call),
        Just(Until::Return),
        Just(Until::Returned),
        guest_virtual().prop_map(Until::Address),
    ];
    let walk = (any::<bool>(), any::<bool>(), until);
    let walk = walk.prop_map(|(is_over, is_frozen, until)| Walk {
        is_over,
        is_frozen,
        until,
    });
    let detail = (0..StepDetail::COUNT).prop_map(|number| StepDetail::ALL[number]);
    (core(), 1..=limits::STEPS, detail, option::of(walk))
        .prop_map(|(core, count, detail, walk)| StepOrder {
            core,
            count,
            detail,
            walk,
        })
        .boxed()
}

pub fn request(base: GuestVirtual) -> BoxedStrategy<Request<'static>> {
    prop_oneof![
        features().prop_map(|features| Request::Hello { features }),
        foreign().prop_map(|(version, body)| Request::ForeignHello { version, body }),
        Just(Request::Go),
        step_order().prop_map(Request::Step),
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
        (memory_at(), number32(), option::of(any::<u128>())).prop_map(
            |(at, len_bytes, expected)| Request::ReadMemory {
                at,
                len_bytes,
                expected: expected.map(Digest),
            }
        ),
        (memory_at(), content()).prop_map(|(at, bytes)| Request::WriteMemory { at, bytes }),
        (core(), option::of(root()), guest_virtual()).prop_map(|(core, root, address)| {
            Request::Translate {
                core,
                root,
                address,
            }
        }),
        (selection(), number32()).prop_map(|(which, from)| Request::ListTasks { which, from }),
        occasion_rules(base).prop_map(|rules| Request::Occasions { rules }),
        Just(Request::Restart),
        Just(Request::Crash),
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
        (0..3, 0..3, event_id()).prop_map(|(change, which, event)| Request::ChangeEvents {
            change: match change {
                0 => EventChange::Enable,
                1 => EventChange::Disable,
                _ => EventChange::Clear,
            },
            which: match which {
                0 => Selection::Events,
                1 => Selection::Breakpoints,
                _ => Selection::One(event),
            },
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
        (
            proptest::sample::select(BranchOrder::ALL.as_slice()),
            number16()
        )
            .prop_map(|(order, filter)| Request::ChangeBranches { order, filter }),
        core().prop_map(|core| Request::ReadBranches { core }),
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
        events::standing().prop_map(Content::Standing),
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

fn selection() -> BoxedStrategy<TaskSelection> {
    prop_oneof![
        Just(TaskSelection::Processes),
        Just(TaskSelection::Threads),
        number32().prop_map(|pid| TaskSelection::ThreadsOf { pid }),
        number32().prop_map(|pid| TaskSelection::Process { pid }),
        number32().prop_map(|tid| TaskSelection::Thread { tid }),
        guest_virtual().prop_map(|address| TaskSelection::At { address }),
        core().prop_map(|core| TaskSelection::On { core }),
    ]
    .boxed()
}

fn task_name() -> BoxedStrategy<TaskName> {
    vec(any::<u8>(), 0..20)
        .prop_map(|bytes| TaskName::new(&bytes))
        .boxed()
}

fn stop_task() -> BoxedStrategy<StopTask> {
    (
        number32(),
        number32(),
        task_name(),
        option::of(register_set()),
    )
        .prop_map(|(pid, tid, name, changed)| StopTask {
            pid,
            tid,
            name,
            changed,
        })
        .boxed()
}

fn occasion() -> BoxedStrategy<Occasion> {
    prop::sample::select(Occasion::ALL.to_vec()).boxed()
}

fn occasion_text() -> BoxedStrategy<OccasionText> {
    vec(any::<u8>(), 0..=limits::OCCASION_TEXT_BYTES)
        .prop_map(|bytes| OccasionText::new(&bytes))
        .boxed()
}

fn came() -> BoxedStrategy<Came> {
    (occasion(), guest_virtual(), number(), occasion_text())
        .prop_map(|(occasion, place, number, text)| Came {
            occasion,
            place,
            number,
            text,
        })
        .boxed()
}

fn occasion_rule() -> BoxedStrategy<OccasionRule> {
    (occasion(), any::<bool>(), occasion_text())
        .prop_map(|(occasion, stops, name)| OccasionRule {
            occasion,
            stops,
            name: match stops && occasion.has_name() {
                true => name,
                false => OccasionText::EMPTY,
            },
        })
        .boxed()
}

fn occasion_rules(base: GuestVirtual) -> BoxedStrategy<OccasionRules<'static>> {
    vec(occasion_rule(), 0..=Occasion::COUNT)
        .prop_map(move |rules| {
            OccasionRules::encode_into(rules, base, forever(4096)).expect("fits")
        })
        .boxed()
}

fn stop(base: GuestVirtual) -> BoxedStrategy<Stop<'static>> {
    let cause = prop_oneof![
        Just(StopCause::BreakIn),
        event_id().prop_map(|event| StopCause::Event { event }),
        (number16(), any::<u64>())
            .prop_map(|(reason, detail)| StopCause::CoreDied { reason, detail }),
        came().prop_map(StopCause::Occasion)
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
        option::of(stop_task()),
    )
        .prop_map(
            move |(halt, cause, core, rip, code, missing_cores, hits, task)| Stop {
                halt,
                cause,
                core,
                rip,
                code,
                missing_cores,
                hits: list(&hits, base),
                task,
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
