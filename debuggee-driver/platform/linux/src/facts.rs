//! What the shim tells at load, as `facts.h` lays it out.

use debuggee_driver::constants::TABLE;
use debuggee_driver::hw::host_pages::ImagePage;
use wire_protocol::limits;

const CHUNKS: usize = 256;

/// `struct ss_ram`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ram {
    pub(crate) start: u64,
    pub(crate) len_bytes: u64,
}

/// `struct ss_line_wish`.
#[repr(C)]
pub(crate) struct RawWish {
    pub(crate) com: u64,
    pub(crate) io: u64,
    pub(crate) mmio: u64,
    pub(crate) stride: u64,
    pub(crate) acpi: u64,
    pub(crate) dbg2: *const u8,
    pub(crate) dbg2_bytes: u64,
    pub(crate) spcr: *const u8,
    pub(crate) spcr_bytes: u64,
}

/// `struct ss_line`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawLine {
    pub(crate) base: u64,
    pub(crate) len_bytes: u64,
    pub(crate) stride: u64,
    pub(crate) clock_hz: u64,
}

/// `struct ss_facts`; see `facts.h` for the fields.
#[repr(C)]
pub(crate) struct RawFacts {
    pub(crate) size_bytes: u64,
    pub(crate) chunk_count: u64,
    pub(crate) chunks: [u64; CHUNKS],
    pub(crate) image_page_count: u64,
    pub(crate) image_pages: *const ImagePage,
    pub(crate) image_base: u64,
    pub(crate) image_bytes: u64,
    pub(crate) direct_map_base: u64,
    pub(crate) physical_limit: u64,
    pub(crate) kernel_base: u64,
    pub(crate) kernel_bytes: u64,
    pub(crate) kernel_cr3: u64,
    pub(crate) kernel_cr4: u64,
    pub(crate) core_count: u64,
    pub(crate) tsc_khz: u64,
    pub(crate) line: RawLine,
    pub(crate) line_linear: u64,
    pub(crate) clock_hz: u64,
    pub(crate) baud_hz: u64,
    pub(crate) baud_fixed: u64,
    pub(crate) session: u64,
    pub(crate) token: u64,
    pub(crate) entry_base: u64,
    pub(crate) entry_bytes: u64,
    pub(crate) core_selector: u64,
    pub(crate) constants: [u64; TABLE.len()],
    pub(crate) current_task_slot: [u64; limits::CORES],
    pub(crate) init_task: u64,
    pub(crate) task_tasks: u64,
    pub(crate) task_tgid: u64,
    pub(crate) task_pid: u64,
    pub(crate) task_mm: u64,
    pub(crate) task_active_mm: u64,
    pub(crate) task_leader: u64,
    pub(crate) task_comm: u64,
    pub(crate) mm_pgd: u64,
    pub(crate) modules_head: u64,
    pub(crate) module_list: u64,
    pub(crate) module_name: u64,
    pub(crate) module_base: u64,
    pub(crate) module_size: u64,
    pub(crate) module_kallsyms: u64,
    pub(crate) kallsyms_symtab: u64,
    pub(crate) kallsyms_count: u64,
    pub(crate) kallsyms_strtab: u64,
    pub(crate) bpf_head: u64,
    pub(crate) bpf_list: u64,
    pub(crate) bpf_start: u64,
    pub(crate) bpf_end: u64,
    pub(crate) bpf_name: u64,
    pub(crate) ram: [Ram; limits::RAM_RANGES],
    pub(crate) banner_bytes: u64,
    pub(crate) banner: [u8; limits::BANNER_BYTES],
}
