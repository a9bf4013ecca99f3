//! At what the debuggee halts by itself, as text.

use super::{name, printable};
use crate::answer::occasion::{EndName, OccasionLine, OccasionName};
use crate::answer::{Address, Hex};

/// One line for each.
pub(super) fn lines(occasions: &[OccasionLine]) -> String {
    let line = |line: &OccasionLine| {
        let what = match (line.halts, &line.only) {
            (false, _) => "goes on".to_owned(),
            (true, None) => "halts".to_owned(),
            (true, Some(only)) => format!("halts for {} alone", printable(only)),
        };
        let names = line.name.names().join(", ");
        format!("{names:<18} {:<45} {what}", about(line.name))
            .trim_end()
            .to_owned()
    };
    occasions.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// In a word or some.
const fn about(name: OccasionName) -> &'static str {
    match name {
        OccasionName::Panic => "kernel panic",
        OccasionName::Oops => "kernel oops: a fault or BUG in the kernel",
        OccasionName::Warn => "kernel warning",
        OccasionName::DoubleFault => "double fault",
        OccasionName::TripleFault => "triple fault: a core cannot go on",
        OccasionName::Reboot => "the kernel restarts the machine",
        OccasionName::PowerOff => "the kernel halts it or switches it off",
        OccasionName::HungTask => "a task waits for too long",
        OccasionName::SoftLockup => "a core does not schedule (a breakpoint)",
        OccasionName::HardLockup => "a core takes no interrupt (a breakpoint)",
        OccasionName::ModuleLoad => "a module comes, before it runs",
        OccasionName::ModuleUnload => "a module goes",
        OccasionName::Create => "a process or thread is made",
        OccasionName::Exit => "a process or thread ends",
        OccasionName::Signal => "a signal kills a process",
        OccasionName::Process => "a program begins, before it runs",
        OccasionName::Int3 => "INT3 that nobody handles",
        OccasionName::Gp => "general-protection fault of the kernel",
    }
}

/// Why the debuggee halted, up to whose thread it is.
pub(super) fn came(
    occasion: OccasionName,
    core: u16,
    place: Option<&Address>,
    number: Hex,
    text: Option<&str>,
) -> String {
    let number = number.0;
    let text = text.map(printable).unwrap_or_default();
    let said = match text.is_empty() {
        true => String::new(),
        false => format!(": {text}"),
    };
    let at = place.map_or_else(String::new, |at| match &at.symbol {
        Some(symbol) => format!(" at {} ({:016x})", name(symbol), at.address),
        None => format!(" at {:016x}", at.address),
    });
    let on = format!("on core {core:x}");
    match occasion {
        OccasionName::Panic => format!("kernel panic {on}{said}"),
        OccasionName::Oops => format!("kernel oops {on}{at}{said}"),
        OccasionName::Warn => format!("kernel warning {on}{at}{said}"),
        OccasionName::DoubleFault => format!("double fault {on}{at}"),
        OccasionName::TripleFault => format!("triple fault {on}{at}"),
        OccasionName::Reboot => format!("the kernel restarts the machine, {on}{said}"),
        OccasionName::PowerOff => format!("the kernel switches the machine off, {on}{said}"),
        OccasionName::HungTask => format!("thread {number:x} ({text}) hangs; found {on}"),
        OccasionName::SoftLockup => format!("soft lockup, found {on}"),
        OccasionName::HardLockup => format!("hard lockup, found {on}"),
        OccasionName::ModuleLoad => format!("module {text} comes, {on}{}", begins(place)),
        OccasionName::ModuleUnload => format!("module {text} goes, {on}{}", begins(place)),
        OccasionName::Create => format!("thread {number:x} ({text}) is made, {on}"),
        OccasionName::Exit => match number & 0x7f {
            0 => format!("a thread exits with {:x}, {on}", number >> 8),
            signal => format!("a thread exits by signal {signal:x}, {on}"),
        },
        OccasionName::Signal => format!("signal {number:x} kills a process, {on}{at}"),
        OccasionName::Process => format!("program {text} begins{at}, {on}"),
        OccasionName::Int3 => format!("INT3 that nobody handles, {on}{at}"),
        OccasionName::Gp => format!("general-protection fault {number:x} of the kernel, {on}{at}"),
    }
}

/// Where its code begins, which is whatever function stands first.
fn begins(place: Option<&Address>) -> String {
    place.map_or_else(String::new, |at| format!(" at {:016x}", at.address))
}

/// What comes of going on there.
pub(super) const fn end(end: EndName) -> &'static str {
    match end {
        EndName::Panicked => {
            "the kernel has panicked: its cores stand still, or wait for a restart that it was told to make; \
             `pause` looks at it again, `.reboot` starts the machine anew"
        }
        EndName::Restarts => {
            "the machine starts anew; this program waits for the driver, and says when it is there again"
        }
        EndName::SwitchesOff => {
            "the machine is switched off or halted; this program waits for the driver, and says when it is there again"
        }
        EndName::NoCore => {
            "no core is left that can run; `pause` looks at them again, `.reboot` starts the \
             machine anew"
        }
    }
}
