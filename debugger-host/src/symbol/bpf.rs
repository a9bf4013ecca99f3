//! BPF programs, trampolines and dispatchers, read from the kernel's own list of them. Called by the
//! symbol commands, with the debuggee halted.

use super::modules::{Memory, ModuleError, exactly, number, text};
use super::table::{Symbol, Table};
use wire_protocol::packet::LinuxLayout;

/// How all of them together are called, as the kernel does.
pub const BPF: &str = "bpf";

/// More than this are not believed.
const PROGRAM_LIMIT: usize = 65_536;

/// Code that the kernel made of BPF programs.
#[derive(Default)]
pub struct Programs {
    /// First address of each, and the one behind its last.
    extents: Vec<(u64, u64)>,
    /// Names.
    pub table: Table,
}

impl Programs {
    /// Whether one of them holds `address`.
    #[must_use]
    pub fn hold(&self, address: u64) -> bool {
        let is_within = |(start, end): &(u64, u64)| (*start..*end).contains(&address);
        self.extents.iter().any(is_within)
    }
}

/// Walks the list. A kernel without one has none; a list that does not come back to its head ends at
/// a number of programs that is not believed.
///
/// # Errors
/// When memory of the list cannot be read.
pub fn programs<M: Memory>(
    memory: &mut M,
    layout: &LinuxLayout,
) -> Result<Programs, ModuleError<M::Error>> {
    let mut found = Programs::default();
    let mut symbols = Vec::new();
    let head = layout.bpf_head;
    if head == 0 {
        return Ok(found);
    }
    let [list, start, end, name] = [
        layout.bpf_list,
        layout.bpf_start,
        layout.bpf_end,
        layout.bpf_name,
    ]
    .map(|offset| offset as usize);
    let mut node = number(&exactly(memory, head, 8)?);
    while node != head && symbols.len() < PROGRAM_LIMIT {
        let program = node.wrapping_sub(list as u64);
        // The list node is the last of them in every kernel.
        let bytes = exactly(memory, program, list.max(start).max(end).max(name) + 8)?;
        let at = |offset: usize| number(&bytes[offset..offset + 8]);
        found.extents.push((at(start), at(end)));
        symbols.push(Symbol {
            address: at(start),
            kind: b't',
            name: String::from_utf8_lossy(text(&bytes[name..])).into_owned(),
        });
        node = at(list);
    }
    found.table = Table::new(symbols);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::modules::tests::Flat;

    #[test]
    fn programs_are_named_within_their_own_code() {
        let layout = LinuxLayout {
            bpf_head: 0x1000,
            bpf_list: 0x30,
            bpf_start: 0,
            bpf_end: 8,
            bpf_name: 0x10,
            ..LinuxLayout::default()
        };
        let mut bytes = vec![0; 0x200];
        let mut put = |at: usize, value: u64| {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        put(0, 0x1130);
        for (at, start, end_of_name, next) in [
            (0x100, 0xffff_c000, *b"_1\0\0\0\0\0\0", 0x11b0),
            (0x180, 0xffff_d000, *b"_2\0\0\0\0\0\0", 0x1000),
        ] {
            put(at, start);
            put(at + 8, start + 0x40);
            put(at + 0x10, u64::from_le_bytes(*b"bpf_prog"));
            put(at + 0x18, u64::from_le_bytes(end_of_name));
            put(at + 0x30, next);
        }
        let mut memory = Flat {
            base: 0x1000,
            bytes,
        };
        let found = programs(&mut memory, &layout).expect("readable");
        assert_eq!(found.table.len(), 2);
        assert_eq!(found.table.find("bpf_prog_1"), Some(0xffff_c000));
        for (address, held) in [
            (0xffff_bfff, false),
            (0xffff_c000, true),
            (0xffff_c03f, true),
            (0xffff_c040, false),
            (0xffff_d001, true),
        ] {
            assert_eq!(found.hold(address), held, "{address:x}");
        }
        memory.bytes[0x1b1] = 0x40;
        assert!(programs(&mut memory, &layout).is_err());
        assert!(programs(&mut memory, &LinuxLayout::default()).is_ok());
    }
}
