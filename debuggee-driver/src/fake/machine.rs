//! Cores made of plain values, and a processor that looks every access up in the EPT view in force.

extern crate std;

use super::cpu::FakeCpu;
use super::rtc::FakeRtc;
use super::tables::{GuestTables, PRESENT, WRITE, no_processes};
use super::world::{GIB, MIB, World, design, world};
use super::{FakePorts, FlatMemory};
use crate::ept::entry::{Entry, Level, Mode, Permissions};
use crate::ept::mode::ModeViews;
use crate::ept::step_view::{PAGES, StepView};
use crate::ept::table::View;
use crate::exit::{self, Core, Death, Flow};
use crate::facts::Facts;
use crate::guest::instruction;
use crate::halt;
use crate::line::{Buffers, Line};
use crate::messages::Rings;
use crate::pool::TableSource;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::{Fixed, Local, Parts, Shared};
use crate::transport::uart16550::{Speed, Uart};
use crate::vmx::{control_field, guest, reason, ro};
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::{AtomicPtr, AtomicU64};
use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;
use wire_protocol::address::{CoreId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::event::{Access, Options};
use wire_protocol::limits;
use wire_protocol::link::Storage;
use wire_protocol::packet::Constants;
use wire_protocol::refusal::BranchObstacle;
use wire_protocol::script::Workspace;
use wire_protocol::transport::Transport;

/// Where the guest's memory begins that the tests use, virtual and physical alike.
pub const RAM: u64 = 64 * MIB;
/// Where the guest's page tables are.
pub const TABLES: u64 = 16 * MIB;
/// Where the driver's code is, of one page.
pub const DRIVER: u64 = 0x1000;

/// What the driver's calls have to know.
pub const TOKEN: u64 = 0x746f_6b65_6e00_0001;
/// "Monitor trap flag" of the primary controls.
const MTF: u64 = 1 << 27;
const VALID: u64 = 1 << 31;

/// Memory that all cores see.
#[derive(Clone)]
pub struct Memory(Rc<RefCell<FlatMemory>>);

impl PhysicalMemory for Memory {
    fn limit(&self) -> u64 {
        self.0.borrow().limit()
    }
    fn read(&self, at: u64, out: &mut [u8]) {
        self.0.borrow().read(at, out);
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.0.borrow_mut().write(at, bytes);
    }
    fn read_u64(&self, at: u64) -> u64 {
        self.0.borrow().read_u64(at)
    }
    fn write_u64(&mut self, at: u64, value: u64) {
        self.0.borrow_mut().write_u64(at, value);
    }
    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        // A copy, so that whoever looks may use the rest of memory.
        let bytes = self.0.borrow().bytes(at, len_bytes);
        look(&bytes)
    }
    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = self.0.borrow().bytes(at, len_bytes);
        let result = change(&mut bytes);
        self.write(at, &bytes);
        result
    }
}

/// Made-up hardware.
pub struct Fake;

impl Ports for Fake {
    type Cpu = FakeCpu;
    type Memory = Memory;
    type Transport = Uart<FakePorts>;
    type ClockRegisters = FakeRtc;
}

/// A machine with two cores.
pub struct Machine<P: Ports<Cpu = FakeCpu> + 'static = Fake> {
    /// What they share.
    pub shared: &'static Shared<P>,
    /// They themselves.
    pub cores: [Core<'static, P>; 2],
    /// VM exits so far.
    pub exits: u32,
    /// Of the events that are added.
    pub options: Options,
    /// Who is told of exits, if anybody.
    pub observer: Option<Box<dyn Observer>>,
}

/// Told of what a guest does that leaves it.
pub trait Observer {
    /// The core left its guest, and nothing was done yet.
    fn left(&mut self, core: CoreId, cpu: &FakeCpu);
    /// All was done, and it is about to enter it again.
    fn enters(&mut self, core: CoreId, cpu: &FakeCpu);
}

