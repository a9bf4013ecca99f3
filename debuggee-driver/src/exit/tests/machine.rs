//! Cores made of plain values, and a processor that looks every access up in the EPT view in force.

extern crate std;

use super::cpu::FakeCpu;
use crate::ept::entry::{Entry, Level, Mode, Permissions};
use crate::ept::mode::ModeViews;
use crate::ept::model::{GIB, MIB, World, design, world};
use crate::ept::step_view::{PAGES, StepView};
use crate::ept::table::View;
use crate::event::{Bitmaps, Facts as EventFacts, Installed, Range};
use crate::exit::due::Due;
use crate::exit::{self, Core, Flow, derived};
use crate::facts::Facts;
use crate::fake::{FakePorts, FlatMemory};
use crate::guest::instruction;
use crate::guest::model::{GuestTables, PRESENT, WRITE, no_processes};
use crate::line::{Buffers, Line};
use crate::messages::Rings;
use crate::pool::TableSource;
use crate::port::{Cpu, PhysicalMemory, PortRange, Ports};
use crate::run::machine;
use crate::shared::{Fixed, Local, Parts, Shared};
use crate::transport::uart16550::{Speed, Uart};
use crate::vmx::{control_field, guest, reason, ro};
use core::sync::atomic::{AtomicPtr, AtomicU64};
use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;
use wire_protocol::address::{CoreId, EventId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::event::{
    Access, Actions, EventChange, EventSpec, Options, Settings, Space, Trigger,
};
use wire_protocol::limits;
use wire_protocol::link::Storage;
use wire_protocol::packet::Constants;
use wire_protocol::refusal::BranchObstacle;

/// Where the guest's memory begins that the tests use, virtual and physical alike.
pub(super) const RAM: u64 = 64 * MIB;
/// Where the driver's code is, of one page.
pub(super) const DRIVER: u64 = 0x1000;

/// What the driver's calls have to know.
pub(super) const TOKEN: u64 = 0x746f_6b65_6e00_0001;
/// Four pages that nothing else uses.
pub(super) const BITMAPS: Bitmaps = Bitmaps {
    msr: 24 * MIB,
    own_msr: 24 * MIB + 0x1000,
    io: 24 * MIB + 0x2000,
    owned_ports: PortRange {
        first: 0x3f8,
        count: 8,
    },
};
const MTF: u64 = 1 << 27;
const VALID: u64 = 1 << 31;

#[derive(Clone)]
pub(super) struct Memory(Rc<RefCell<FlatMemory>>);

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

pub(super) struct Fake;

impl Ports for Fake {
    type Cpu = FakeCpu;
    type Memory = Memory;
    type Transport = Uart<FakePorts>;
}

/// A machine with two cores.
pub(super) struct Machine {
    pub(super) shared: &'static Shared<Fake>,
    pub(super) cores: [Core<'static, Fake>; 2],
    /// VM exits so far.
    pub(super) exits: u32,
    /// Of the events that are added.
    pub(super) options: Options,
}

/// One access of an instruction, by linear address.
#[derive(Clone, Copy)]
pub(super) struct Does(pub(super) u64, pub(super) u16, pub(super) Access);

pub(super) const READ: Access = Access::READ;
pub(super) const WRITES: Access = Access::WRITE;
pub(super) const EXECUTE: Access = Access::EXECUTE;

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

/// A line on which this comes in.
pub(super) fn line(incoming: &[u8]) -> Line<Uart<FakePorts>> {
    let mut ports = FakePorts::new(0x3f8);
    ports.incoming.extend(incoming);
    ports.keeps_up = true;
    let speed = Speed {
        clock_hz: 1_843_200,
        baud_hz: 115_200,
    };
    let uart = Uart::init(ports, speed).unwrap();
    let buffers = Buffers {
        message: memory(limits::MESSAGE_BYTES).first_chunk_mut().unwrap(),
        lists: memory(64),
    };
    let storage = Storage::carve(memory(Storage::BYTES)).unwrap();
    Line::new(uart, storage, buffers)
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A machine of changed parts.
    pub(super) fn with(change: impl FnOnce(&mut Parts<Fake>)) -> Self {
        let World {
            mut mem,
            mut installed,
            sink_page,
            ..
        } = world(true, design());
        let mut tables = GuestTables::new(16 * MIB, 4);
        for page in 0..32 {
            let address = RAM + page * 2 * MIB;
            tables.map(&mut mem, address, address, 21, PRESENT | WRITE);
        }
        let views = *installed.views();
        let view = |pages: &mut dyn TableSource| {
            StepView::new([(); PAGES].map(|()| pages.take().unwrap()))
        };
        let arena = installed.pools_mut().arena_mut();
        let own = [view(arena), view(arena)];
        let mode_views = ModeViews::build(&views.hooked, &mut mem, arena);
        let mut parts = Parts {
            installed: *installed,
            line: line(&[]),
            messages: Rings::default(),
            locals: [const { Local::NONE }; limits::CORES],
            variables: keep(Box::new([const { AtomicU64::new(0) }; _])),
            memory: Memory(Rc::new(RefCell::new(mem))),
            facts: no_facts(),
            fixed: Fixed {
                script_operations: 1000,
                code_instructions: 0,
                halts_without_session: false,
                eptp_hooked: views.hooked.eptp(),
                eptp_clean: views.clean.eptp(),
                trampoline: None,
                sink_page,
                bitmaps: BITMAPS,
                cr4_allowed: u64::MAX,
                can_take_interrupts: true,
                branches: Err(BranchObstacle::Processor),
                mode_views,
                preemption_timer_shift: 0,
            },
        };
        change(&mut parts);
        let shared: &Shared<Fake> = keep(Box::new(Shared::new(parts)));
        let mut number = 0..;
        let mut cores = own.map(|view| {
            let seat = shared.rendezvous.seat(CoreId(number.next().unwrap()));
            Core::new(seat.unwrap(), FakeCpu::default(), shared, view)
        });
        for core in &mut cores {
            core.cpu.vmwrite(guest::CR3, 16 * MIB);
            core.cpu.vmwrite(guest::CS_ACCESS_RIGHTS, 1 << 13);
            core.cpu.vmwrite(guest::RFLAGS, 1 << 9);
            core.cpu
                .vmwrite(control_field::EPTP_FULL, views.hooked.eptp());
            core.cpu.vmwrite(guest::RIP, RAM);
        }
        Self {
            shared,
            cores,
            exits: 0,
            options: Options::DEFAULT,
        }
    }

    /// Installs an event that only counts.
    fn add(&mut self, trigger: Trigger, facts: EventFacts) -> EventId {
        let mut settings = Settings::new(trigger);
        settings.actions = Actions::empty();
        settings.options = self.options;
        self.install(settings, facts)
    }

    /// Installs an event and lets every core load what it needs.
    pub(super) fn install(&mut self, settings: Settings, facts: EventFacts) -> EventId {
        let spec = EventSpec {
            settings,
            ..EventSpec::new(settings.trigger)
        };
        let mut memory = self.shared.memory.clone();
        let added = self.edit(|installed| installed.add(&mut memory, &spec, &facts).unwrap());
        for core in &mut self.cores {
            self.shared.load_published(core.id, &mut core.cpu);
            core.due |= Due::CONTROLS;
            derived::load(core);
        }
        added
    }

    /// Changes what is installed, by core 0 while the other one executes nothing.
    pub(super) fn edit<R>(&mut self, change: impl FnOnce(&mut Installed) -> R) -> R {
        let [core, other] = &mut self.cores;
        other.seat.wait_for_sipi(|| {
            let mut halt = core.seat.claim().unwrap();
            let mut proof = halt.all_halted().unwrap();
            let installed = proof.edit();
            let result = change(installed);
            self.shared.publish(installed);
            halt.release(|| 0, 0);
            result
        })
    }

    /// What a script wants to become of an event.
    pub(super) fn change(&self, event: EventId, change: EventChange) -> bool {
        self.cores[0]
            .seat
            .read(|installed| machine::change(self.shared, installed, event, change))
    }

    pub(super) fn hook(&mut self, at: u64) -> EventId {
        let facts = EventFacts {
            hook: Some(GuestPhysical(at)),
            code: None,
            range: None,
            owner: None,
        };
        let address = GuestVirtual(at);
        self.add(Trigger::EptHook { address }, facts)
    }

    pub(super) fn monitor(&mut self, from: u64, len_bytes: u64, access: Access) -> EventId {
        let range = Range {
            from,
            len_bytes,
            access,
            tables: None,
        };
        let trigger = Trigger::Monitor {
            space: Space::Physical,
            access,
            from,
            len_bytes,
        };
        let facts = EventFacts {
            hook: None,
            code: None,
            range: Some(range),
            owner: None,
        };
        self.add(trigger, facts)
    }

    pub(super) fn hits(&self, event: EventId) -> u64 {
        self.cores[0].seat.read(|installed| {
            let mut entries = installed.entries();
            entries.find(|entry| entry.id == event).unwrap().hits
        })
    }

    pub(super) fn place_code(&mut self, at: u64, code: &[u8]) {
        self.shared.memory.clone().write(at, code);
    }

    fn view(&self, core: usize) -> View {
        let eptp = self.cores[core].cpu.vmread(control_field::EPTP_FULL);
        View::at(eptp & !0xfff)
    }

    /// Where the view that the core runs in has a page.
    pub(super) fn leaf(&self, core: usize, at: u64) -> Entry {
        self.view(core).leaf_4k(&self.shared.memory, at)
    }

    /// Whether the root table lets the mode that the core is in execute anything.
    fn is_for_mode(&self, core: usize, at: u64) -> bool {
        let root = self.view(core).root() + Level::Root.entry_offset(at);
        let is_user = self.cores[core].cpu.vmread(guest::SS_ACCESS_RIGHTS) >> 5 & 3 == 3;
        let mode = if is_user { Mode::User } else { Mode::Kernel };
        Entry(self.shared.memory.read_u64(root)).is_for(mode)
    }

    pub(super) fn exit(&mut self, core: usize, number: u16) {
        self.exits += 1;
        assert!(self.exits < 10_000, "the guest makes no progress");
        let cpu = &mut self.cores[core].cpu;
        cpu.vmwrite(ro::EXIT_REASON, u64::from(number));
        let entry_info = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;
        cpu.vmwrite(entry_info, 0);
        assert_eq!(self.handle(core), Flow::Enter);
        self.cores[core].cpu.vmwrite(ro::IDT_VECTORING_INFO, 0);
    }

    /// Handles the exit of a core while the other one executes nothing.
    pub(super) fn handle(&mut self, core: usize) -> Flow {
        let [first, second] = &mut self.cores;
        let (core, other) = if core == 0 {
            (first, second)
        } else {
            (second, first)
        };
        other.seat.wait_for_sipi(|| exit::handle(core))
    }

    /// The processor does not allow an access.
    pub(super) fn refuse(&mut self, core: usize, at: u64, access: Access) {
        let cpu = &mut self.cores[core].cpu;
        let linear_valid = 1 << 7 | 1 << 8;
        let qualification = u64::from(access.bits()) | linear_valid;
        cpu.vmwrite(ro::EXIT_QUALIFICATION, qualification);
        cpu.vmwrite(ro::GUEST_PHYSICAL_ADDR_FULL, at);
        cpu.vmwrite(ro::GUEST_LINEAR_ADDR, at);
        self.exit(core, reason::EPT_VIOLATION);
    }

    /// One access as the processor makes it; false if it exited instead.
    fn access(&mut self, core: usize, does: Does, in_delivery: bool) -> bool {
        let Does(linear, len_bytes, access) = does;
        let mut at = linear;
        while at < linear + u64::from(len_bytes) {
            let leaf = self.view(core).leaf_4k(&self.shared.memory, at);
            let mut needs = Permissions::empty();
            for (how, permission) in [
                (READ, Permissions::READ),
                (WRITES, Permissions::WRITE),
                (EXECUTE, Permissions::EXECUTE),
            ] {
                needs.set(permission, access.contains(how));
            }
            let is_for_other = access.contains(EXECUTE) && !self.is_for_mode(core, at);
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
    pub(super) fn run(&mut self, core: usize, accesses: &[Does], next: u64) {
        while !self.try_run(core, accesses, next) {}
    }

    /// One attempt; false if the instruction exited and has to be started again.
    pub(super) fn try_run(&mut self, core: usize, accesses: &[Does], next: u64) -> bool {
        let rip = self.cores[core].cpu.vmread(guest::RIP);
        let mut code = [0; instruction::LENGTH_MAX];
        self.shared.memory.read(rip, &mut code);
        let len_bytes = instruction::decode(&code).map_or(1, |it| u16::from(it.len));
        if !self.access(core, Does(rip, len_bytes, EXECUTE), false) {
            return false;
        }
        let leaf = self.view(core).leaf_4k(&self.shared.memory, rip);
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
    pub(super) fn deliver(&mut self, core: usize, stack: u64, handler: u64) {
        while !self.access(core, Does(stack, 8, WRITES), true) {}
        self.cores[core].cpu.vmwrite(guest::RIP, handler);
        if self.traps(core) {
            self.exit(core, reason::MONITOR_TRAP_FLAG);
        }
    }

    pub(super) fn nmi(&mut self, core: usize) {
        let cpu = &mut self.cores[core].cpu;
        cpu.vmwrite(ro::VMEXIT_INTERRUPTION_INFO, VALID | 2 << 8 | 2);
        self.exit(core, reason::EXCEPTION_OR_NMI);
    }

    /// Whether the core exits after its next instruction.
    pub(super) fn traps(&self, core: usize) -> bool {
        let primary = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
        self.cores[core].cpu.vmread(primary) & MTF != 0
    }

    pub(super) fn set_rip(&mut self, core: usize, rip: u64) {
        self.cores[core].cpu.vmwrite(guest::RIP, rip);
    }

    /// Every core is back in the hooked view.
    pub(super) fn assert_all_watched(&self) {
        for core in &self.cores {
            assert_eq!(
                core.cpu.vmread(control_field::EPTP_FULL),
                self.shared.fixed.eptp_hooked
            );
            assert_eq!(core.single.view.opened().count(), 0);
        }
    }
}
