//! Requests, replies and notices.

use super::super::value::Value;
use super::refusal::read;
use super::{Told, addressed, counted, flags, told, words};
use crate::unpacked::unpacked;
use wire_protocol::digest::{Digest, DigestKey};
use wire_protocol::event::Selection;
use wire_protocol::pack::Packing;
use wire_protocol::packet::{
    Came, Constants, CoreState, Features, FoundTasks, GuestSystem, Hello, LinuxLayout, MemoryAt,
    Notice, Occasion, OccasionRule, OccasionText, RegisterValues, Reply, Request, StepDetail,
    StepEnd, StepOrder, StepRecord, Stepped, Stop, StopCause, StopTask, Task, TaskName,
    TaskSelection, TaskState, TasksEnd, Until, Walk,
};
use wire_protocol::register::RegisterSet;

flags!(Features);

told!(enum Request<'_> {
    Hello { features },
    ForeignHello { version, body },
    Go,
    Cores,
    ShortCircuit { on },
    Step(order),
    ReadRegisters { core, set },
    WriteRegister { core, register, value: addressed },
    ReadMemory { at, len_bytes: counted, expected },
    WriteMemory { at, bytes },
    Translate { core, root, address },
    ListTasks { which, from: counted },
    Occasions { rules },
    Restart,
    Crash,
    AddEvents { core, all_or_nothing, events },
    ChangeEvents { change, which: selected },
    ListEvents { from },
    EventPrograms { event },
    Prealloc { class, count: counted },
    Pools,
    DefineGlobals(names),
    RunScript { core, program },
    Flush,
    MessageCounts,
    ChangeBranches { order, filter },
    ReadBranches { core },
    DigestMemory { address, len_bytes: counted },
});

told!(enum Reply<'_> {
    Hello(hello),
    ForeignHello { version, body },
    Done,
    Cores(states),
    Stepped(stepped),
    Tasks(found),
    Occasions(rules),
    MemoryAsExpected,
    Physical { address, page_bytes: counted },
    EventsAdded { results, free, digest },
    EventsChanged { count: counted, free, digest },
    Events(entries),
    EventPrograms(programs),
    Carved { ready: counted, queued: counted, free: counted, arena_left_bytes: counted },
    Pools { lines, arena_carved_bytes: counted, arena_left_bytes: counted },
    GlobalsDefined(offsets),
    ScriptRan { value, failure },
    Branches { is_on, branches },
    MessageCounts(counts),
    Digest(digest),
} by {
    Self::Refused(refusal) => Value::Kind("Refused", vec![("refusal".to_owned(), read(refusal))]),
    Self::Registers { set, values } => Value::Kind("Registers", registers(*set, values)),
    Self::Memory { len_bytes, packing, bytes } => memory(*len_bytes, *packing, bytes),
});

told!(enum Notice<'_> {
    Stopped(stop),
    Fault { core, vector, rip: addressed, detail },
    Messages(messages),
    Goodbye,
    Steps(steps),
});

fn selected(which: &Selection) -> Value {
    let all = |of: &str| Value::Read(format!("all {of}"), Box::new(Value::Nothing));
    match which {
        Selection::One(event) => event.told(),
        Selection::Events => all("events"),
        Selection::Breakpoints => all("breakpoints"),
    }
}

fn registers(set: RegisterSet, values: &RegisterValues<'_>) -> Vec<(String, Value)> {
    let names = set.iter().map(crate::types::register::spelling);
    names.zip(values.iter().map(Value::Address)).collect()
}

/// The content itself, however it came; what cannot be unpacked as it came.
fn memory(len_bytes: u32, packing: Option<Packing>, bytes: &[u8]) -> Value {
    let (content, unreadable) = match unpacked(packing, len_bytes as usize, bytes) {
        Some(content) => (Value::Bytes(content), Value::Nothing),
        None => (Value::Nothing, Value::Bytes(bytes.to_vec())),
    };
    let parts = [
        ("len_bytes", counted(&len_bytes)),
        ("packing", packing.told()),
        ("bytes", content),
        ("unreadable", unreadable),
    ];
    let named = parts.map(|(name, value)| (name.to_owned(), value));
    Value::Kind("Memory", named.into())
}

told!(enum MemoryAt {
    Virtual { core, address },
    Tables { root, address },
    Physical { address },
});

impl Told for Digest {
    fn told(&self) -> Value {
        Value::Word(format!("{:032x}", self.0))
    }
}

impl Told for DigestKey {
    fn told(&self) -> Value {
        Value::Bytes(self.0.to_vec())
    }
}

told!(struct Stop<'_> { halt, cause, core, rip, code, missing_cores, hits, task });
told!(struct StopTask { pid, tid, name, changed });
told!(enum TaskSelection {
    Processes,
    Threads,
    ThreadsOf { pid },
    Process { pid },
    Thread { tid },
    At { address },
    On { core },
});
told!(struct FoundTasks<'_> { end, at, tasks });
told!(struct Task<'_> { address, pid, tid, parent, state, core, root, has_memory, saved_at, name, command });

impl Told for OccasionText {
    fn told(&self) -> Value {
        Value::Text(String::from_utf8_lossy(self.as_bytes()).into_owned())
    }
}

impl Told for TaskName {
    fn told(&self) -> Value {
        Value::Text(String::from_utf8_lossy(self.as_bytes()).into_owned())
    }
}

told!(enum StopCause {
    BreakIn,
    Event { event },
    CoreDied { reason, detail },
    Stepped { end },
    Occasion(came),
});
told!(struct Came { occasion, place, number, text });
told!(struct OccasionRule { occasion, stops, name });
words!(Occasion, Packing, StepDetail, StepEnd, TaskState, TasksEnd);
told!(struct StepOrder { core, count: counted, detail, walk });
told!(struct Walk { is_over, is_frozen, until });
told!(
    enum Until {
        Count,
        Call,
        Return,
        Returned,
        Address(address),
    }
);

impl Told for StepRecord<'_> {
    fn told(&self) -> Value {
        let changed = self.registers.as_ref();
        Value::Parts(vec![
            ("rip".to_owned(), self.rip.told()),
            ("code".to_owned(), self.code.told()),
            (
                "registers".to_owned(),
                changed.map_or(Value::Nothing, |(set, values)| {
                    Value::Parts(registers(*set, values))
                }),
            ),
        ])
    }
}

impl Told for Stepped<'_> {
    fn told(&self) -> Value {
        let changed = registers(self.set, &self.values);
        Value::Parts(vec![
            ("stop".to_owned(), self.stop.told()),
            ("count".to_owned(), counted(&self.count)),
            ("registers".to_owned(), Value::Parts(changed)),
            ("steps".to_owned(), self.steps.told()),
        ])
    }
}
told!(enum CoreState {
    Halted { rip },
    WaitForSipi,
    Missing,
    Offline,
    Died { rip },
    Lost,
});

told!(struct Hello<'_> {
    features, session, key, cores: counted, kernel_base, direct_map_base, driver_image, tsc_khz: counted, system,
    constants, banner, ram, stop,
});
told!(struct Constants { arena_bytes: counted, prealloc_only_bytes: counted, hide_time, poll_hz: counted });
told!(enum GuestSystem<'_> {
    Linux(layout),
    Unknown { tag, layout },
});
told!(struct LinuxLayout {
    list_head: addressed, list, name, base, size, kallsyms, kallsyms_symtab, kallsyms_count, kallsyms_strtab,
    init_task: addressed, task_tasks, task_tgid, task_comm, bpf_head: addressed, bpf_list, bpf_start, bpf_end, bpf_name,
});