/// One access of an instruction, by linear address.
#[derive(Clone, Copy)]
pub struct Does(pub u64, pub u16, pub Access);

/// It loads.
pub const READ: Access = Access::READ;
/// It stores.
pub const WRITES: Access = Access::WRITE;
/// It is fetched.
pub const EXECUTE: Access = Access::EXECUTE;

fn no_facts() -> Facts {
    let mut ram = [Extent::default(); limits::RAM_RANGES];
    ram[0] = Extent::new(GuestPhysical(0), 3 * GIB).unwrap();
    Facts {
        session: 1,
        token: TOKEN,
        core_count: 2,
        tsc_khz: 1000,
        kernel_base: GuestVirtual(0),
        driver_image: Extent::new(GuestVirtual(DRIVER), 0x1000).unwrap(),
        entry_code: Extent::default(),
        layout: no_processes(),
        constants: Constants::default(),
        banner: [0; limits::BANNER_BYTES],
        banner_bytes: 0,
        ram,
    }
}

/// A value for ever, as a core's seat wants it. Something static leads to it, or Miri took it for lost.
fn keep<T: ?Sized>(value: Box<T>) -> &'static mut T {
    static KEPT: Mutex<Vec<AtomicPtr<u8>>> = Mutex::new(Vec::new());
    let value = Box::leak(value);
    KEPT.lock()
        .unwrap()
        .push(AtomicPtr::new((&raw mut *value).cast()));
    value
}

fn memory(len_bytes: usize) -> &'static mut [u8] {
    keep(vec![0; len_bytes].into_boxed_slice())
}

/// What a machine needs for talking to a host and for running scripts: rings of messages, and workspaces.
pub fn furnish<P: Ports>(parts: &mut Parts<P>) {
    for (core, local) in (0..parts.facts.core_count).zip(&mut parts.locals) {
        let words: Vec<AtomicU64> = (0..1 << 12).map(|_| AtomicU64::new(0)).collect();
        parts
            .messages
            .place(CoreId(core), keep(words.into_boxed_slice()));
        local.workspace = Some(keep(Box::new(Workspace::new())));
    }
}

/// A line over a transport, with room for replies as a driver has it.
pub fn line_over<T: Transport>(transport: T, lists_bytes: usize) -> Line<T> {
    let buffers = Buffers {
        message: memory(limits::MESSAGE_BYTES).first_chunk_mut().unwrap(),
        lists: memory(lists_bytes),
    };
    let storage = Storage::carve(memory(Storage::BYTES)).unwrap();
    Line::new(transport, storage, buffers)
}

/// A line on which this comes in.
pub fn line(incoming: &[u8]) -> Line<Uart<FakePorts>> {
    let mut ports = FakePorts::new(0x3f8);
    ports.incoming.extend(incoming);
    ports.keeps_up = true;
    let speed = Speed {
        clock_hz: 1_843_200,
        baud_hz: 115_200,
        is_fixed: false,
    };
    let uart = Uart::init(ports, speed).unwrap();
    line_over(uart, 64)
}

