//! Events and pools.

use super::address;
use crate::answer::event::{
    Class, Event, Free, Installed, Language, LifetimeName, Pools, StageName, StandingName,
    TraceName, Trigger,
};
use crate::size::{bytes, count};
use std::fmt::Write;

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40)` or `cpuid 1`.
pub(super) fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Instruction { event, at } => format!("{event} {}", address(at)),
        Trigger::Memory {
            event,
            is_physical,
            read,
            write,
            execute,
            at,
            len_bytes,
        } => {
            let at = match is_physical {
                false => address(at),
                true => format!("pa {:x}", at.address),
            };
            let signs = signs(&[(*read, "r"), (*write, "w"), (*execute, "x")]);
            format!("{event} {signs} {at} l {len_bytes:x}")
        }
        Trigger::Number { event, number } => match number {
            Some(number) => format!("{event} {number:x}"),
            None => event.clone(),
        },
        Trigger::ControlRegister {
            event,
            register,
            mask,
        } => match mask.0 {
            u64::MAX => format!("{event} {register}"),
            mask => format!("{event} {register} mask {mask:x}"),
        },
        Trigger::Mode {
            event,
            user,
            kernel,
        } => format!("{event} {}", signs(&[(*kernel, "k"), (*user, "u")])),
        Trigger::Trace { event, which } => {
            let which = match which {
                TraceName::StepIn => "step-in",
                TraceName::StepOut => "step-out",
                TraceName::InstrumentStep => "instrument-step",
            };
            format!("{event} {which}")
        }
        Trigger::Plain { event } => event.clone(),
    }
}

/// The signs of those that hold.
fn signs(signs: &[(bool, &str)]) -> String {
    let held = signs.iter().filter(|(is_held, _)| *is_held);
    held.map(|(_, sign)| *sign).collect()
}

/// Options that are not at their defaults, as they are typed.
fn options(event: &Event) -> String {
    let mut text = String::new();
    if let Some(pid) = event.pid {
        let _ = write!(text, ", pid {pid:x}");
    }
    if let Some(tid) = event.tid {
        let _ = write!(text, ", tid {tid:x}");
    }
    if let Some(core) = event.core {
        let _ = write!(text, ", core {core:x}");
    }
    match event.stage {
        StageName::Pre => {}
        StageName::Post => text.push_str(", stage post"),
        StageName::All => text.push_str(", stage all"),
    }
    if event.short_circuit {
        text.push_str(", sc on");
    }
    if !event.immediate {
        text.push_str(", imm no");
    }
    if event.buffer_bytes != 0 {
        let _ = write!(text, ", buffer {:x}", event.buffer_bytes);
    }
    text
}

fn programs(event: &Event) -> String {
    let mut text = String::new();
    if let Some(condition) = event.condition {
        let what = match condition.language {
            Language::Script => "condition",
            Language::Code => "condition of code",
        };
        let _ = write!(text, ", {what} ({} bytes)", condition.len_bytes);
    }
    for (action, bytes) in [("script", event.script_bytes), ("code", event.code_bytes)] {
        if bytes != 0 {
            let _ = write!(text, ", {action} ({bytes} bytes)");
        }
    }
    if let Some(breakpoint) = event.breakpoint {
        // That it halts goes without saying.
        if breakpoint.first_pass > 1 {
            let _ = write!(text, ", passes {:x}", breakpoint.first_pass);
        }
        match breakpoint.lifetime {
            LifetimeName::UntilCleared => {}
            LifetimeName::UntilItHalts => text.push_str(", once"),
            LifetimeName::UntilNextHalt => text.push_str(", until the next halt"),
        }
    } else if event.breaks {
        text.push_str(", break");
    } else if event.script_bytes == 0 && event.code_bytes == 0 {
        text.push_str(", no action");
    }
    text
}

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40), pid 1c, break`
fn event(event: &Event) -> String {
    let outputs = match event.outputs.as_slice() {
        [] => String::new(),
        names => format!(", output {{{}}}", names.join(", ")),
    };
    format!(
        "{}{}{}{outputs}",
        trigger(&event.trigger),
        options(event),
        programs(event)
    )
}

/// What an event is called.
pub(super) const fn kind(is_breakpoint: bool) -> &'static str {
    if is_breakpoint { "breakpoint" } else { "event" }
}

/// What is said of a new event.
pub(super) fn added(id: u32, new: &Event, free: Option<&[Free]>, low: &[Free]) -> String {
    let left = free.map_or_else(String::new, free_counts);
    let kind = kind(new.breakpoint.is_some());
    let mut text = format!("{kind} {id:x}: {}{left}", event(new));
    if !low.is_empty() {
        text.push('\n');
        text.push_str(&low_pools(low));
    }
    text
}

