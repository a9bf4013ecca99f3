//! Registers.

use crate::answer::{Flags, RegisterValue};

/// `iopl=0 if zf pf`: the flags that are set.
pub(super) fn flags(flags: &Flags) -> String {
    let mut words = vec![format!("iopl={}", flags.iopl)];
    words.extend(flags.set.iter().cloned());
    words.join(" ")
}

/// Behind the value of a register that changed since the stop before.
fn mark(changed: Option<&[String]>, name: &str) -> &'static str {
    match changed {
        Some(changed) if changed.iter().any(|of| of == name) => "*",
        _ => "",
    }
}

/// Lines of `r all`.
pub(super) fn all(registers: &[RegisterValue], changed: Option<&[String]>) -> String {
    registers
        .iter()
        .map(|register| {
            let RegisterValue { name, value } = register;
            format!("{name}={value:016x}{}", mark(changed, name))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Lines of `r`: general registers three in a row, rip, flags, segments; with a `*` behind those that changed.
pub(super) fn general(
    registers: &[RegisterValue],
    set: &Flags,
    changed: Option<&[String]>,
) -> String {
    let value = |name: &str| {
        registers
            .iter()
            .find(|register| register.name == name)
            .map_or(0, |register| register.value.0)
    };
    let mark = |name: &str| mark(changed, name);
    // Columns stand below each other, marked or not.
    let is_marked = changed.is_some_and(|changed| !changed.is_empty());
    let width = if is_marked { 22 } else { 21 };
    let row = |names: &[&str]| {
        let columns: Vec<String> = names
            .iter()
            .map(|name| {
                format!(
                    "{:<width$}",
                    format!("{name:>3}={:016x}{}", value(name), mark(name))
                )
            })
            .collect();
        columns.concat().trim_end().to_owned()
    };
    let segments = ["cs", "ss", "ds", "es", "fs", "gs"]
        .map(|name| format!("{:<9}", format!("{name}={:04x}{}", value(name), mark(name))))
        .concat();
    [
        row(&["rax", "rbx", "rcx"]),
        row(&["rdx", "rsi", "rdi"]),
        row(&["rip", "rsp", "rbp"]),
        row(&["r8", "r9", "r10"]),
        row(&["r11", "r12", "r13"]),
        row(&["r14", "r15"]),
        flags(set),
        format!("{segments}rflags={:08x}{}", value("rflags"), mark("rflags")),
    ]
    .join("\n")
}