impl Machine {
    /// As it is made most often.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A machine of changed parts.
    pub fn with(change: impl FnOnce(&mut Parts<Fake>)) -> Self {
        let mut world = world(true, design());
        map_guest(&mut world.mem);
        let memory = |mem| Memory(Rc::new(RefCell::new(mem)));
        Self::assemble(world, memory, line(&[]), change)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// The guest's own page tables: its memory is where it is.
pub fn map_guest(mem: &mut FlatMemory) {
    let mut tables = GuestTables::new(TABLES, 4);
    for page in 0..32 {
        let address = RAM + page * 2 * MIB;
        tables.map(mem, address, address, 21, PRESENT | WRITE);
    }
}

/// All that cores share, and they themselves.
pub type Built<P> = (&'static Shared<P>, Vec<Core<'static, P>>);

/// The cores of a machine of these parts, the last of them changed.
pub fn cores_of<P: Ports<Cpu = FakeCpu> + 'static>(
    world: World,
    memory: impl FnOnce(FlatMemory) -> P::Memory,
    line: Line<P::Transport>,
    change: impl FnOnce(&mut Parts<P>),
) -> Built<P> {
    let World {
        mut mem,
        mut installed,
        sink_page,
        bitmaps,
        cores,
        ..
    } = world;
    let views = *installed.views();
    let view =
        |pages: &mut dyn TableSource| StepView::new([(); PAGES].map(|()| pages.take().unwrap()));
    let arena = installed.pools_mut().arena_mut();
    let own: Vec<_> = (0..cores).map(|_| view(arena)).collect();
    let mode_views = ModeViews::build(&views.hooked, &mut mem, arena);
    let mut parts = Parts {
        installed: *installed,
        line,
        messages: Rings::default(),
        locals: [const { Local::NONE }; limits::CORES],
        variables: keep(Box::new([const { AtomicU64::new(0) }; _])),
        memory: memory(mem),
        rtc: None,
        facts: no_facts(),
        fixed: Fixed {
            script_operations: 1000,
            code_instructions: 0,
            halts_without_session: false,
            has_network: false,
            eptp_hooked: views.hooked.eptp(),
            eptp_clean: views.clean.eptp(),
            trampoline: None,
            sink_page,
            bitmaps,
            cr4_allowed: u64::MAX,
            can_take_interrupts: true,
            branches: Err(BranchObstacle::Processor),
            mode_views,
            preemption_timer_shift: 0,
        },
    };
    change(&mut parts);
    let shared: &Shared<P> = keep(Box::new(Shared::new(parts)));
    let cores = (0..).zip(own).map(|(number, view)| {
        let seat = shared.rendezvous.seat(CoreId(number));
        shared.apic_ids[usize::from(number)].store(u32::from(number), SeqCst);
        let mut core = Core::new(seat.unwrap(), FakeCpu::default(), shared, view);
        core.cpu.vmwrite(guest::CR3, TABLES);
        core.cpu.vmwrite(guest::CS_ACCESS_RIGHTS, 1 << 13);
        core.cpu.vmwrite(guest::RFLAGS, 1 << 9);
        core.cpu
            .vmwrite(control_field::EPTP_FULL, views.hooked.eptp());
        core.cpu.vmwrite(guest::RIP, RAM);
        core
    });
    (shared, cores.collect())
}

impl<P: Ports<Cpu = FakeCpu> + 'static> Machine<P> {
    /// A machine of two cores, of these parts, the last of them changed.
    pub fn assemble(
        world: World,
        memory: impl FnOnce(FlatMemory) -> P::Memory,
        line: Line<P::Transport>,
        change: impl FnOnce(&mut Parts<P>),
    ) -> Self {
        Self::of(cores_of(world, memory, line, change))
    }

    /// A machine of two cores that were made.
    pub fn of((shared, cores): Built<P>) -> Self {
        let Ok(cores) = <[Core<'static, P>; 2]>::try_from(cores) else {
            panic!("the machine has two cores");
        };
        Self {
            shared,
            cores,
            exits: 0,
            options: Options::DEFAULT,
            observer: None,
        }
    }

    /// Writes what the guest has there.
    pub fn place_code(&mut self, at: u64, code: &[u8]) {
        self.shared.memory.clone().write(at, code);
    }

    fn view(&self, core: usize) -> View {
        let eptp = self.cores[core].cpu.vmread(control_field::EPTP_FULL);
        View::at(eptp & !0xfff)
    }

    /// Where the view that the core runs in has a page.
    pub fn leaf(&self, core: usize, at: u64) -> Entry {
        self.view(core).leaf_4k(&self.shared.memory, at)
    }

