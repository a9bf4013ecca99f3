//! Processes and threads, as text.

use super::{address, printable};
use crate::answer::task::{ListDamage, Switch, TaskLine};
use crate::answer::{Address, TaskName};

/// `process 1c (sh)`, or a thread of one.
fn named(TaskName { pid, tid, name }: &TaskName) -> String {
    let name = printable(name);
    match pid == tid {
        true => format!("process {pid:x} ({name})"),
        false => format!("thread {tid:x} ({name}) of process {pid:x}"),
    }
}

/// A line each, the widest parts last; and what is wrong with the list.
pub(super) fn list(tasks: &[TaskLine], are_threads: bool, damage: Option<ListDamage>) -> String {
    let mut lines = vec![format!(
        "{:>7} {:>6} {:>6} {:<15} core structure        name{}",
        "pid",
        "tid",
        "parent",
        "state",
        if are_threads {
            ""
        } else {
            "            command"
        }
    )];
    lines.extend(tasks.iter().map(|line| {
        let TaskName { pid, tid, name } = &line.task;
        let mark = if line.is_current { '*' } else { ' ' };
        let command = line.command.as_deref().map_or_else(String::new, printable);
        let text = format!(
            "{mark}{pid:>6x} {tid:>6x} {:>6x} {:<15} {:>4x} {:016x} {:<15} {command}",
            line.parent,
            line.state.name(),
            line.core,
            line.address,
            printable(name),
        );
        text.trim_end().to_owned()
    }));
    lines.extend(damage.map(|damage| match damage {
        ListDamage::Loop { at } => {
            format!(
                "the list is damaged: what stands at {at:016x} leads back into it; it ends here"
            )
        }
        ListDamage::Cut { at } => {
            format!("the list is damaged: what stands at {at:016x} leads nowhere; it ends here")
        }
    }));
    lines.join("\n")
}

/// What a core runs, and what is looked at instead.
pub(super) fn current(core: u16, task: Option<&TaskLine>, context: Option<&TaskLine>) -> String {
    let mut text = match task {
        Some(line) => format!("core {core:x} runs {}", about(line)),
        None => format!("what core {core:x} runs cannot be read"),
    };
    if let Some(line) = context {
        text.push_str(&format!("\ncommands look at {}", about(line)));
    }
    text
}

fn about(line: &TaskLine) -> String {
    let command = line.command.as_deref().map_or_else(String::new, |text| {
        format!(", command `{}`", printable(text))
    });
    format!(
        "{}, {}, structure {:016x}, page tables {:x}, parent {:x}{command}",
        named(&line.task),
        line.state.name(),
        line.address,
        line.root,
        line.parent,
    )
}

/// Whose memory and registers are looked at now.
pub(super) fn context(line: &TaskLine, has_memory: bool, at: Option<&Address>) -> String {
    let memory = match has_memory {
        true => "",
        false => ", which has no memory of its own",
    };
    let place = match at {
        Some(at) => format!("it goes on at {}", address(at)),
        None => "its registers cannot be read".to_owned(),
    };
    format!(
        "commands look at {}, {}{memory}; {place}",
        named(&line.task),
        line.state.name()
    )
}

/// It runs, so that nothing has to be looked at in another way.
pub(super) fn runs(core: u16, line: &TaskLine) -> String {
    format!(
        "{} runs on core {core:x}, which commands work on now",
        named(&line.task)
    )
}

/// Where the debuggee will halt.
pub(super) fn switching(
    id: u32,
    (to, is_thread): (&TaskName, bool),
    method: Switch,
    at: &Address,
) -> String {
    let who = match is_thread {
        true => format!("thread {:x} ({})", to.tid, printable(&to.name)),
        false => format!("process {:x} ({})", to.pid, printable(&to.name)),
    };
    let place = address(at);
    match method {
        Switch::InItsCode => {
            format!("breakpoint {id:x}: `g` runs until {who} goes on in its own code, at {place}")
        }
        Switch::AtTheSwitch => format!(
            "breakpoint {id:x}: `g` runs until the kernel has switched to {who}, at {place}"
        ),
    }
}
