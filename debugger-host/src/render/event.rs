//! Events, pools and halts.

use super::{address, bytes, code};
use crate::disasm::disassemble;
use crate::session::{Halt, Pools};
use crate::symbol::resolve::Symbols;
use std::fmt::Write;
use wire_protocol::event::{
    Access, Actions, ConditionKind, ControlRegister, EventEntry, FreeCounts, Modes, PoolClass,
    ProgramSizes, Settings, Space, Stage, TraceKind, Trigger,
};
use wire_protocol::packet::StopCause;

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40)` or `cpuid 1`.
#[must_use]
pub fn trigger(trigger: Trigger, symbols: &Symbols) -> String {
    let name = trigger.name();
    let number = |number: Option<u64>| {
        number.map_or_else(|| name.to_owned(), |number| format!("{name} {number:x}"))
    };
    match trigger {
        Trigger::EptHook { address: at } | Trigger::EptHook2 { address: at } => {
            format!("{name} {}", address(at.0, symbols))
        }
        Trigger::Monitor {
            space,
            access,
            from,
            len_bytes,
        } => {
            let at = match space {
                Space::Virtual => address(from, symbols),
                Space::Physical => format!("pa {from:x}"),
            };
            format!("{name} {} {at} l {len_bytes:x}", accesses(access))
        }
        Trigger::Syscall { number: of, .. }
        | Trigger::SyscallEntry { number: of }
        | Trigger::Cpuid { leaf: of }
        | Trigger::MsrRead { msr: of }
        | Trigger::MsrWrite { msr: of }
        | Trigger::Xsetbv { xcr: of } => number(of.map(u64::from)),
        Trigger::IoIn { port } | Trigger::IoOut { port } => number(port.map(u64::from)),
        Trigger::Exception { vector } => number(vector.map(u64::from)),
        Trigger::Interrupt { vector } => number(Some(u64::from(vector))),
        Trigger::CrWrite { register, mask } => {
            let register = match register {
                ControlRegister::Cr0 => 0,
                ControlRegister::Cr4 => 4,
            };
            match mask {
                u64::MAX => format!("{name} {register}"),
                mask => format!("{name} {register} mask {mask:x}"),
            }
        }
        Trigger::Mode { to } => {
            let signs = [(Modes::KERNEL, "k"), (Modes::USER, "u")];
            let to: String = signs
                .iter()
                .filter(|(mode, _)| to.contains(*mode))
                .map(|(_, sign)| *sign)
                .collect();
            format!("{name} {to}")
        }
        Trigger::Trace { kind } => {
            let kind = match kind {
                TraceKind::StepIn => "step-in",
                TraceKind::StepOut => "step-out",
                TraceKind::Instrument => "instrument-step",
            };
            format!("{name} {kind}")
        }
        Trigger::Sysret { .. } | Trigger::Tsc | Trigger::Pmc | Trigger::Vmcall | Trigger::Dr => {
            name.to_owned()
        }
    }
}

fn accesses(access: Access) -> String {
    let signs = [
        (Access::READ, "r"),
        (Access::WRITE, "w"),
        (Access::EXECUTE, "x"),
    ];
    signs
        .iter()
        .filter(|(one, _)| access.contains(*one))
        .map(|(_, sign)| *sign)
        .collect()
}

/// Options that are not at their defaults, as they are typed.
fn options(settings: &Settings) -> String {
    let mut text = String::new();
    let Settings {
        filter, options, ..
    } = settings;
    if let Some(pid) = filter.pid {
        let _ = write!(text, ", pid {pid:x}");
    }
    if let Some(core) = filter.core {
        let _ = write!(text, ", core {core}");
    }
    match options.stage {
        Stage::Pre => {}
        Stage::Post => text.push_str(", stage post"),
        Stage::All => text.push_str(", stage all"),
    }
    if options.short_circuit {
        text.push_str(", sc on");
    }
    if !options.immediate {
        text.push_str(", imm no");
    }
    if options.buffer_bytes != 0 {
        let _ = write!(text, ", buffer {:x}", options.buffer_bytes);
    }
    text
}

fn programs(settings: &Settings, sizes: &ProgramSizes) -> String {
    let mut text = String::new();
    let condition = match sizes.condition {
        ConditionKind::Always => None,
        ConditionKind::Script => Some("condition"),
        ConditionKind::Code => Some("condition of code"),
    };
    if let Some(condition) = condition {
        let _ = write!(text, ", {condition} ({} bytes)", sizes.condition_bytes);
    }
    for (action, bytes) in [("script", sizes.script_bytes), ("code", sizes.code_bytes)] {
        if bytes != 0 {
            let _ = write!(text, ", {action} ({bytes} bytes)");
        }
    }
    if settings.actions.contains(Actions::BREAK) {
        text.push_str(", break");
    } else if settings.actions.is_empty() {
        text.push_str(", no action");
    }
    text
}

/// `epthook vmlinux!do_sys_openat2 (ffffffff812b3c40), pid 1c, break`
#[must_use]
pub fn event_line(
    settings: &Settings,
    sizes: &ProgramSizes,
    output: &[String],
    symbols: &Symbols,
) -> String {
    let sinks = match output {
        [] => String::new(),
        names => format!(", output {{{}}}", names.join(", ")),
    };
    format!(
        "{}{}{}{sinks}",
        trigger(settings.trigger, symbols),
        options(settings),
        programs(settings, sizes)
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

/// Fewer free objects than this of a class that events use are worth a word.
const LOW: u32 = 4;

/// Whether objects of the class are reserved at load, for events that ask for nothing special.
const fn is_for_every_event(class: PoolClass) -> bool {
    matches!(
        class,
        PoolClass::RegularEvent | PoolClass::EptHook | PoolClass::EptHook2 | PoolClass::Monitor
    )
}

/// A warning when a pool that an event draws on runs low.
#[must_use]
pub fn low_pools(free: &FreeCounts) -> Option<String> {
    let low: Vec<String> = free
        .iter()
        .filter(|(class, count)| *count < LOW && is_for_every_event(*class))
        .map(|(class, count)| {
            let name = class.name();
            format!("{count} of {name} left, `prealloc {name} 10` reserves more")
        })
        .collect();
    (!low.is_empty()).then(|| format!("warning: {}", low.join("; ")))
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
                kind @ (Trigger::EptHook { address } | Trigger::EptHook2 { address }) => {
                    let name = kind.name();
                    symbols.place(address.0).map_or_else(
                        || format!(": {name} {address:016x}"),
                        |place| format!(": {name} {place}"),
                    )
                }
                other => format!(": {}", trigger(other, symbols)),
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