    /// Whether the root table lets the mode that the core is in execute anything.
    fn is_for_mode(&self, core: usize, at: u64) -> bool {
        let root = self.view(core).root() + Level::Root.entry_offset(at);
        let is_user = self.cores[core].cpu.vmread(guest::SS_ACCESS_RIGHTS) >> 5 & 3 == 3;
        let mode = if is_user { Mode::User } else { Mode::Kernel };
        Entry(self.shared.memory.read_u64(root)).is_for(mode)
    }

    /// A core leaves its guest for this reason, and enters it again.
    pub fn exit(&mut self, core: usize, number: u16) {
        self.leave(core, number);
        assert_eq!(self.handle(core), Flow::Enter);
        self.cores[core].cpu.vmwrite(ro::IDT_VECTORING_INFO, 0);
    }

    /// A core leaves its guest for this reason, and nothing is done yet.
    pub fn leave(&mut self, core: usize, number: u16) {
        self.exits += 1;
        assert!(self.exits < 10_000, "the guest makes no progress");
        let cpu = &mut self.cores[core].cpu;
        cpu.vmwrite(ro::EXIT_REASON, u64::from(number));
        let entry_info = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;
        cpu.vmwrite(entry_info, 0);
        if let Some(observer) = &mut self.observer {
            observer.left(self.cores[core].id, &self.cores[core].cpu);
        }
    }

    /// A turn of a core that has died, while the other one executes nothing.
    pub fn turn(&mut self, core: usize, death: &mut Death) {
        let [first, second] = &mut self.cores;
        let (core, other) = if core == 0 {
            (first, second)
        } else {
            (second, first)
        };
        other.seat.wait_for_sipi(|| death.turn(core));
    }

    /// The hypervisor meets a fault on a core, which stands still from now on.
    pub fn fault(&mut self, core: usize, vector: u16, rip: u64, detail: u64) {
        let Core { id, seat, .. } = &self.cores[core];
        seat.die();
        halt::tell_fault(self.shared, *id, vector, rip, detail);
    }

    /// Handles the exit of a core while the other one executes nothing.
    pub fn handle(&mut self, core: usize) -> Flow {
        let [first, second] = &mut self.cores;
        let (core, other) = if core == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let flow = other.seat.wait_in_turn(|| exit::handle(core));
        if let Some(observer) = &mut self.observer {
            observer.enters(core.id, &core.cpu);
        }
        flow
    }

    /// The timer of a core runs out: it looks at the line, if it is the one that does.
    pub fn look_at_line(&mut self, core: usize) -> Flow {
        let reason = u64::from(reason::PREEMPTION_TIMER);
        self.cores[core].cpu.vmwrite(ro::EXIT_REASON, reason);
        if let Some(observer) = &mut self.observer {
            observer.left(self.cores[core].id, &self.cores[core].cpu);
        }
        self.handle(core)
    }

    /// Where a linear address of the guest's is in memory.
    fn physical(&self, core: usize, linear: u64) -> u64 {
        let found = self.shared.translate(&self.cores[core].cpu, linear);
        found.map_or(linear, |at| at.0)
    }

    /// The processor does not allow an access.
    pub fn refuse(&mut self, core: usize, at: u64, access: Access) {
        let physical = self.physical(core, at);
        let cpu = &mut self.cores[core].cpu;
        let linear_valid = 1 << 7 | 1 << 8;
        let qualification = u64::from(access.bits()) | linear_valid;
        cpu.vmwrite(ro::EXIT_QUALIFICATION, qualification);
        cpu.vmwrite(ro::GUEST_PHYSICAL_ADDR_FULL, physical);
        cpu.vmwrite(ro::GUEST_LINEAR_ADDR, at);
        self.exit(core, reason::EPT_VIOLATION);
    }

