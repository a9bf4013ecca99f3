//! An event as a command that sets it again, in this kernel or another one: what was typed, but for registers, memory and
//! bare addresses, which mean something else by then. Called when an event was added.

use super::options::{Options, Process};
use super::source::Source;
use super::trigger::{End, TriggerArguments};
use super::{AddEvent, Debugger, NewEvent};
use crate::command::kept::KeptEvent;
use crate::expression::{Expression, parser};
use crate::symbol::resolve::Symbols;
use std::fmt::Write;
use wire_protocol::address::EventId;
use wire_protocol::event::{Access, Settings, Space, Stage, Trigger};
use wire_protocol::refusal::Refusal;

/// What an expression is made of.
#[derive(Clone, Copy, Default)]
struct Made {
    of_names: bool,
    of_state: bool,
}

fn made(expression: &Expression) -> Made {
    match expression {
        Expression::Number { .. } => Made::default(),
        Expression::Symbol(_) => Made {
            of_names: true,
            of_state: false,
        },
        Expression::Register { .. } | Expression::Pseudo(_) | Expression::Memory(..) => Made {
            of_names: false,
            of_state: true,
        },
        Expression::Unary(_, of) => made(of),
        Expression::Binary(_, one, other) => {
            let (one, other) = (made(one), made(other));
            Made {
                of_names: one.of_names | other.of_names,
                of_state: one.of_state | other.of_state,
            }
        }
    }
}

/// The name of an address and true, or its number and false.
fn place(address: u64, symbols: &Symbols) -> (String, bool) {
    let named = symbols.place(address).filter(|place| {
        let name = place.name.as_ref();
        let base = name.and_then(|name| symbols.find(&format!("{}!{name}", place.module)));
        base.is_some_and(|base| base.wrapping_add(place.offset) == address)
    });
    let text = named.map(|place| place.to_string());
    match text.filter(|text| parser::parse(text).is_ok()) {
        Some(text) => (text, true),
        None => (format!("{address:x}"), false),
    }
}

/// The trigger's own arguments, and whether a bare address stands there.
fn arguments(event: &AddEvent, trigger: &Trigger, symbols: &Symbols) -> (String, bool) {
    let typed = || (event.own.clone(), false);
    let number = |of: Option<&Expression>, value: u64| match of {
        Some(of) if made(of).of_state => (format!("{value:x}"), false),
        _ => typed(),
    };
    match (&event.arguments, *trigger) {
        (
            TriggerArguments::EptHook(at) | TriggerArguments::EptHook2(at),
            Trigger::EptHook { address } | Trigger::EptHook2 { address },
        ) => {
            let made = made(at);
            if made.of_names && !made.of_state {
                return typed();
            }
            let (text, is_named) = place(address.0, symbols);
            (text, !is_named)
        }
        (
            TriggerArguments::Monitor { from, to, .. },
            Trigger::Monitor {
                space,
                access,
                from: at,
                len_bytes,
            },
        ) => {
            let end = match to {
                End::At(to) | End::Length(to) => made(to),
            };
            let begin = made(from);
            if begin.of_names && !begin.of_state && !end.of_state {
                return typed();
            }
            let (space, (text, is_named)) = match space {
                Space::Virtual => ("va", place(at, symbols)),
                Space::Physical => ("pa", (format!("{at:x}"), true)),
            };
            let letters = [
                (Access::READ, 'r'),
                (Access::WRITE, 'w'),
                (Access::EXECUTE, 'x'),
            ];
            let letters = letters.iter().filter(|(one, _)| access.contains(*one));
            let access: String = letters.map(|(_, letter)| letter).collect();
            (
                format!("{space} {access} {text} l {len_bytes:x}"),
                !is_named,
            )
        }
        (TriggerArguments::Numbered(_, of), trigger) => {
            number(of.as_ref(), number_of(&trigger).unwrap_or_default())
        }
        (TriggerArguments::Interrupt(of), Trigger::Interrupt { vector }) => {
            number(Some(of), vector.into())
        }
        (TriggerArguments::CrWrite(_, Some(of)), Trigger::CrWrite { mask, .. })
            if made(of).of_state =>
        {
            let register = event.own.split_whitespace().next().unwrap_or_default();
            (format!("{register} mask {mask:x}"), false)
        }
        _ => typed(),
    }
}

