//! Processes of the debuggee by name, from its own list. Called where a process is typed, with the
//! debuggee halted.

use super::modules::{Memory, ModuleError, exactly, number, text};
use wire_protocol::packet::LinuxLayout;

/// More processes than this are not believed.
const PROCESS_LIMIT: usize = 65_536;
/// Room for a name in its structure, with a zero at the end: what is longer is cut there.
const NAME_BYTES: usize = 16;

/// Numbers of the processes of that name, in the order of the list.
///
/// # Errors
/// When memory of the list cannot be read.
pub fn named<M: Memory>(
    memory: &mut M,
    layout: &LinuxLayout,
    name: &str,
) -> Result<Vec<u32>, ModuleError<M::Error>> {
    if layout.init_task == 0 {
        return Err(ModuleError::NoLayout);
    }
    let wanted = name.as_bytes();
    let wanted = &wanted[..wanted.len().min(NAME_BYTES - 1)];
    let mut found = Vec::new();
    let mut task = layout.init_task;
    for _ in 0..PROCESS_LIMIT {
        let at = |offset: u32| task.wrapping_add(u64::from(offset));
        let bytes = exactly(memory, at(layout.task_comm), NAME_BYTES)?;
        if text(&bytes) == wanted {
            found.push(number(&exactly(memory, at(layout.task_tgid), 4)?) as u32);
        }
        let next = number(&exactly(memory, at(layout.task_tasks), 8)?);
        task = next.wrapping_sub(u64::from(layout.task_tasks));
        if task == layout.init_task {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::modules::tests::Flat;

    fn layout() -> LinuxLayout {
        LinuxLayout {
            init_task: 0x1000,
            task_tasks: 8,
            task_tgid: 0x18,
            task_comm: 0x20,
            ..LinuxLayout::default()
        }
    }

    fn memory(names: &[&str]) -> Flat {
        let mut bytes = vec![0; 0x40 * names.len()];
        for (index, name) in names.iter().enumerate() {
            let at = 0x40 * index;
            let next = 0x1000 + 0x40 * ((index + 1) % names.len()) as u64 + 8;
            bytes[at + 8..at + 16].copy_from_slice(&next.to_le_bytes());
            bytes[at + 0x18] = index as u8;
            bytes[at + 0x20..at + 0x20 + name.len()].copy_from_slice(name.as_bytes());
        }
        Flat {
            base: 0x1000,
            bytes,
        }
    }

    #[test]
    fn all_of_a_name_are_found_and_long_names_are_those_that_were_cut() {
        let mut memory = memory(&["swapper", "sh", "systemd-journal", "sh"]);
        for (name, found) in [
            ("sh", &[1, 3][..]),
            ("systemd-journald", &[2]),
            ("s", &[]),
            ("", &[]),
        ] {
            assert_eq!(
                named(&mut memory, &layout(), name).as_deref(),
                Ok(found),
                "{name}"
            );
        }
    }

    #[test]
    fn a_list_that_leads_nowhere_is_an_error() {
        let mut memory = memory(&["swapper", "sh"]);
        memory.bytes[0x48] = 0;
        assert!(named(&mut memory, &layout(), "sh").is_err());
        let none = LinuxLayout {
            init_task: 0,
            ..layout()
        };
        assert!(named(&mut memory, &none, "sh").is_err());
    }
}
