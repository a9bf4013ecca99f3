//! What the shim tells at load, as `facts.h` lays it out.

use core::{array, ptr};
use debuggee_driver::constants::{Constants, TABLE};
use debuggee_driver::facts::Facts;
use debuggee_driver::guest::kernel::KernelSpace;
use debuggee_driver::guest::layout::{GuestLayout, SystemLayout};
use debuggee_driver::guest::linux::{LinuxLayout, TaskLayout};
use debuggee_driver::hw::host_pages::ImagePage;
use debuggee_driver::hw::network::{CardPlan, Window};
use debuggee_driver::transport::net::card::WINDOWS;
use debuggee_driver::transport::net::kinds::{BARS, Bar, CardError, Kind};
use wire_protocol::address::{Address, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet;

const CHUNKS: usize = 256;

/// Part of a structure that C lays out without gaps. It is read from bytes where what the shim told is looked at from outside,
/// in the memory of the machine.
#[allow(dead_code, reason = "the driver has the structures themselves")]
pub(crate) trait Raw {
    /// From its bytes, one after the other.
    fn read(next: &mut impl FnMut() -> u8) -> Self;
}

impl Raw for u8 {
    fn read(next: &mut impl FnMut() -> u8) -> Self {
        next()
    }
}

impl Raw for u64 {
    fn read(next: &mut impl FnMut() -> u8) -> Self {
        Self::from_le_bytes(Raw::read(next))
    }
}

/// It leads nowhere outside.
impl<T> Raw for *const T {
    fn read(next: &mut impl FnMut() -> u8) -> Self {
        u64::read(next);
        ptr::null()
    }
}

impl<T: Raw, const COUNT: usize> Raw for [T; COUNT] {
    fn read(next: &mut impl FnMut() -> u8) -> Self {
        array::from_fn(|_| T::read(next))
    }
}

/// A structure of the shim's.
macro_rules! raw {
    ($(#[$about:meta])* $name:ident { $($field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[repr(C)]
        pub(crate) struct $name {
            $(pub(crate) $field: $kind,)*
        }

        impl Raw for $name {
            fn read(next: &mut impl FnMut() -> u8) -> Self {
                Self { $($field: Raw::read(next),)* }
            }
        }
    };
}

raw! {
    /// `struct ss_ram`.
    #[derive(Clone, Copy)]
    Ram {
        start: u64,
        len_bytes: u64,
    }
}

raw! {
    /// `struct ss_line_wish`.
    RawWish {
        com: u64,
        io: u64,
        mmio: u64,
        stride: u64,
        acpi: u64,
        dbg2: *const u8,
        dbg2_bytes: u64,
        spcr: *const u8,
        spcr_bytes: u64,
        madt: *const u8,
        madt_bytes: u64,
        dmar: *const u8,
        dmar_bytes: u64,
    }
}

raw! {
    /// `struct ss_line`.
    #[derive(Clone, Copy, Default)]
    RawLine {
        base: u64,
        len_bytes: u64,
        stride: u64,
        clock_hz: u64,
        io_apic: u64,
        pin: u64,
    }
}

raw! {
    /// `struct ss_window`.
    #[derive(Clone, Copy)]
    RawWindow {
        bar: u64,
        physical: u64,
        bytes: u64,
        linear: u64,
    }
}

/// No such window.
const NO_BAR: u64 = 0xff;

raw! {
    /// `struct ss_bar`.
    #[derive(Clone, Copy)]
    RawBar {
        start: u64,
        bytes: u64,
        is_memory: u64,
    }
}

raw! {
    /// `struct ss_card`.
    #[derive(Clone, Copy)]
    RawCard {
        bars: [RawBar; BARS],
        windows: [RawWindow; WINDOWS],
        memory: u64,
        memory_bytes: u64,
        memory_address: u64,
        tsc_khz: u64,
        own_mac: [u8; 8],
        config: [u8; 256],
    }
}

impl RawCard {
    /// Says what a card of this kind needs.
    ///
    /// # Errors
    /// Why it cannot have that.
    pub(crate) fn wants(&mut self, kind: Kind) -> Result<(), CardError> {
        kind.look_at(&self.bars.map(|bar| Bar {
            start: bar.start,
            bytes: bar.bytes,
            is_memory: bar.is_memory != 0,
        }))?;
        for (window, bar) in self.windows.iter_mut().zip(kind.bars()) {
            window.bar = bar.map_or(NO_BAR, u64::from);
        }
        self.memory_bytes = kind.memory_bytes() as u64;
        Ok(())
    }

    /// As the core has it.
    ///
    /// # Errors
    /// Why it cannot be driven.
    pub(crate) fn for_core(&self) -> Result<CardPlan, CardError> {
        let [a, b, c, d, e, f, ..] = self.own_mac;
        Ok(CardPlan {
            kind: Kind::of(&self.config)?,
            windows: self.windows.map(|window| Window {
                physical: extent(GuestPhysical(window.physical), window.bytes),
                linear: window.linear,
            }),
            memory: extent(GuestPhysical(self.memory), self.memory_bytes),
            memory_address: self.memory_address,
            own_mac: [a, b, c, d, e, f],
            tsc_khz: self.tsc_khz as u32,
        })
    }
}

raw! {
    /// `struct ss_text`.
    RawText {
        bytes: *const u8,
        len_bytes: u64,
    }
}

raw! {
    /// `struct ss_net`.
    RawNet {
        net: RawText,
        key: RawText,
        ip: RawText,
        gateway: RawText,
        mac: RawText,
        card: RawCard,
        seed: [u8; 32],
        epoch_us: u64,
        has_rtc: u64,
        rtc_century: u64,
        panic_every: u64,
    }
}

raw! {
    /// `struct ss_facts`; see `facts.h` for the fields.
    RawFacts {
        size_bytes: u64,
        chunk_count: u64,
        chunks: [u64; CHUNKS],
        image_page_count: u64,
        image_pages: *const ImagePage,
        image_base: u64,
        image_bytes: u64,
        direct_map_base: u64,
        physical_limit: u64,
        kernel_base: u64,
        kernel_bytes: u64,
        kernel_cr3: u64,
        kernel_cr4: u64,
        core_count: u64,
        tsc_khz: u64,
        line: RawLine,
        line_linear: u64,
        clock_hz: u64,
        baud_hz: u64,
        baud_fixed: u64,
        session: u64,
        token: u64,
        entry_base: u64,
        entry_bytes: u64,
        core_selector: u64,
        constants: [u64; TABLE.len()],
        current_task_slot: [u64; limits::CORES],
        init_task: u64,
        task_tasks: u64,
        task_tgid: u64,
        task_pid: u64,
        task_mm: u64,
        task_active_mm: u64,
        task_leader: u64,
        task_comm: u64,
        mm_pgd: u64,
        modules_head: u64,
        module_list: u64,
        module_name: u64,
        module_base: u64,
        module_size: u64,
        module_kallsyms: u64,
        kallsyms_symtab: u64,
        kallsyms_count: u64,
        kallsyms_strtab: u64,
        bpf_head: u64,
        bpf_list: u64,
        bpf_start: u64,
        bpf_end: u64,
        bpf_name: u64,
        ram: [Ram; limits::RAM_RANGES],
        banner_bytes: u64,
        banner: [u8; limits::BANNER_BYTES],
        task_state: u64,
        task_exit_state: u64,
        task_core: u64,
        task_parent: u64,
        task_signal: u64,
        signal_threads: u64,
        task_thread_node: u64,
        task_stack: u64,
        mm_command_start: u64,
        mm_command_end: u64,
    }
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
        tasks: TaskLayout {
            state: raw.task_state as u32,
            exit_state: raw.task_exit_state as u32,
            core: raw.task_core as u32,
            parent: raw.task_parent as u32,
            signal: raw.task_signal as u32,
            threads: raw.signal_threads as u32,
            thread_node: raw.task_thread_node as u32,
            stack: raw.task_stack as u32,
            command_start: raw.mm_command_start as u32,
            command_end: raw.mm_command_end as u32,
        },
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