    /// One access as the processor makes it; false if it exited instead.
    fn access(&mut self, core: usize, does: Does, in_delivery: bool) -> bool {
        let Does(linear, len_bytes, access) = does;
        let mut at = linear;
        while at < linear + u64::from(len_bytes) {
            let physical = self.physical(core, at);
            let leaf = self.view(core).leaf_4k(&self.shared.memory, physical);
            let mut needs = Permissions::empty();
            for (how, permission) in [
                (READ, Permissions::READ),
                (WRITES, Permissions::WRITE),
                (EXECUTE, Permissions::EXECUTE),
            ] {
                needs.set(permission, access.contains(how));
            }
            let is_for_other = access.contains(EXECUTE) && !self.is_for_mode(core, physical);
            if is_for_other || !leaf.permissions().contains(needs) {
                if in_delivery {
                    let cpu = &mut self.cores[core].cpu;
                    cpu.vmwrite(ro::IDT_VECTORING_INFO, VALID | 0x30);
                }
                self.refuse(core, at, access);
                return false;
            }
            at = (at & !0xfff) + 4096;
        }
        true
    }

    /// Runs the instruction at RIP, which makes these accesses, until it is complete; RIP is then `next`.
    pub fn run(&mut self, core: usize, accesses: &[Does], next: u64) {
        while !self.try_run(core, accesses, next) {}
    }

    /// One attempt; false if the instruction exited and has to be started again.
    pub fn try_run(&mut self, core: usize, accesses: &[Does], next: u64) -> bool {
        let rip = self.cores[core].cpu.vmread(guest::RIP);
        let mut code = [0; instruction::LENGTH_MAX];
        let at = self.physical(core, rip);
        self.shared.memory.read(at, &mut code);
        let len_bytes = instruction::decode(&code).map_or(1, |it| u16::from(it.len));
        if !self.access(core, Does(rip, len_bytes, EXECUTE), false) {
            return false;
        }
        let leaf = self.view(core).leaf_4k(&self.shared.memory, at);
        let mut fetched = [0];
        let at = leaf.address() | rip & 0xfff;
        self.shared.memory.read(at, &mut fetched);
        if fetched[0] == 0xcc {
            let info = VALID | 6 << 8 | 3;
            let cpu = &mut self.cores[core].cpu;
            cpu.vmwrite(ro::VMEXIT_INTERRUPTION_INFO, info);
            cpu.vmwrite(ro::VMEXIT_INSTRUCTION_LEN, 1);
            self.exit(core, reason::EXCEPTION_OR_NMI);
            return false;
        }
        for does in accesses {
            if !self.access(core, *does, false) {
                return false;
            }
        }
        let cpu = &mut self.cores[core].cpu;
        cpu.vmwrite(guest::RIP, next);
        cpu.vmwrite(guest::INTERRUPTIBILITY_STATE, 0);
        if self.traps(core) {
            self.exit(core, reason::MONITOR_TRAP_FLAG);
        }
        true
    }

    /// Delivers an interrupt, which pushes at `stack`, and goes on at `handler`.
    pub fn deliver(&mut self, core: usize, stack: u64, handler: u64) {
        while !self.access(core, Does(stack, 8, WRITES), true) {}
        self.cores[core].cpu.vmwrite(guest::RIP, handler);
        if self.traps(core) {
            self.exit(core, reason::MONITOR_TRAP_FLAG);
        }
    }

    /// An NMI comes while the core runs its guest.
    pub fn nmi(&mut self, core: usize) {
        let cpu = &mut self.cores[core].cpu;
        cpu.vmwrite(ro::VMEXIT_INTERRUPTION_INFO, VALID | 2 << 8 | 2);
        self.exit(core, reason::EXCEPTION_OR_NMI);
    }

    /// Whether the core exits after its next instruction.
    pub fn traps(&self, core: usize) -> bool {
        let primary = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
        self.cores[core].cpu.vmread(primary) & MTF != 0
    }

    /// Goes on elsewhere.
    pub fn set_rip(&mut self, core: usize, rip: u64) {
        self.cores[core].cpu.vmwrite(guest::RIP, rip);
    }
}
