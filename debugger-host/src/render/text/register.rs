//! Registers.

use crate::answer::{Flags, RegisterValue};

/// `iopl=0 if zf pf`: the flags that are set.
pub(super) fn flags(flags: &Flags) -> String {
    let mut words = vec![format!("iopl={}", flags.iopl)];
    words.extend(flags.set.iter().cloned());
    words.join(" ")
}

/// Lines of `r all`.
pub(super) fn all(registers: &[RegisterValue]) -> String {
    registers
        .iter()
        .map(|register| format!("{}={:016x}", register.name, register.value))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lines of `r`: general registers three in a row, rip, flags, segments.
pub(super) fn general(registers: &[RegisterValue], set: &Flags) -> String {
    let value = |name: &str| {
        registers
            .iter()
            .find(|register| register.name == name)
            .map_or(0, |register| register.value.0)
    };
    let row = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("{name:>3}={:016x}", value(name)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let segments = ["cs", "ss", "ds", "es", "fs", "gs"]
        .map(|name| format!("{name}={:04x}", value(name)))
        .join("  ");
    [
        row(&["rax", "rbx", "rcx"]),
        row(&["rdx", "rsi", "rdi"]),
        row(&["rip", "rsp", "rbp"]),
        row(&["r8", "r9", "r10"]),
        row(&["r11", "r12", "r13"]),
        row(&["r14", "r15"]),
        flags(set),
        format!("{segments}  rflags={:08x}", value("rflags")),
    ]
    .join("\n")
}
