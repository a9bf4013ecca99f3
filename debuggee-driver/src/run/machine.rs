//! What a script sees in VMX-root: registers, the guest's memory as the guest maps it, the
//! variables that all scripts share, and the debugger itself.
//!
//! The debugger's own memory is not there for a script, but for the safe buffer of its event.

use super::registers::Registers;
use crate::cores::branches::Branches;
use crate::event::Installed;
use crate::event::registry::Record;
use crate::guest::{process, walk};
use crate::port::{Hidden, PhysicalMemory, Ports};
use crate::published::AskedStep;
use crate::shared::{Shared, Writer};
use core::sync::atomic::AtomicU64;
use wire_protocol::address::{CoreId, EventId, Extent, GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::branch::Branch;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::event::{EventChange, Lifetime};
use wire_protocol::packet::{Arguments, Content, Source, StopCause};
use wire_protocol::register::Register;
use wire_protocol::script::{Ask, BranchCall, Machine, Tracing};

/// Tags of events start here.
const TAG_BASE: u64 = 0x100_0000;

/// What a run is for.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Whose registers and address space it sees.
    pub core: CoreId,
    /// Whose program it is; none if the host sent it.
    pub event: Option<EventId>,
    /// `$context`
    pub context: u64,
    /// `$event_stage`
    pub is_post: bool,
    /// What it prints is sent at once.
    pub urgent: bool,
    /// The safe buffer; empty if there is none.
    pub buffer: Extent<GuestPhysical>,
}

impl Frame {
    /// Whose records it makes.
    #[must_use]
    pub fn source(&self) -> Source {
        self.event.map_or(Source::Request, Source::Event)
    }
}

/// What programs asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// `pause`
    pub pauses: bool,
    /// `event_sc`
    pub short_circuit: Option<bool>,
}

/// See the module.
pub struct RootMachine<'a, P: Ports, R> {
    /// Registers.
    pub registers: R,
    /// What is installed.
    pub installed: &'a Installed,
    /// The core that runs the program, which may be for another one.
    pub core: CoreId,
    /// All else.
    pub shared: &'a Shared<P>,
    /// What the run is for.
    pub frame: &'a Frame,
    /// What it asked for.
    pub effects: &'a mut Effects,
    /// Where the page is that was looked at last.
    pub seen: SeenPage,
}

/// A page of virtual memory and where it is, kept for the length of a run as a processor keeps it: the
/// core runs nothing of the guest meanwhile, so it cannot change its own tables, and what other cores change
/// in them counts once a processor is told, which is after this run. What the script itself changes, memory
/// or registers, ends it at once, as tables may be among it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeenPage(Option<(u64, u64)>);

impl SeenPage {
    /// The physical address of a stretch of bytes, if all of it is in the page.
    #[inline(always)]
    fn find(self, address: u64, len_bytes: usize) -> Option<u64> {
        let (page, at) = self.0?;
        let offset = address.wrapping_sub(page);
        let fits = offset < PAGE_BYTES && offset + len_bytes as u64 <= PAGE_BYTES;
        fits.then_some(at + offset)
    }
}

/// Lets an event act, or act no more, from now on. What that means for the guest's memory and
/// controls follows as soon as every core can be held for it. False: there is no such event.
pub fn change<P: Ports>(
    shared: &Shared<P>,
    installed: &Installed,
    event: EventId,
    change: EventChange,
) -> bool {
    let Some(record) = installed.registry().get(event) else {
        return false;
    };
    let acts = change == EventChange::Enable;
    if change == EventChange::Clear || record.is_enabled() != acts {
        record.set_enabled(acts);
        record.want(change);
        shared.changes.want();
    }
    true
}

/// Breakpoints whose time ends with a halt of this cause act no more, and are cleared when the guest runs again.
pub fn spend<P: Ports>(shared: &Shared<P>, installed: &Installed, cause: StopCause) {
    for record in installed.registry().records() {
        let ends = match record.settings.lifetime() {
            Lifetime::UntilCleared => false,
            Lifetime::UntilItHalts => cause == (StopCause::Event { event: record.id }),
            Lifetime::UntilNextHalt => true,
        };
        if ends {
            change(shared, installed, record.id, EventChange::Clear);
        }
    }
}

/// The same for one that halts together with another one, which the halt is named after.
pub fn spend_with_another<P: Ports>(shared: &Shared<P>, installed: &Installed, record: &Record) {
    if record.halts_once() {
        change(shared, installed, record.id, EventChange::Clear);
    }
}

