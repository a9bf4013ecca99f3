//! Events, pools and halts.

use super::{address, bytes, code};
use crate::disasm::disassemble;
use crate::session::{Halt, Pools};
use crate::symbol::resolve::Symbols;
use std::fmt::Write;
use wire_protocol::event::{Actions, EventEntry, Filter, FreeCounts, PoolClass, Settings, Trigger};
use wire_protocol::packet::StopCause;

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40)` or `cpuid 1`.
#[must_use]
pub fn trigger(trigger: Trigger, symbols: &Symbols) -> String {
    match trigger {
        Trigger::EptHook { address: at } => format!("epthook {}", address(at.0, symbols)),
        Trigger::Cpuid { leaf: Some(leaf) } => format!("cpuid {leaf:x}"),
        _ => trigger.name().into(),
    }
}

fn filter(filter: Filter) -> String {
    let mut text = String::new();
    if let Some(pid) = filter.pid {
        let _ = write!(text, ", pid {pid:x}");
    }
    if let Some(core) = filter.core {
        let _ = write!(text, ", core {core}");
    }
    text
}

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40), pid 1c, break`
#[must_use]
pub fn event_line(settings: &Settings, symbols: &Symbols) -> String {
    let action = if settings.actions.contains(Actions::BREAK) {
        ", break"
    } else {
        ", no action"
    };
    format!(
        "{}{}{action}",
        trigger(settings.trigger, symbols),
        filter(settings.filter)
    )
}

fn counted(count: u32, one: &str, many: &str) -> String {
    let word = if count == 1 { one } else { many };
    format!("{count} {word}")
}

/// `; 13 regular events and 13 hooks left`, in decimal; empty if no class is concerned.
#[must_use]
pub fn free_counts(free: &FreeCounts) -> String {
    let counts: Vec<String> = free
        .iter()
        .map(|(class, count)| {
            let (one, many) = match class {
                PoolClass::RegularEvent => ("regular event", "regular events"),
                PoolClass::BigEvent => ("big event", "big events"),
                PoolClass::RegularSafeBuffer => ("regular safe buffer", "regular safe buffers"),
                PoolClass::BigSafeBuffer => ("big safe buffer", "big safe buffers"),
                PoolClass::EptHook => ("hook", "hooks"),
                PoolClass::EptHook2 => ("detour page", "detour pages"),
                PoolClass::Monitor => ("monitored page", "monitored pages"),
                PoolClass::ThreadInterception => ("thread interception", "thread interceptions"),
            };
            counted(count, one, many)
        })
        .collect();
    if counts.is_empty() {
        String::new()
    } else {
        format!("; {} left", counts.join(" and "))
    }
}

/// Lines of `pools`. Counts are decimal.
#[must_use]
pub fn pools(pools: &Pools) -> String {
    let mut text = format!(
        "{:<20} {:>12} {:>9} {:>8} {:>8}\n",
        "class", "object bytes", "reserved", "in use", "free"
    );
    for line in &pools.lines {
        let _ = writeln!(
            text,
            "{:<20} {:>12} {:>9} {:>8} {:>8}",
            line.class.name(),
            line.object_bytes,
            line.reserved,
            line.in_use,
            line.reserved.saturating_sub(line.in_use)
        );
    }
    let _ = write!(
        text,
        "arena: {} bytes carved, {} bytes left ({})",
        pools.arena_carved_bytes,
        pools.arena_left_bytes,
        bytes(pools.arena_left_bytes)
    );
    text
}

/// What a user sees first of a halt: why, then the instruction that is next.
#[must_use]
pub fn halt_lines(halt: &Halt, event: Option<&EventEntry>, symbols: &Symbols) -> String {
    let mut lines = vec![match halt.cause {
        StopCause::BreakIn => format!("break-in on core {}", halt.core),
        StopCause::Event { event: id } => {
            let what = event.map_or_else(String::new, |entry| match entry.settings.trigger {
                Trigger::EptHook { address } => symbols.place(address.0).map_or_else(
                    || format!(": epthook {address:016x}"),
                    |place| format!(": epthook {place}"),
                ),
                _ => format!(": {}", trigger(entry.settings.trigger, symbols)),
            });
            format!("event {id} hit on core {}{what}", halt.core)
        }
    }];
    if halt.missing_cores != 0 {
        let missing: Vec<String> = (0..64)
            .filter(|core| halt.missing_cores & (1 << core) != 0)
            .map(|core| format!("{core:x}"))
            .collect();
        lines.push(format!(
            "warning: core {} did not check in and may still run",
            missing.join(", ")
        ));
    }
    let decoded = disassemble(&halt.code, halt.rip.0, symbols);
    match decoded.first() {
        Some(first) => lines.push(code(std::slice::from_ref(first), symbols)),
        None => lines.push(address(halt.rip.0, symbols)),
    }
    lines.join("\n")
}
