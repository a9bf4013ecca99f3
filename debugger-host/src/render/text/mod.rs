//! Values for people. Called by [`super::Output`], and where messages go into files.

mod answer;
mod branch;
mod code;
mod dump;
mod event;
pub mod help;
mod news;
mod occasion;
pub mod recording;
mod register;
mod session_file;
mod status;
mod step;
mod task;
mod value;

pub use answer::answer;
pub use news::{message, news};

use crate::answer::{Address, Name, TaskName, Warning};

/// `vmlinux!do_sys_openat2+4`
fn name(name: &Name) -> String {
    let mut text = name.module.clone();
    if let Some(name) = &name.name {
        text.push('!');
        text.push_str(name);
    }
    if name.offset.0 != 0 {
        text.push_str(&format!("+{:x}", name.offset));
    }
    text
}

/// `vmlinux!do_sys_openat2+4 (ffffffff812b3c40)`, or the bare address.
fn address(at: &Address) -> String {
    at.symbol.as_ref().map_or_else(
        || format!("{:016x}", at.address),
        |symbol| format!("{} ({:016x})", name(symbol), at.address),
    )
}

/// A warning of a command.
#[must_use]
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::NumberIsSymbol {
            word,
            value,
            symbol,
        } => format!(
            "warning: `{word}` is taken as the number {value:x}; the symbol is vmlinux!{word} ({symbol:016x})"
        ),
        Warning::NumberIsRegister { word, value } => format!(
            "warning: `{word}` is taken as the number {value:x}; the register or flag is `@{word}`"
        ),
        Warning::NoInstructionStart { at, start } => format!(
            "warning: no instruction starts at {}; what the one at {} does is changed by the hook",
            address(at),
            address(start)
        ),
        Warning::HookInData { at } => format!(
            "warning: {} is data; the hook is hit if that is executed, not if it is read or written (`!monitor` is for that)",
            address(at)
        ),
        Warning::NotKept { problem } => format!(
            "warning: what is set is not kept for a later session: {}",
            problem.message
        ),
        Warning::Script { problem } => format!("warning: {problem}"),
    }
}

/// That commands were thrown away, since one before them failed.
#[must_use]
pub fn not_run(count: usize) -> String {
    match count {
        1 => "not run: 1 command that was pasted or typed behind it".to_owned(),
        _ => format!("not run: {count} commands that were pasted or typed behind it"),
    }
}

/// The prompt while there is no debuggee.
pub const PROMPT_OF_NONE: &str = "kd> ";

/// The prompt of a halted debuggee, with its operating core and what that runs.
#[must_use]
pub fn prompt(core: Option<u16>, task: Option<&TaskName>) -> Option<String> {
    let core = core?;
    Some(match task {
        Some(TaskName { pid, name, .. }) => format!("{core:x}: kd[{pid:x} {}]> ", printable(name)),
        None => format!("{core:x}: kd> "),
    })
}

/// A name that its owner chose, on a terminal: what moves the cursor is left out.
fn printable(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    name.chars().map(shown).collect()
}