/// What an enabled event is, and why; `None` if it is as it was asked for.
fn standing(standing: StandingName) -> Option<(&'static str, &'static str)> {
    Some(match standing {
        StandingName::Active => return None,
        StandingName::Breakpoint => (
            "enabled",
            "a hidden breakpoint for now, as its instruction was changed",
        ),
        StandingName::Covered => (
            "stale",
            "no instruction starts there now: a jump that was written before it lies over it",
        ),
        StandingName::Replaced => ("stale", "other code stands there now"),
        StandingName::Unmapped => ("stale", "the address leads to other memory now, or to none"),
        StandingName::Ended => ("stale", "its process has ended or runs another program"),
        StandingName::Crowded => (
            "stale",
            "its page was moved, and no page object is left to follow it; `prealloc`, then add it again",
        ),
    })
}

/// What is said when an event stands otherwise than before.
pub(super) fn stands(now: StandingName) -> String {
    match standing(now) {
        None => "it acts as it was asked for again".to_owned(),
        Some(("stale", why)) => format!("it is stale: {why}"),
        Some((_, why)) => format!("it is {why}"),
    }
}

/// Lines of `events`, or of `bl`.
pub(super) fn events(events: &[Installed], none: &str, is_of_last_halt: bool) -> String {
    let mut lines = Vec::new();
    if events.is_empty() {
        lines.push(none.to_owned());
    }
    if is_of_last_halt {
        lines.push("as of the last halt:".to_owned());
    }
    lines.extend(events.iter().map(|entry| {
        let why = entry.is_enabled.then(|| standing(entry.standing));
        let (state, why) = match why.flatten() {
            _ if !entry.is_enabled => ("disabled", String::new()),
            None => ("enabled", String::new()),
            Some((state, why)) => (state, format!("; {why}")),
        };
        format!(
            "{:>3}  {state:<8}  {}; {} hits{why}",
            format!("{:x}", entry.id),
            event(&entry.event),
            entry.hits
        )
    }));
    lines.join("\n")
}

fn counted(count: u32, one: &str, many: &str) -> String {
    let word = if count == 1 { one } else { many };
    format!("{count} {word}")
}

/// `; 13 regular events and 13 hooks left`, in decimal; empty if no class is concerned.
pub(super) fn free_counts(free: &[Free]) -> String {
    let counts: Vec<String> = free
        .iter()
        .map(|Free { class, count }| {
            let (one, many) = match class {
                Class::RegularEvent => ("regular event", "regular events"),
                Class::BigEvent => ("big event", "big events"),
                Class::RegularSafeBuffer => ("regular safe buffer", "regular safe buffers"),
                Class::BigSafeBuffer => ("big safe buffer", "big safe buffers"),
                Class::Epthook => ("hook", "hooks"),
                Class::Epthook2 => ("detour page", "detour pages"),
                Class::Monitor => ("monitored page", "monitored pages"),
                Class::ThreadInterception => ("thread interception", "thread interceptions"),
            };
            counted(*count, one, many)
        })
        .collect();
    if counts.is_empty() {
        String::new()
    } else {
        format!("; {} left", counts.join(" and "))
    }
}

/// A warning that pools which an event draws on run low.
fn low_pools(low: &[Free]) -> String {
    let low: Vec<String> = low
        .iter()
        .map(|Free { class, count }| {
            let name = class.pool().name();
            format!("{count} of {name} left, `prealloc {name} 10` reserves more")
        })
        .collect();
    format!("warning: {}", low.join("; "))
}

/// What `prealloc` did.
pub(super) fn reserved(class: Class, ready: u32, queued: u32, free: u32, left: u64) -> String {
    let queued = match queued {
        0 => String::new(),
        n => format!(", {} more after the next `g`", count(n)),
    };
    format!(
        "{}: {} ready now{queued}; {} free; {} left in the arena",
        class.pool().name(),
        count(ready),
        count(free),
        bytes(left)
    )
}

/// Lines of `pools`. Counts are decimal.
pub(super) fn pools(pools: &Pools) -> String {
    let mut text = format!(
        "{:<20} {:>12} {:>9} {:>8} {:>8}\n",
        "class", "object bytes", "reserved", "in use", "free"
    );
    for line in &pools.classes {
        let _ = writeln!(
            text,
            "{:<20} {:>12} {:>9} {:>8} {:>8}",
            line.class.pool().name(),
            line.object_bytes,
            line.reserved,
            line.in_use,
            line.free
        );
    }
    let _ = write!(
        text,
        "arena: {} bytes carved, {} bytes left ({})",
        pools.arena_carved_bytes,
        pools.arena_left_bytes,
        bytes(pools.arena_left_bytes.0)
    );
    text
}