impl<P: Ports, R: Registers> RootMachine<'_, P, R> {
    /// Where a linear address is in memory: by the core's tables, or by the kernel's for what is
    /// the kernel's and the core does not map.
    fn physical(&mut self, address: u64) -> Option<u64> {
        let cr3 = self.registers.get(Register::Cr3);
        let cr4 = self.registers.get(Register::Cr4);
        let memory = &self.shared.memory;
        let address = GuestVirtual(address);
        let found = walk::translate(memory, cr3, cr4, address).or_else(|missing| {
            if address.0 >> 63 == 0 {
                return Err(missing);
            }
            let kernel = self.shared.facts.layout.kernel.cr3;
            walk::translate(memory, kernel, cr4, address)
        });
        found.ok().map(|found| found.address.0)
    }

    /// The place in memory of a part of the safe buffer.
    fn in_buffer(&self, address: u64, len_bytes: usize) -> Option<u64> {
        let buffer = self.frame.buffer;
        let at = buffer.start().0;
        let offset = address.checked_sub(self.shared.linear(at))?;
        let end = offset.checked_add(len_bytes as u64)?;
        (end <= buffer.len_bytes()).then_some(at + offset)
    }

    /// The physical addresses of a stretch of virtual memory that is at most a page long: of its
    /// start, and of the next page with what lies before it, if the stretch goes on there.
    fn pieces(&mut self, address: u64, len_bytes: usize) -> Option<[(u64, usize); 2]> {
        let first = self.physical(address)?;
        let before_end = (PAGE_BYTES - address % PAGE_BYTES) as usize;
        if len_bytes <= before_end {
            return Some([(first, len_bytes), (0, 0)]);
        }
        let second = self.physical(address.checked_add(before_end as u64)?)?;
        Some([(first, before_end), (second, len_bytes - before_end)])
    }

    /// Reads virtual memory, page by page; the last page is looked at quicker from then on.
    #[inline(never)]
    fn read_unseen(&mut self, address: u64, out: &mut [u8]) -> bool {
        if let Some(at) = self.in_buffer(address, out.len()) {
            self.shared.memory.read(at, out);
            return true;
        }
        let Some(pieces) = self.pieces(address, out.len()) else {
            return false;
        };
        let mut rest = out;
        let mut address = address;
        for (at, len_bytes) in pieces {
            let Some((part, after)) = rest.split_at_mut_checked(len_bytes) else {
                return false;
            };
            if len_bytes != 0 {
                if !self.may_read(at, len_bytes) {
                    return false;
                }
                self.see(address, at);
                self.shared.memory.read(at, part);
            }
            rest = after;
            address = address.wrapping_add(len_bytes as u64);
        }
        true
    }

    /// Keeps where the page of a byte is, if all of it may be read.
    fn see(&mut self, address: u64, at: u64) {
        let offset = at % PAGE_BYTES;
        if self.may_read(at - offset, PAGE_BYTES as usize) {
            self.seen = SeenPage(Some((address.wrapping_sub(offset), at - offset)));
        }
    }

    fn change(&self, event: u64, how: EventChange) -> bool {
        let event = u32::try_from(event).ok().map(EventId);
        event.is_some_and(|event| change(self.shared, self.installed, event, how))
    }

    /// Lets the core step once this run is over; only for events.
    fn step(&mut self, tracing: Tracing) -> bool {
        let Some(event) = self.frame.event else {
            return false;
        };
        let place = [Register::Rip, Register::Rsp].map(|register| self.registers.get(register));
        let asked = AskedStep {
            event,
            tracing,
            from: place.into(),
        };
        self.shared.published.step(self.frame.core, &asked);
        true
    }

    #[cold]
    #[inline(never)]
    fn call_branches(&mut self, call: BranchCall) -> bool {
        let Ok(layout) = self.shared.fixed.branches else {
            return false;
        };
        let registers = &mut self.registers;
        let call = |branches: &mut Branches| registers.call_branches(branches, layout, call);
        self.shared.with_branches(self.core, call).unwrap_or(false)
    }

    fn may_read(&self, at: u64, len_bytes: usize) -> bool {
        let end = at.checked_add(len_bytes as u64);
        end.is_some_and(|end| end <= self.shared.memory.limit()) && {
            let hides = |at| self.installed.hides(GuestPhysical(at).page());
            let last = at + (len_bytes as u64).saturating_sub(1);
            !hides(at) && (last / PAGE_BYTES == at / PAGE_BYTES || !hides(last))
        }
    }

    fn may_write(&self, at: u64, len_bytes: usize) -> bool {
        let last = at + (len_bytes as u64).saturating_sub(1);
        self.may_read(at, len_bytes)
            && !self.shared.is_guarded(self.installed, GuestPhysical(at))
            && !self.shared.is_guarded(self.installed, GuestPhysical(last))
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let by = Writer {
            core: self.core,
            tsc: self.registers.tsc(),
        };
        self.shared.memory.clone().write(at, bytes);
        let last = at + (bytes.len() as u64 - 1);
        for page in [at, last] {
            let page = GuestPhysical(page).page();
            self.shared.refresh_shadow(self.installed, page, by);
        }
    }
}

