//! What each error is as a value: its kind and its parts. The words are those that people see. An
//! error that is added does not compile before it has its parts here. Called when a command or an
//! output failed.

use super::{CommandError, ParseError};
use crate::answer::{Count, Failure, Field, Hex, Problem, Scalar};
use crate::assembler::AssemblyError;
use crate::expression::SyntaxError;
use crate::expression::eval::EvalError;
use crate::recording::told::{self, Told};
use crate::recording::value::Value;
use crate::saved::SavedError;
use crate::script::problem::Explained;
use crate::session::SessionError;
use crate::sink::SinkError;
use crate::symbol::modules::ModuleError;
use crate::timeout::LineState;
use crate::types::kebab;
use wire_protocol::address::GuestVirtual;
use wire_protocol::link::SendError;
use wire_protocol::refusal::{EventRefusal, Refusal};

macro_rules! scalars {
    ($($type:ty: $value:ident => $scalar:expr;)*) => {
        $(impl From<&$type> for Scalar {
            fn from($value: &$type) -> Self {
                $scalar
            }
        })*
    };
}

scalars! {
    String: text => Self::Text(text.clone());
    &str: text => Self::Text((*text).to_owned());
    u8: number => Self::Number(Count((*number).into()));
    u16: number => Self::Number(Count((*number).into()));
    u32: number => Self::Number(Count((*number).into()));
    usize: number => Self::Number(Count(*number as u64));
    u64: value => Self::Hex(Hex(*value));
    GuestVirtual: address => Self::Hex(Hex(address.0));
    Option<String>: text => text.as_ref().map_or(Self::Nothing(()), Self::from);
}

/// An error that can be told apart by programs.
trait Described {
    /// Kinds of its own and their parts; what it passes on has others.
    const SHAPES: &'static [Shape];

    /// Its kind and its parts.
    fn describe(&self) -> Parts;
}

type Parts = (String, Vec<Field>);

