//! What the shim tells at load, as `facts.h` lays it out.

use debuggee_driver::constants::{Constants, TABLE};
use debuggee_driver::facts::Facts;
use debuggee_driver::guest::kernel::KernelSpace;
use debuggee_driver::guest::layout::{GuestLayout, SystemLayout};
use debuggee_driver::guest::linux::LinuxLayout;
use debuggee_driver::hw::host_pages::ImagePage;
use wire_protocol::address::{Address, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet;

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

impl RawFacts {
    /// As the core has them.
    pub(crate) fn for_core(&self) -> Facts {
        let raw = self;
        let mut ram = [Extent::default(); limits::RAM_RANGES];
        for (slot, range) in ram.iter_mut().zip(raw.ram) {
            *slot = extent(GuestPhysical(range.start), range.len_bytes);
        }
        Facts {
            session: raw.session,
            token: raw.token,
            core_count: raw.core_count as u16,
            tsc_khz: raw.tsc_khz as u32,
            kernel_base: GuestVirtual(raw.kernel_base),
            entry_code: extent(GuestVirtual(raw.entry_base), raw.entry_bytes),
            driver_image: extent(GuestVirtual(raw.image_base), raw.image_bytes),
            layout: GuestLayout {
                kernel: KernelSpace {
                    direct_map: extent(GuestVirtual(raw.direct_map_base), raw.physical_limit),
                    image: extent(GuestVirtual(raw.kernel_base), raw.kernel_bytes),
                    cr3: raw.kernel_cr3,
                    cr4: raw.kernel_cr4,
                },
                system: SystemLayout::Linux(linux(raw)),
            },
            constants: Constants::of_words(raw.constants).for_host(),
            banner: raw.banner,
            banner_bytes: raw.banner_bytes as usize,
            ram,
        }
    }
}

/// What the kernel says ends before the last address; what does not is nothing.
fn extent<A: Address + Default>(start: A, len_bytes: u64) -> Extent<A> {
    Extent::new(start, len_bytes).unwrap_or_default()
}

fn linux(raw: &RawFacts) -> LinuxLayout {
    LinuxLayout {
        core_selector: raw.core_selector as u16,
        current_task_slot: raw.current_task_slot,
        init_task: raw.init_task,
        task_tasks: raw.task_tasks as u32,
        task_tgid: raw.task_tgid as u32,
        task_pid: raw.task_pid as u32,
        task_mm: raw.task_mm as u32,
        task_active_mm: raw.task_active_mm as u32,
        task_leader: raw.task_leader as u32,
        task_comm: raw.task_comm as u32,
        mm_pgd: raw.mm_pgd as u32,
        for_host: packet::LinuxLayout {
            list_head: raw.modules_head,
            list: raw.module_list as u32,
            name: raw.module_name as u32,
            base: raw.module_base as u32,
            size: raw.module_size as u32,
            kallsyms: raw.module_kallsyms as u32,
            kallsyms_symtab: raw.kallsyms_symtab as u32,
            kallsyms_count: raw.kallsyms_count as u32,
            kallsyms_strtab: raw.kallsyms_strtab as u32,
            init_task: raw.init_task,
            task_tasks: raw.task_tasks as u32,
            task_tgid: raw.task_tgid as u32,
            task_comm: raw.task_comm as u32,
            bpf_head: raw.bpf_head,
            bpf_list: raw.bpf_list as u32,
            bpf_start: raw.bpf_start as u32,
            bpf_end: raw.bpf_end as u32,
            bpf_name: raw.bpf_name as u32,
        },
    }
}