impl<P: Ports, R: Registers> Machine for RootMachine<'_, P, R> {
    fn register(&mut self, register: Register) -> u64 {
        self.registers.get(register)
    }

    fn set_register(&mut self, register: Register, value: u64) -> bool {
        self.seen = SeenPage::default();
        self.registers.set(register, value)
    }

    fn pseudo(&mut self, pseudo: Pseudo) -> u64 {
        let memory = &self.shared.memory;
        let layout = &self.shared.facts.layout;
        let core = self.frame.core;
        let task = || process::current_task(memory, layout, core);
        match pseudo {
            Pseudo::Pid => process::current_pid(memory, layout, core).map_or(0, u64::from),
            Pseudo::Tid => process::current_thread(memory, layout, core).map_or(0, u64::from),
            Pseudo::Core => u64::from(core.0),
            Pseudo::Process => {
                process::current_process(memory, layout, core).map_or(0, |process| process.0)
            }
            Pseudo::Thread => task().map_or(0, |task| task.0),
            Pseudo::ProcessName => task().map_or(0, |task| process::name_of_task(layout, task).0),
            Pseudo::Ip => self.registers.get(Register::Rip),
            Pseudo::Buffer if !self.frame.buffer.is_empty() => {
                self.shared.linear(self.frame.buffer.start().0)
            }
            Pseudo::Context => self.frame.context,
            Pseudo::EventId => self.frame.event.map_or(0, |event| event.0.into()),
            Pseudo::EventTag => {
                let number = self.frame.event.map(|event| u64::from(event.0));
                number.map_or(0, |number| TAG_BASE + number)
            }
            Pseudo::EventStage => u64::from(self.frame.is_post),
            // Linux has no such blocks; date and time are the interpreter's.
            Pseudo::Buffer | Pseudo::Peb | Pseudo::Teb | Pseudo::Date | Pseudo::Time => 0,
        }
    }

    #[inline]
    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        if let Some(at) = self.seen.find(address, out.len()) {
            self.shared.memory.read(at, out);
            return true;
        }
        self.read_unseen(address, out)
    }

    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool {
        if let Some(at) = self.in_buffer(address, bytes.len()) {
            self.shared.memory.clone().write(at, bytes);
            return true;
        }
        self.seen = SeenPage::default();
        let Some(pieces) = self.pieces(address, bytes.len()) else {
            return false;
        };
        let allowed = pieces
            .iter()
            .all(|(at, len_bytes)| *len_bytes == 0 || self.may_write(*at, *len_bytes));
        let [(first, first_bytes), (second, _)] = pieces;
        let Some((low, high)) = bytes.split_at_checked(first_bytes) else {
            return false;
        };
        if allowed {
            self.write(first, low);
            self.write(second, high);
        }
        allowed
    }

    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool {
        let allowed = self.may_read(address, out.len());
        if allowed {
            self.shared.memory.read(address, out);
        }
        allowed
    }

    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.seen = SeenPage::default();
        let allowed = self.may_write(address, bytes.len());
        if allowed {
            self.write(address, bytes);
        }
        allowed
    }

    fn virtual_to_physical(&mut self, address: u64) -> Option<u64> {
        self.physical(address)
    }

    fn physical_to_virtual(&mut self, address: u64) -> Option<u64> {
        let kernel = &self.shared.facts.layout.kernel;
        let linear = kernel.direct_map.start().0.wrapping_add(address);
        let memory = &self.shared.memory;
        let found = walk::translate(memory, kernel.cr3, kernel.cr4, GuestVirtual(linear)).ok()?;
        (address < kernel.direct_map.len_bytes() && found.address.0 == address).then_some(linear)
    }

    fn globals(&self) -> &[AtomicU64] {
        self.shared.variables
    }

    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        let what = Content::Print { site, arguments };
        let (source, tsc) = (self.frame.source(), self.registers.tsc());
        self.shared
            .messages
            .record(self.core, source, tsc, self.frame.urgent, &what);
    }

    #[cold]
    #[inline(never)]
    fn branch(&mut self, number: usize) -> Option<Branch> {
        let layout = self.shared.fixed.branches.ok()?;
        let registers = &mut self.registers;
        let look = |branches: &mut Branches| registers.branch(branches, layout, number);
        self.shared.with_branches(self.core, look)?
    }

    fn ask(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Pause => {
                self.effects.pauses = true;
                true
            }
            Ask::Flush => {
                self.shared.messages.flush();
                true
            }
            Ask::ShortCircuit(on) => {
                self.effects.short_circuit = Some(on);
                self.frame.event.is_some() && !self.frame.is_post
            }
            Ask::Inject {
                kind,
                vector,
                error_code,
            } => self.registers.inject(kind, vector, error_code),
            Ask::Enable(event) => self.change(event, EventChange::Enable),
            Ask::Disable(event) => self.change(event, EventChange::Disable),
            Ask::Clear(event) => self.change(event, EventChange::Clear),
            Ask::Branches(call) => self.call_branches(call),
            Ask::Trace(tracing) => self.step(tracing),
        }
    }

    fn tsc(&mut self) -> u64 {
        self.registers.tsc()
    }

    fn relax(&mut self) {
        core::hint::spin_loop();
    }

    fn sleep_us(&mut self, microseconds: u32) {
        let ticks = u64::from(microseconds) * u64::from(self.shared.facts.tsc_khz) / 1000;
        let start = self.registers.tsc();
        // The counter runs; should it not, the turns end.
        for _ in 0..ticks {
            if self.registers.tsc().wrapping_sub(start) >= ticks {
                return;
            }
            core::hint::spin_loop();
        }
    }
}