/// Name of a variant and of its parts.
type Shape = (&'static str, &'static [&'static str]);

fn field(name: &str, value: Scalar) -> Field {
    Field {
        name: name.to_owned(),
        value,
    }
}

/// One part more.
fn with(name: &str, value: Scalar, (kind, mut fields): Parts) -> Parts {
    fields.push(field(name, value));
    (kind, fields)
}

/// Kinds and parts of an enumeration of errors: a variant that is not listed does not compile.
macro_rules! described {
    ($type:ty {
        $($variant:ident { $($field:ident),* })*
    } $(inner { $($inner:pat => $parts:expr,)* })?) => {
        impl Described for $type {
            const SHAPES: &'static [Shape] =
                &[$((stringify!($variant), &[$(stringify!($field)),*])),*];

            fn describe(&self) -> Parts {
                match self {
                    $(Self::$variant { $($field),* } => (
                        kebab(stringify!($variant)),
                        vec![$(field(stringify!($field), Scalar::from($field))),*],
                    ),)*
                    $($($inner => $parts,)*)?
                }
            }
        }
    };
}

described!(CommandError {
    NoInstructionStart { at, address, instruction, start }
    DiscardedCode { at, address }
    NoSymbols {}
    NoMatch { pattern }
    NoModule { name }
    NoProcess { name }
    ManyProcesses { name, pids }
    NoSuchProcess { pid }
    NoSuchThread { tid }
    IsThread { tid, pid, name }
    Exited { pid, name }
    KernelThread { tid, name }
    NoUserCode { tid, name }
    NoTaskAt { address }
    NoTasks {}
    TasksLoop { at }
    TasksCut { at }
    NoSwitch {}
    NotSaved { name, tid }
    NoSavedRegisters { tid, name }
    ContextRegisters {}
    NoPlace { address }
    TooBig { what, value, limit }
    OutOfRange { what, value, least, most }
    NoRegister { name }
    NoVirtual { physical }
    MemoryFile { path, why }
    Script { path, why }
    ScriptFailed { path, line }
    ScriptDepth { limit }
    Partly { failed, count }
    NoResult {}
    IsAnEvent { id }
    NoBreakpoint { id }
    AddressOfThen {}
} inner {
    Self::Parse(error) => error.describe(),
    Self::Saved(error) => error.describe(),
    Self::Value(error) => error.describe(),
    Self::Session(error) => error.describe(),
    Self::Modules(error) => error.describe(),
    Self::Sink(error) => error.describe(),
    Self::Program(error) => error.describe(),
    Self::ScriptEnded(failure) => failure.describe(),
    Self::Assembly { option, why } => with("option", option.into(), why.describe()),
});

described!(SavedError {
    SessionFile { path, why }
    NoSessionFile { path }
    FileTaken { path }
    SessionFileVersion { path, version }
    SessionFileDamaged { path }
    NothingSaved { target }
});

described!(ParseError {
    UnknownCommand { name, similar }
    Missing { argument, syntax }
    Extra { rest, syntax }
    BadWord { word, expected }
    UnknownOption { option, similar }
    Exclusive { one, other, help }
    Unfit { option, why }
    BadBlock { option, why }
    BadKey { why }
    TooManyOutputs { count, limit }
    OutputTwice { name }
    OpenBlock {}
    OpenComment {}
    OpenQuote {}
    Twice { option }
} inner {
    Self::Expression { argument, why } => with("argument", argument.into(), why.describe()),
});

described!(EvalError {
    UnknownSymbol { name, similar }
    UnknownRegister { name }
    UnknownPseudo { name }
    DivisionByZero {}
    Short { address, bytes }
} inner {
    Self::Unreadable(why) => ("unreadable".to_owned(), vec![field("why", why.into())]),
});

described!(SessionError {
    GivenUp { what }
    NoLine { line, why }
    LineGivenUp { line, why }
    Connected { line }
    NotConnected {}
    BadReply { what, kind }
    DriverGone {}
    Busy { seconds }
    TakenOver {}
    Running {}
    Halted {}
    NotAtEvent {}
    NoThreadSteps {}
    TooLong { what }
    UnknownSystem { tag }
    NotAskedThen { asked, next }
} inner {
    Self::Refused(refusal) => refusal.describe(),
    Self::NoAnswer { what, seconds, line } => no_answer(what, *seconds, line),
    Self::NotOpened { line, seconds, why } => {
        let seconds = Scalar::Number(Count(*seconds));
        let fields = [("line", line.into()), ("seconds", seconds), ("why", why.into())];
        ("not-opened".to_owned(), fields.map(|(name, value)| field(name, value)).into())
    },
    Self::NotStopped { seconds } => {
        ("not-stopped".to_owned(), vec![field("seconds", Scalar::Number(Count(*seconds)))])
    },
    Self::Unsent { what, why } => unsent(what, why),
});

fn no_answer(what: &str, seconds: u64, line: &LineState) -> Parts {
    let (foreign_bytes, lost) = match line {
        LineState::Open => (Scalar::Nothing(()), Scalar::Nothing(())),
        LineState::Foreign { bytes } => (Scalar::Number(Count(*bytes)), Scalar::Nothing(())),
        LineState::Lost { why } => (Scalar::Nothing(()), why.into()),
    };
    let fields = vec![
        field("what", (&what).into()),
        field("seconds", Scalar::Number(Count(seconds))),
        field("foreign_bytes", foreign_bytes),
        field("lost", lost),
    ];
    ("no-answer".to_owned(), fields)
}

/// A message that the link does not take.
fn unsent(what: &str, why: &SendError) -> Parts {
    let (why, numbers) = match why {
        SendError::NotConnected => ("not-connected", vec![]),
        SendError::QueueFull {
            wanted_bytes,
            free_bytes,
        } => (
            "queue-full",
            vec![("wanted_bytes", wanted_bytes), ("free_bytes", free_bytes)],
        ),
        SendError::TooLong {
            limit_bytes,
            wanted_bytes,
        } => (
            "too-long",
            vec![("limit_bytes", limit_bytes), ("wanted_bytes", wanted_bytes)],
        ),
    };
    let mut fields = vec![field("what", (&what).into()), field("why", (&why).into())];
    fields.extend(
        numbers
            .into_iter()
            .map(|(name, number)| field(name, number.into())),
    );
    ("unsent".to_owned(), fields)
}

described!(SinkError {
    Unknown { name }
    Exists { name }
    IsOpen { name }
    IsClosed { name }
    CannotOpen { name, target, why }
    Lost { name, target, why }
});

described!(ModuleError<SessionError> {
    NoLayout {}
    Short { address }
    TooManySymbols { name, count }
} inner {
    Self::Memory(error) => error.describe(),
});

/// The parts of refusals are those that recordings tell, in the forms that answers have.
macro_rules! refused {
    ($($name:ident: $shapes:ident;)*) => {
        $(impl Described for $name {
            const SHAPES: &'static [Shape] = told::$shapes;

            fn describe(&self) -> Parts {
                let value = self.told();
                let kind = kebab(value.kind());
                let parts = value.into_parts().into_iter();
                let parts = parts.map(|(name, value)| field(&name, value.into()));
                (kind, parts.collect())
            }
        })*
    };
}

refused! {
    Refusal: REFUSALS;
    EventRefusal: EVENT_REFUSALS;
}

impl From<Value> for Scalar {
    fn from(value: Value) -> Self {
        match value {
            Value::Nothing => Self::Nothing(()),
            Value::Count(number) => Self::Number(Count(number)),
            Value::Number(number) => Self::Number(Count(number.into())),
            Value::Hex(value) | Value::Address(value) => Self::Hex(Hex(value)),
            Value::Text(text) | Value::Word(text) => Self::Text(text),
            // Refusals have no others.
            other => Self::Text(other.to_string()),
        }
    }
}

described!(SyntaxError {
    BadNumber { token, base }
    TooBig { token }
    BareRegister { name }
    NoNumber { word }
    Truth {}
    Unexpected { rest }
    ScriptOnly { what }
} inner {
    Self::Wrong(why) => ("wrong-syntax".to_owned(), vec![field("why", why.into())]),
});

impl Described for Explained {
    const SHAPES: &'static [Shape] = &[(
        "WrongScript",
        &["file", "line", "column", "what", "help", "excerpt"],
    )];

    fn describe(&self) -> Parts {
        let Self {
            file,
            line,
            column,
            what,
            help,
            excerpt,
        } = self;
        let fields = vec![
            field("file", file.into()),
            field("line", line.into()),
            field("column", column.into()),
            field("what", what.into()),
            field("help", help.into()),
            field("excerpt", excerpt.into()),
        ];
        ("wrong-script".to_owned(), fields)
    }
}

