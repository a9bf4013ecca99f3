//! Names of registers, parts of registers and flags. Called by the expression parser, by `r`,
//! and where expressions get their values.

use wire_protocol::register::Register;

/// Flags by name, with bit number and width.
pub const FLAGS: [(&str, u32, u32); 17] = [
    ("cf", 0, 1),
    ("pf", 2, 1),
    ("af", 4, 1),
    ("zf", 6, 1),
    ("sf", 7, 1),
    ("tf", 8, 1),
    ("if", 9, 1),
    ("df", 10, 1),
    ("of", 11, 1),
    ("iopl", 12, 2),
    ("nt", 14, 1),
    ("rf", 16, 1),
    ("vm", 17, 1),
    ("ac", 18, 1),
    ("vif", 19, 1),
    ("vip", 20, 1),
    ("id", 21, 1),
];

/// A register, or some bits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The whole register.
    pub register: Register,
    /// Lowest bit.
    pub shift: u32,
    /// Number of bits.
    pub bits: u32,
}

impl Part {
    /// The largest value it can have.
    #[must_use]
    pub const fn mask(self) -> u64 {
        if self.bits >= 64 {
            u64::MAX
        } else {
            (1 << self.bits) - 1
        }
    }

    /// This part of a register's value.
    #[must_use]
    pub const fn of(self, whole: u64) -> u64 {
        whole >> self.shift & self.mask()
    }

    /// The register's value with this part replaced.
    #[must_use]
    pub const fn replaced(self, whole: u64, part: u64) -> u64 {
        whole & !(self.mask() << self.shift) | (part & self.mask()) << self.shift
    }
}

/// The register that `name` (lower case) stands for.
#[must_use]
pub fn part(name: &str) -> Option<Part> {
    use Register as R;
    let whole = |register| {
        Some(Part {
            register,
            shift: 0,
            bits: 64,
        })
    };
    if let Some((_, shift, bits)) = FLAGS.iter().find(|(flag, ..)| *flag == name) {
        return Some(Part {
            register: R::Rflags,
            shift: *shift,
            bits: *bits,
        });
    }
    if let Some(register) = all().find(|r| spelling(*r) == name) {
        return whole(register);
    }
    let (letters, shift, bits) = short(name)?;
    let register = all().find(|r| spelling(*r) == letters)?;
    Some(Part {
        register,
        shift,
        bits,
    })
}

/// The whole register, shift and width of a short name such as `eax`, `sil` or `r9d`.
fn short(name: &str) -> Option<(String, u32, u32)> {
    const LEGACY: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    if let Some(rest) = name.strip_prefix('r')
        && rest.starts_with(|c: char| c.is_ascii_digit())
    {
        let (number, part) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
        let (shift, bits) = match part {
            "d" => (0, 32),
            "w" => (0, 16),
            "b" | "l" => (0, 8),
            "h" => (8, 8),
            _ => return None,
        };
        return Some((format!("r{number}"), shift, bits));
    }
    match name {
        "eflags" | "flags" => {
            return Some(("rflags".into(), 0, if name == "flags" { 16 } else { 32 }));
        }
        "eip" => return Some(("rip".into(), 0, 32)),
        "ip" => return Some(("rip".into(), 0, 16)),
        _ => {}
    }
    if LEGACY.contains(&name) {
        return Some((format!("r{name}"), 0, 16));
    }
    if let Some(rest) = name.strip_prefix('e')
        && LEGACY.contains(&rest)
    {
        return Some((format!("r{rest}"), 0, 32));
    }
    let (stem, half) = name.split_at_checked(name.len().checked_sub(1)?)?;
    match half {
        "l" if LEGACY[4..].contains(&stem) => Some((format!("r{stem}"), 0, 8)),
        "l" if stem.len() == 1 && "acdb".contains(stem) => Some((format!("r{stem}x"), 0, 8)),
        "h" if stem.len() == 1 && "acdb".contains(stem) => Some((format!("r{stem}x"), 8, 8)),
        _ => None,
    }
}

/// Every register, in the order of their numbers.
pub fn all() -> impl Iterator<Item = Register> {
    (0..=u8::MAX).map_while(Register::from_wire)
}

/// A register's own name, in lower case.
#[must_use]
pub fn spelling(register: Register) -> String {
    match register {
        Register::GdtrBase => "gdtr".into(),
        Register::GdtrLimit => "gdtr_limit".into(),
        Register::IdtrBase => "idtr".into(),
        Register::IdtrLimit => "idtr_limit".into(),
        Register::FsBase => "fs_base".into(),
        Register::GsBase => "gs_base".into(),
        Register::KernelGsBase => "kernel_gs_base".into(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_found_by_its_own_name() {
        for register in all() {
            let found = part(&spelling(register)).map(|part| (part.register, part.bits));
            assert_eq!(found, Some((register, 64)));
        }
    }

    #[test]
    fn parts_of_registers_are_found() {
        for (name, register, shift, bits) in [
            ("rax", Register::Rax, 0, 64),
            ("eax", Register::Rax, 0, 32),
            ("ah", Register::Rax, 8, 8),
            ("sil", Register::Rsi, 0, 8),
            ("r9w", Register::R9, 0, 16),
            ("r15b", Register::R15, 0, 8),
            ("r8l", Register::R8, 0, 8),
            ("r15h", Register::R15, 8, 8),
            ("iopl", Register::Rflags, 12, 2),
            ("eflags", Register::Rflags, 0, 32),
            ("gs_base", Register::GsBase, 0, 64),
            ("gdtr", Register::GdtrBase, 0, 64),
            ("cr3", Register::Cr3, 0, 64),
        ] {
            assert_eq!(
                part(name),
                Some(Part {
                    register,
                    shift,
                    bits
                }),
                "{name}"
            );
        }
        for name in ["", "h", "r16", "r9q", "xh", "eaxx", "r"] {
            assert_eq!(part(name), None, "{name}");
        }
    }

    #[test]
    fn the_rest_of_a_register_stays_when_a_part_is_written() {
        let ah = part("ah").expect("known");
        assert_eq!(ah.replaced(0x1122_3344, 0x55), 0x1122_5544);
        assert_eq!(ah.of(0x1122_5544), 0x55);
    }
}
