//! Events, what they run, and what comes of them.

use super::super::value::Value;
use super::packet::DROPPED;
use super::{Told, addressed, counted, flags, told, words};
use wire_protocol::address::EventId;
use wire_protocol::branch::{Branch, BranchKind, BranchOrder, Notes};
use wire_protocol::event::{
    Access, Actions, Breakpoint, Condition, ConditionKind, ControlRegister, EventChange,
    EventEntry, EventSpec, Filter, FreeCounts, Lifetime, Modes, Options, PoolClass, PoolLine,
    ProgramSizes, Programs, Settings, Space, Stage, Standing, SyscallBy, TraceKind, Trigger,
};
use wire_protocol::packet::{
    Argument, Arguments, Content, Failure, FailureCause, GlobalName, GlobalOffset, MessageCounts,
    MessageRecord, Messages, NetworkCounts, Source,
};
use wire_protocol::secure::Dropped;

words!(
    BranchKind,
    BranchOrder,
    ConditionKind,
    ControlRegister,
    EventChange,
    FailureCause,
    Lifetime,
    Space,
    Stage,
    Standing,
    SyscallBy,
    TraceKind,
);
flags!(Access, Actions, Modes);

told!(enum Trigger {
    EptHook { address },
    EptHook2 { address },
    Monitor { space, access, from: addressed, len_bytes: counted },
    Syscall { number, by },
    SyscallEntry { number },
    Sysret { by },
    Cpuid { leaf },
    MsrRead { msr },
    MsrWrite { msr },
    IoIn { port },
    IoOut { port },
    Exception { vector },
    Interrupt { vector },
    Tsc,
    Pmc,
    Vmcall,
    Dr,
    CrWrite { register, mask },
    Xsetbv { xcr },
    Mode { to },
    Trace { kind },
});

/// By the word that users type.
fn typed(trigger: &Trigger) -> Value {
    Value::Kind(trigger.name(), trigger.told().into_parts())
}

told!(struct Filter { pid, tid, core });
told!(struct Breakpoint { first_pass: counted, lifetime });
told!(struct Options { stage, short_circuit, immediate, buffer_bytes: counted, lead_bytes });
told!(struct Settings { trigger: typed, filter, actions, options, breakpoint });
told!(
    enum Condition<'_> {
        Always,
        Script(bytes),
        Code(bytes),
    }
);
told!(struct Programs<'_> { condition, script, code });
told!(struct ProgramSizes {
    condition, condition_bytes: counted, script_bytes: counted, code_bytes: counted, crc,
});
told!(struct EventSpec<'_> { settings, programs });
told!(struct EventEntry { id, settings, sizes, enabled, standing, hits: counted });

/// Of a halt: which event, and how often it was hit so far.
impl Told for (EventId, u64) {
    fn told(&self) -> Value {
        let (event, hits) = self;
        Value::Parts(vec![
            ("event".to_owned(), event.told()),
            ("hits".to_owned(), counted(hits)),
        ])
    }
}

impl Told for PoolClass {
    fn told(&self) -> Value {
        Value::Word(self.name().to_owned())
    }
}

impl Told for FreeCounts {
    fn told(&self) -> Value {
        let named = |(class, free): (PoolClass, u32)| (class.name().to_owned(), counted(&free));
        Value::Parts(self.iter().map(named).collect())
    }
}

told!(struct PoolLine { class, object_bytes: counted, reserved: counted, in_use: counted });

told!(struct GlobalName { hash, len_bytes: counted });

impl Told for GlobalOffset {
    fn told(&self) -> Value {
        self.0.told()
    }
}

told!(struct Branch { from: addressed, to: addressed, notes });
told!(struct Notes { kind, mispredicted, cycles });

told!(
    enum Source {
        Event(event),
        Request,
    }
);

/// What is text is read as such.
fn printed(bytes: &[u8]) -> Value {
    let value = Value::Bytes(bytes.to_vec());
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Value::Read(format!("{text:?}"), Box::new(value)),
        _ => value,
    }
}

impl Told for Argument<'_> {
    fn told(&self) -> Value {
        match self {
            Self::Number(number) => number.told(),
            Self::Bytes(bytes) => printed(bytes),
        }
    }
}

impl Told for Arguments<'_> {
    fn told(&self) -> Value {
        Value::List(self.iter().map(|argument| argument.told()).collect())
    }
}

told!(struct Failure { cause, at, detail });
told!(enum Content<'_> {
    Print { site, arguments },
    Trace { rip: addressed, code },
    Failure(failure),
    Standing(standing),
});
told!(struct MessageRecord<'_> { source, tsc, lost: counted, content });
told!(
    struct MessageCounts {
        produced: counted,
        delivered: counted,
        dropped: counted,
        flushed: counted,
        waiting: counted,
        told: counted,
        network,
    }
);

impl Told for Dropped {
    fn told(&self) -> Value {
        let causes = DROPPED.into_iter().zip(self.counts());
        let causes = causes.map(|(name, count)| (name.to_owned(), counted(&count)));
        Value::Parts(causes.collect())
    }
}

told!(
    struct NetworkCounts {
        dropped,
        sessions: counted,
        rebuilt: counted,
        card_resets: counted,
        heard_ms_ago,
    }
);

impl Told for Messages<'_> {
    fn told(&self) -> Value {
        let records = self.iter().map(|record| record.told());
        Value::Parts(vec![
            ("core".to_owned(), self.core.told()),
            ("records".to_owned(), Value::List(records.collect())),
        ])
    }
}
