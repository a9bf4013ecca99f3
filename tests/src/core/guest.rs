//! The guest of a machine whose host is a program: a few instructions, which it runs through each time that it is let go.
//! It executes them as far as exits go: what the views and controls of the core make of them decides.

use super::Made;
use super::line::Host;
use super::memory::{GuestMemory, Piece};
use debuggee_driver::exit::hypercall;
use debuggee_driver::fake::FlatMemory;
use debuggee_driver::fake::cpu::Place;
use debuggee_driver::fake::machine::{Does, Machine, RAM, WRITES};
use debuggee_driver::fake::tables::{GuestTables, PRESENT, WRITE};
use debuggee_driver::fake::world::MIB;
use debuggee_driver::guest::kernel::KernelSpace;
use debuggee_driver::port::{Cpu, PhysicalMemory, gpr};
use debuggee_driver::vmx::{guest as field, reason, ro};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use wire_protocol::address::{CoreId, Extent, GuestVirtual, PAGE_BYTES};

/// Where the kernel is.
pub(super) const KERNEL: u64 = 0xffff_ffff_8100_0000;
/// Its page tables.
pub(super) const TABLES: u64 = 16 * MIB;
/// Large pages of it.
const LARGE_PAGES: u64 = 32;

/// A function of the kernel's that does nothing: NOP, RET.
const WORK: u64 = KERNEL + 0x1000;
const WORK_CODE: [u8; 6] = [0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3];
/// `MOV [RBX], RAX`
const STORE: u64 = KERNEL + 0x2000;
const STORE_CODE: [u8; 3] = [0x48, 0x89, 0x03];
/// CPUID
const ASK: u64 = KERNEL + 0x3000;
const ASK_CODE: [u8; 2] = [0x0f, 0xa2];
/// Where the driver's own code is, as far as it makes calls: VMCALL.
const CALL: u64 = KERNEL + 0x4000;
const CALL_CODE: [u8; 3] = [0x0f, 0x01, 0xc1];
/// What is stored to.
const DATA: u64 = KERNEL + 0x10_0000;

/// How the kernel's memory is reached.
pub(super) fn space() -> KernelSpace {
    KernelSpace {
        direct_map: Extent::default(),
        image: Extent::new(GuestVirtual(KERNEL), LARGE_PAGES * 2 * MIB).unwrap_or_default(),
        cr3: TABLES,
        cr4: 0,
    }
}

/// The page of the driver.
pub(super) fn driver() -> Extent<GuestVirtual> {
    Extent::new(GuestVirtual(CALL), PAGE_BYTES).unwrap_or_default()
}

/// The guest calls the driver to leave, as all cores do at once.
pub(super) fn ask_to_leave<H: Host + 'static>(machine: &mut Machine<Made<H>>) {
    let token = machine.shared.facts.token;
    let cpu = &mut machine.cores[0].cpu;
    cpu.vmwrite(field::RIP, CALL);
    let registers = cpu.registers_mut();
    registers[gpr::RAX] = hypercall::MAGIC;
    registers[gpr::RCX] = hypercall::LEAVE;
    registers[gpr::RSI] = token;
    cpu.vmwrite(ro::VMEXIT_INSTRUCTION_LEN, CALL_CODE.len() as u64);
    machine.leave(0, reason::VMCALL);
}

/// What the guest's memory holds.
pub(super) struct Image(FlatMemory);

impl Image {
    pub(super) fn new() -> Self {
        let mut memory = FlatMemory::new(8 << 30);
        let mut tables = GuestTables::new(TABLES, 4);
        for page in 0..LARGE_PAGES {
            let offset = page * 2 * MIB;
            tables.map(
                &mut memory,
                KERNEL + offset,
                RAM + offset,
                21,
                PRESENT | WRITE,
            );
        }
        for (at, code) in [
            (WORK, &WORK_CODE[..]),
            (STORE, &STORE_CODE),
            (ASK, &ASK_CODE),
            (CALL, &CALL_CODE),
            (DATA, b"what the guest has here"),
        ] {
            memory.write(at - KERNEL + RAM, code);
        }
        Self(memory)
    }
}

impl GuestMemory for Image {
    fn first(&mut self, line: u64) -> Piece {
        let at = line & !(PAGE_BYTES - 1);
        Piece {
            at,
            len_bytes: PAGE_BYTES as usize,
            bytes: self.0.bytes(at, PAGE_BYTES as usize),
        }
    }
}

/// One thing that the guest does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// CPUID of this leaf.
    Ask(u64),
    /// It calls [`WORK`].
    Work,
    /// It stores to [`DATA`].
    Store,
}

const ROUND: [Act; 4] = [Act::Ask(1), Act::Ask(7), Act::Work, Act::Store];

/// See the module.
#[derive(Default)]
pub(super) struct Guest {
    left: VecDeque<Act>,
    halts: u32,
}

impl Guest {
    /// Goes on with one instruction, if the guest is not through.
    pub(super) fn go_on<H: Host>(&mut self, machine: &mut Machine<Made<H>>) {
        let halts = machine.shared.halts.load(Ordering::SeqCst);
        // One that steps has as much to do as it is asked for.
        let steps = machine.shared.published.steps_for_host(CoreId(0));
        if (halts != self.halts || steps) && self.left.is_empty() {
            self.left.extend(ROUND);
        }
        self.halts = halts;
        let Some(act) = self.left.pop_front() else {
            return;
        };
        let cpu = &mut machine.cores[0].cpu;
        match act {
            Act::Ask(leaf) => {
                cpu.vmwrite(field::RIP, ASK);
                cpu.registers_mut()[gpr::RAX] = leaf;
                cpu.registers_mut()[gpr::RCX] = 0;
                cpu.vmwrite(ro::VMEXIT_INSTRUCTION_LEN, ASK_CODE.len() as u64);
                machine.exit(0, reason::CPUID);
            }
            Act::Work => {
                cpu.vmwrite(field::RIP, WORK);
                run(machine, WORK, &[], WORK + 5);
            }
            Act::Store => {
                cpu.vmwrite(field::RIP, STORE);
                cpu.registers_mut()[gpr::RBX] = DATA;
                let next = STORE + STORE_CODE.len() as u64;
                run(machine, STORE, &[Does(DATA, 8, WRITES)], next);
            }
        }
        // What a halt in the middle of it was about is over.
        self.halts = machine.shared.halts.load(Ordering::SeqCst);
    }
}

/// Runs an instruction until it is through, or was skipped, or the user went on elsewhere.
fn run<H: Host>(machine: &mut Machine<Made<H>>, at: u64, does: &[Does], next: u64) {
    while !machine.try_run(0, does, next) {
        if machine.cores[0].cpu.vmread(field::RIP) != at {
            return;
        }
    }
}

/// What the processor has before the guest runs.
pub(super) const FIRST: [(Place, u64); 3] = [
    (Place::Field(field::CR3), TABLES),
    (Place::Field(field::RIP), ASK),
    (Place::Field(field::RSP), DATA + 0x1000),
];