fn number_of(trigger: &Trigger) -> Option<u64> {
    match *trigger {
        Trigger::Syscall { number, .. }
        | Trigger::SyscallEntry { number }
        | Trigger::Cpuid { leaf: number }
        | Trigger::MsrRead { msr: number }
        | Trigger::MsrWrite { msr: number }
        | Trigger::Xsetbv { xcr: number } => number.map(Into::into),
        Trigger::IoIn { port } | Trigger::IoOut { port } => port.map(Into::into),
        Trigger::Exception { vector } => vector.map(Into::into),
        _ => None,
    }
}

fn block(text: &mut String, option: &str, source: &Source) {
    let _ = match source {
        Source::Script(of) | Source::Expression(of) => write!(text, " {option} {{{of}}}"),
        Source::File(path) => write!(text, " {option} {{file:\"{path}\"}}"),
        Source::Assembly(of) => write!(text, " asm {option} {{{of}}}"),
        Source::Bytes(bytes) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(text, " {option} {{{}}}", bytes.join(" "))
        }
    };
}

/// The options, each with a blank before it.
fn options(options: &Options, settings: &Settings) -> String {
    let mut text = String::new();
    let _ = match (&options.pid, settings.filter.pid) {
        (Some(Process::Name(name)), _) => write!(text, " pid {name}"),
        (Some(Process::Number(_)), Some(pid)) => write!(text, " pid {pid:x}"),
        _ => Ok(()),
    };
    if let Some(tid) = settings.filter.tid {
        let _ = write!(text, " tid {tid:x}");
    }
    if let Some(core) = settings.filter.core {
        let _ = write!(text, " core {:x}", core.0);
    }
    match options.stage {
        Stage::Pre => {}
        Stage::Post => text.push_str(" stage post"),
        Stage::All => text.push_str(" stage all"),
    }
    if options.short_circuit {
        text.push_str(" sc on");
    }
    if !options.immediate {
        text.push_str(" imm no");
    }
    if settings.options.buffer_bytes > 0 {
        let _ = write!(text, " buffer {:x}", settings.options.buffer_bytes);
    }
    if let Some(breakpoint) = settings.breakpoint {
        if breakpoint.first_pass > 1 {
            let _ = write!(text, " passes {:x}", breakpoint.first_pass);
        }
        if options.is_once {
            text.push_str(" once");
        }
    }
    if options.is_forced {
        text.push_str(" force");
    }
    if !options.output.is_empty() {
        let _ = write!(text, " output {{{}}}", options.output.join(", "));
    }
    let blocks = [
        ("condition", &options.condition),
        ("code", &options.code),
        ("script", &options.script),
    ];
    for (option, source) in blocks {
        if let Some(source) = source {
            block(&mut text, option, source);
        }
    }
    text
}

impl AddEvent {
    /// Remembers how to set the event again, if it was set.
    pub(in crate::command) fn keep(
        &self,
        debugger: &mut Debugger,
        event: &NewEvent,
        result: Option<&Result<EventId, Refusal>>,
    ) {
        let Some(Ok(id)) = result else { return };
        let settings = &event.settings;
        let (own, is_by_address) = arguments(self, &settings.trigger, &debugger.symbols);
        let blank = if own.is_empty() { "" } else { " " };
        let options = options(&self.options, settings);
        let kept = KeptEvent {
            command: format!("{}{blank}{own}{options}", self.name),
            is_enabled: true,
            is_by_address,
            is_spent: false,
        };
        debugger.kept.add(id.0, kept);
    }
}
