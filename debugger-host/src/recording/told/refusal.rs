//! Refusals: their parts, of which the host's answers tell the same, and their sentence.

use super::super::value::Value;
use super::{Told, told, words};
use crate::refusal::refusal as sentence;
use wire_protocol::address::EventId;
use wire_protocol::bytecode::program::Reason;
use wire_protocol::refusal::{
    BranchObstacle, DetourObstacle, EventOption, EventRefusal, ProcessorFeature, ProgramPart,
    Refusal,
};

words!(
    BranchObstacle,
    DetourObstacle,
    ProcessorFeature,
    ProgramPart
);

impl Told for EventOption {
    fn told(&self) -> Value {
        Value::Word(self.name().to_owned())
    }
}

impl Told for Reason {
    fn told(&self) -> Value {
        Value::Word(self.text().to_owned())
    }
}

/// The kinds of refusals with the names of their parts, too.
macro_rules! refusals {
    ($(#[$about:meta])* $list:ident: $name:ident {
        $($variant:ident { $($field:ident),* })*
    } $(by { $($pattern:pat => $value:expr,)* })?) => {
        told!(enum $name {
            $($variant { $($field),* },)*
        } $(by { $($pattern => $value,)* })?);

        $(#[$about])*
        pub const $list: &[(&str, &[&str])] =
            &[$((stringify!($variant), &[$(stringify!($field)),*])),*];
    };
}

refusals!(
    /// Kinds of refusals with the names of their parts.
    REFUSALS: Refusal {
    ProcessNotFound { pid }
    PoolExhausted { class, reserved, in_use, needed, most, object_bytes, arena_left_bytes, possible, refill_ms }
    ValueOutOfRange { value, least, most }
    GlobalLength { has_bytes, asked_bytes }
    GlobalsFull { free_bytes, free_names, asked_bytes }
    CoreNotHeld { core }
    NotPresent { address }
    PhysicalOutOfRange { address, limit }
    DebuggerMemory { address }
    CoreAway { core }
    CoreDied { core }
    NoSuchEvent { event }
    NoSuchCore { core, count }
    ReadOnlyRegister { register }
    BadRegisterValue { register, value }
    TooLong { limit_bytes, asked_bytes }
    NoBranches { obstacle }
    NotHalted {}
    ProtocolVersion { ours }
    UnknownRequest { kind }
    Malformed {}
    AnswerLost {}
    NotWholePages { address, len_bytes }
    ArenaTooSmall { class, asked, possible, room }
} by {
    Self::Event(refusal) => refusal.told(),
});

refusals!(
    /// The same of those that events alone can meet.
    EVENT_REFUSALS: EventRefusal {
    ConditionTooBig { limit_bytes, asked_bytes }
    ActionTooBig { limit_bytes, asked_bytes }
    NoBigEvent { part, regular_bytes, asked_bytes, reserved, object_bytes, arena_left_bytes, possible, refill_ms }
    BufferOverMessage { limit_bytes, asked_bytes, most_bytes }
    BufferTooBig { limit_bytes, asked_bytes }
    BadProgram { part, at, reason }
    OptionDoesNotFit { option }
    OwnPort { port }
    OwnMsr { msr }
    NoFeature { feature }
    ClearIncomplete { core, event }
    TooManyHooksOnPage { limit }
    NotRam { address }
    NoDetour { obstacle }
    PageTaken { event }
});

/// A refusal as users read it.
pub(super) fn read(refusal: &Refusal) -> Value {
    let text = sentence(refusal);
    let told = refusal.told();
    let kind = told.kind();
    let mut parts = told.into_parts();
    parts.push(("code".to_owned(), Value::Hex(refusal.code().into())));
    parts.push(("text".to_owned(), Value::Text(text.clone())));
    Value::Read(text, Box::new(Value::Kind(kind, parts)))
}

/// What became of one event of several.
impl Told for Result<EventId, Refusal> {
    fn told(&self) -> Value {
        match self {
            Ok(event) => Value::Kind("Added", vec![("event".to_owned(), event.told())]),
            Err(refusal) => read(refusal),
        }
    }
}