impl Described for AssemblyError {
    const SHAPES: &'static [Shape] = &[("WrongAssembly", &["line", "column", "why"])];

    fn describe(&self) -> Parts {
        let Self { line, column, why } = self;
        let fields = vec![
            field("line", line.into()),
            field("column", column.into()),
            field("why", why.into()),
        ];
        ("wrong-assembly".to_owned(), fields)
    }
}

impl Described for Failure {
    const SHAPES: &'static [Shape] = &[("ScriptEnded", &["cause", "at", "file", "line", "detail"])];

    fn describe(&self) -> Parts {
        let line = self.line.as_ref();
        let fields = vec![
            field("cause", (&self.cause.name()).into()),
            field("at", (&self.at).into()),
            field("file", (&line.map(|line| line.file.clone())).into()),
            field(
                "line",
                line.map_or(Scalar::Nothing(()), |line| (&line.line).into()),
            ),
            field("detail", Scalar::Hex(self.detail)),
        ];
        ("script-ended".to_owned(), fields)
    }
}

/// Kinds that the list of no type has.
const OTHERS: &[Shape] = &[
    ("NotConnected", &[]),
    ("Unreadable", &["why"]),
    ("WrongSyntax", &["why"]),
    ("NoAnswer", &["what", "seconds", "foreign_bytes", "lost"]),
    ("NotOpened", &["line", "seconds", "why"]),
    ("NotStopped", &["seconds"]),
    ("Unsent", &["what", "why"]),
    ("Unsent", &["what", "why", "wanted_bytes", "free_bytes"]),
    ("Unsent", &["what", "why", "limit_bytes", "wanted_bytes"]),
];

/// Every kind of problem with the names of its parts, by name. Two of a kind with other parts
/// are two entries. An argument or option that the problem is about may be one part more.
#[must_use]
pub fn shapes() -> Vec<(String, &'static [&'static str])> {
    let lists = [
        CommandError::SHAPES,
        ParseError::SHAPES,
        EvalError::SHAPES,
        SessionError::SHAPES,
        SinkError::SHAPES,
        SavedError::SHAPES,
        ModuleError::<SessionError>::SHAPES,
        told::REFUSALS,
        told::EVENT_REFUSALS,
        SyntaxError::SHAPES,
        Explained::SHAPES,
        AssemblyError::SHAPES,
        Failure::SHAPES,
        OTHERS,
    ];
    let mut shapes: Vec<_> = lists
        .into_iter()
        .flatten()
        .map(|(name, parts)| (kebab(name), *parts))
        .collect();
    shapes.sort_unstable();
    shapes.dedup();
    shapes
}

/// The kinds of refusals, of the two lists that make them.
pub fn refusals() -> impl Iterator<Item = String> {
    let lists = [told::REFUSALS, told::EVENT_REFUSALS];
    lists.into_iter().flatten().map(|(name, _)| kebab(name))
}

/// The number of a refusal, if it is one.
const fn code(error: &CommandError) -> Option<Hex> {
    match error {
        CommandError::Session(SessionError::Refused(refusal))
        | CommandError::Modules(ModuleError::Memory(SessionError::Refused(refusal))) => {
            Some(Hex(refusal.code() as u64))
        }
        _ => None,
    }
}

impl From<&CommandError> for Problem {
    fn from(error: &CommandError) -> Self {
        let (kind, fields) = error.describe();
        Self {
            kind,
            code: code(error),
            fields,
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::address::EventId;

    #[test]
    fn a_refusal_has_its_number_and_its_parts() {
        let refusal = EventRefusal::PageTaken { event: EventId(7) };
        let error = CommandError::from(SessionError::Refused(refusal.into()));
        let problem = Problem::from(&error);
        assert_eq!(problem.kind, "page-taken");
        assert_eq!(problem.code, Some(Hex(refusal_code(refusal))));
        assert_eq!(problem.fields, [field("event", Scalar::Number(Count(7)))]);
        assert_eq!(problem.message, error.to_string());
    }

    fn refusal_code(refusal: EventRefusal) -> u64 {
        Refusal::from(refusal).code().into()
    }

    #[test]
    fn parts_of_parts_are_told() {
        let error = CommandError::Parse(ParseError::Expression {
            argument: "the address",
            why: SyntaxError::BadNumber {
                token: "9z".into(),
                base: 16,
            },
        });
        let problem = Problem::from(&error);
        assert_eq!(problem.kind, "bad-number");
        let names: Vec<_> = problem.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["token", "base", "argument"]);
    }
}
