//! What a platform told the driver at its load, found in the memory of the machine that runs it.

#[allow(dead_code, reason = "what only the platform needs")]
#[path = "../../../debuggee-driver/platform/linux/src/facts.rs"]
mod platform;

use debuggee_driver::constants::TABLE;
pub(super) use platform::RawFacts;
use platform::{Ram, RawLine};
use std::array;
use wire_protocol::limits;

impl RawFacts {
    /// From its bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        if bytes.len() != size_of::<Self>() || !rest.is_empty() {
            return None;
        }
        let mut next = || words.next().unwrap_or_default();
        let mut facts = Self {
            size_bytes: next(),
            chunk_count: next(),
            chunks: array::from_fn(|_| next()),
            image_page_count: next(),
            image_pages: {
                next();
                std::ptr::null()
            },
            image_base: next(),
            image_bytes: next(),
            direct_map_base: next(),
            physical_limit: next(),
            kernel_base: next(),
            kernel_bytes: next(),
            kernel_cr3: next(),
            kernel_cr4: next(),
            core_count: next(),
            tsc_khz: next(),
            line: RawLine {
                base: next(),
                len_bytes: next(),
                stride: next(),
                clock_hz: next(),
            },
            line_linear: next(),
            clock_hz: next(),
            baud_hz: next(),
            baud_fixed: next(),
            session: next(),
            token: next(),
            entry_base: next(),
            entry_bytes: next(),
            core_selector: next(),
            constants: array::from_fn::<_, { TABLE.len() }, _>(|_| next()),
            current_task_slot: array::from_fn::<_, { limits::CORES }, _>(|_| next()),
            init_task: next(),
            task_tasks: next(),
            task_tgid: next(),
            task_pid: next(),
            task_mm: next(),
            task_active_mm: next(),
            task_leader: next(),
            task_comm: next(),
            mm_pgd: next(),
            modules_head: next(),
            module_list: next(),
            module_name: next(),
            module_base: next(),
            module_size: next(),
            module_kallsyms: next(),
            kallsyms_symtab: next(),
            kallsyms_count: next(),
            kallsyms_strtab: next(),
            bpf_head: next(),
            bpf_list: next(),
            bpf_start: next(),
            bpf_end: next(),
            bpf_name: next(),
            ram: array::from_fn(|_| Ram {
                start: next(),
                len_bytes: next(),
            }),
            banner_bytes: next(),
            banner: [0; limits::BANNER_BYTES],
        };
        let at = bytes.len() - limits::BANNER_BYTES;
        facts.banner.copy_from_slice(&bytes[at..]);
        facts.is_sound().then_some(facts)
    }

    /// Whether these can be facts, and not something that begins like them.
    fn is_sound(&self) -> bool {
        self.size_bytes == size_of::<Self>() as u64
            && (1..=self.chunks.len() as u64).contains(&self.chunk_count)
            && (1..=limits::CORES as u64).contains(&self.core_count)
            && self.banner_bytes <= limits::BANNER_BYTES as u64
            && self.token != 0
    }

    /// Chunks of the arena.
    pub(super) fn chunks(&self) -> &[u64] {
        &self.chunks[..self.chunk_count as usize]
    }
}
