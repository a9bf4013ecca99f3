//! Files of symbols, and lists in the memory of a debuggee.

use debugger_host::symbol::image::Image;
use debugger_host::symbol::modules::Memory;
use debugger_host::symbol::resolve::Symbols;
use debugger_host::symbol::{bpf, bzimage, kallsyms, modules, processes, system_map, table::Table};
use wire_protocol::packet::LinuxLayout;

/// Where the kernel is said to be.
const BASE: u64 = 0xffff_ffff_8100_0000;

/// Bytes as a kernel's image, as text, and as memory with the lists of a kernel in it.
pub fn symbols(bytes: &[u8]) {
    if let Ok(kernel) = bzimage::unpack(bytes) {
        if let Some(table) = system_map::from_elf_symbols(&kernel) {
            look_up(table);
        }
        if let Ok(table) = kallsyms::find(&kernel) {
            look_up(table);
        }
        if let Some(mut image) = Image::read(&kernel) {
            image.slide_to(0x20_0000);
            let _ = image.expected(BASE + 0x20_0000, 16);
            image.slide_to(0);
        }
    }
    if let Ok(table) = system_map::parse(bytes) {
        look_up(table);
    }
    lists(bytes);
}

/// What the prompt asks of a table.
fn look_up(table: Table) {
    let mut symbols = Symbols::default();
    symbols.set_kernel(table);
    symbols.place_kernel(BASE);
    for (name, address, _) in symbols.matching("*a*").into_iter().take(4) {
        let _ = symbols.find(&name);
        let _ = symbols.place(address);
        let _ = symbols.offset_in(address);
        let _ = symbols.similar(&name);
    }
    for address in [0, BASE, u64::MAX] {
        let _ = symbols.place(address);
        let _ = symbols.is_discarded(address);
    }
}

/// Memory that has these bytes at the lowest address, and nothing else.
struct Flat<'b>(&'b [u8]);

impl Memory for Flat<'_> {
    type Error = u64;

    fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>, u64> {
        let at = usize::try_from(address).map_err(|_| address)?;
        let there = self.0.get(at..).filter(|there| !there.is_empty());
        let there = there.ok_or(address)?;
        Ok(there[..len.min(there.len())].to_vec())
    }
}

/// The layout stands in the memory, too.
fn lists(bytes: &[u8]) {
    let mut numbers = bytes.iter().map(|byte| u32::from(*byte));
    let mut next = || numbers.next().unwrap_or(8);
    let layout = LinuxLayout {
        list_head: next().into(),
        list: next(),
        name: next(),
        base: next(),
        size: next(),
        kallsyms: next(),
        kallsyms_symtab: next(),
        kallsyms_count: next(),
        kallsyms_strtab: next(),
        init_task: next().into(),
        task_tasks: next(),
        task_tgid: next(),
        task_comm: next(),
        bpf_head: next().into(),
        bpf_list: next(),
        bpf_start: next(),
        bpf_end: next(),
        bpf_name: next(),
    };
    let mut memory = Flat(bytes);
    let mut all = Symbols::default();
    if let Ok(found) = modules::list(&mut memory, &layout) {
        for module in &found {
            if let Ok(table) = modules::symbols(&mut memory, &layout, module) {
                look_up(table);
            }
        }
        all.set_modules(found);
    }
    if let Ok(programs) = bpf::programs(&mut memory, &layout) {
        all.set_programs(programs);
    }
    let _ = processes::named(&mut memory, &layout, "a");
    let _ = all.place(BASE);
}
