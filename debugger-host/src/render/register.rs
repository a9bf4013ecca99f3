//! Registers.

use crate::expression::register::FLAGS;
use wire_protocol::register::Register;

/// `iopl=0 if zf pf`: the flags that are set.
#[must_use]
pub fn flags(value: u64) -> String {
    let mut words = vec![format!("iopl={}", value >> 12 & 3)];
    words.extend(
        FLAGS
            .iter()
            .rev()
            .filter(|(_, bit, width)| *width == 1 && value & (1 << bit) != 0)
            .map(|(name, _, _)| (*name).to_owned()),
    );
    words.join(" ")
}

/// Lines of `r`: general registers three in a row, rip, flags, segments.
#[must_use]
pub fn registers(values: &[(Register, u64)]) -> String {
    use Register as R;
    let value = |register: R| {
        values
            .iter()
            .find(|(r, _)| *r == register)
            .map_or(0, |(_, v)| *v)
    };
    let row = |registers: &[(&str, R)]| {
        let cells: Vec<String> = registers
            .iter()
            .map(|(name, register)| format!("{name}={:016x}", value(*register)))
            .collect();
        cells.join(" ")
    };
    let segments = [
        ("cs", R::Cs),
        ("ss", R::Ss),
        ("ds", R::Ds),
        ("es", R::Es),
        ("fs", R::Fs),
        ("gs", R::Gs),
    ]
    .map(|(name, register)| format!("{name}={:04x}", value(register)))
    .join("  ");
    [
        row(&[("rax", R::Rax), ("rbx", R::Rbx), ("rcx", R::Rcx)]),
        row(&[("rdx", R::Rdx), ("rsi", R::Rsi), ("rdi", R::Rdi)]),
        row(&[("rip", R::Rip), ("rsp", R::Rsp), ("rbp", R::Rbp)]),
        row(&[(" r8", R::R8), (" r9", R::R9), ("r10", R::R10)]),
        row(&[("r11", R::R11), ("r12", R::R12), ("r13", R::R13)]),
        row(&[("r14", R::R14), ("r15", R::R15)]),
        flags(value(R::Rflags)),
        format!("{segments}  rflags={:08x}", value(R::Rflags)),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_flags_are_named() {
        assert_eq!(flags(0x246), "iopl=0 if zf pf");
        assert_eq!(flags(0x3002), "iopl=3");
    }

    #[test]
    fn every_general_register_is_shown() {
        let values: Vec<_> = (0..18)
            .filter_map(|n| Some((Register::from_wire(n)?, 0x1000 + u64::from(n))))
            .collect();
        let text = registers(&values);
        for n in 0..18_u64 {
            assert!(text.contains(&format!("{:x}", 0x1000 + n)), "{n}: {text}");
        }
    }
}
