//! What an event needs, found out without touching anything. First [`Resolver::resolve`] turns names
//! into addresses, then [`Plan::new`] checks against what is installed.

use super::detour::{Code, DetourPlan};
use super::installed::Installed;
use super::owner::Owner;
use super::programs::{Needs, TooBig, buffer_class};
use super::range::{self, Range};
use super::relocate;
use crate::ept::entry::Level;
use crate::ept::monitor::PIECES_MAX;
use crate::ept::table::SplitPlan;
use crate::guest::instruction::LENGTH_MAX;
use crate::guest::layout::GuestLayout;
use crate::guest::process;
use crate::guest::walk;
use crate::port::{Hidden, PhysicalMemory, PortRange};
use crate::vmx::msr;
use wire_protocol::address::{CoreId, Extent, GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::event::{EventSpec, PoolClass, Settings, Space, Trigger};
use wire_protocol::refusal::{DetourObstacle, EventRefusal, ProcessorFeature, Refusal};

/// What an event's parameters mean in the machine as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where the hook of an `!epthook`, an `!epthook2` or a `!syscall entry` goes.
    pub hook: Option<GuestPhysical>,
    /// What stands there, if it is a detour's.
    pub code: Option<Code>,
    /// What a `!monitor` watches.
    pub range: Option<Range>,
    /// Whose memory it is, if somebody can give it back.
    pub owner: Option<Owner>,
}

/// What names and addresses are resolved with.
#[derive(Clone, Copy, Debug)]
pub struct Resolver<'a> {
    /// CR3 of the address space that the user looks at.
    pub cr3: u64,
    /// CR4 that goes with it.
    pub cr4: u64,
    /// Cores there are.
    pub core_count: u16,
    /// Bit N set: core N executes nothing any more.
    pub dead_cores: u64,
    /// Ports of the line.
    pub owned_ports: PortRange,
    /// The processor lets interrupts be taken from the guest and given back.
    pub can_take_interrupts: bool,
    /// The processor's EPT can tell user from kernel execution.
    pub can_tell_modes: bool,
    /// Where processes are found.
    pub layout: &'a GuestLayout,
    /// Where SYSCALL leads: IA32_LSTAR.
    pub syscall_entry: GuestVirtual,
    /// Code that takes no detours.
    pub undisturbed: [Extent<GuestVirtual>; 2],
    /// RAM; elsewhere no code can be hooked.
    pub ram: &'a [Extent<GuestPhysical>],
}

impl Resolver<'_> {
    /// Looks up the core, the process and the address that `settings` name. An address is one of the
    /// process if a process is named, else of the user's address space.
    ///
    /// # Errors
    /// Which of them does not exist.
    pub fn resolve(
        &self,
        mem: &impl PhysicalMemory,
        settings: &Settings,
    ) -> Result<Facts, Refusal> {
        let count = self.core_count;
        if let Some(core) = settings.filter.core.filter(|core| core.0 >= count) {
            return Err(Refusal::NoSuchCore { core, count });
        }
        let is_dead = |core: &CoreId| self.dead_cores >> core.0 & 1 != 0;
        if let Some(core) = settings.filter.core.filter(is_dead) {
            return Err(Refusal::CoreDied { core });
        }
        let cr3 = match settings.filter.pid {
            None => self.cr3,
            Some(pid) => process::find_process(mem, self.layout, pid)
                .map(|process| process.cr3)
                .ok_or(Refusal::ProcessNotFound { pid })?,
        };
        let tables = |address| self.layout.kernel.tables_for(mem, cr3, self.cr4, address);
        let mut facts = Facts::default();
        match settings.trigger {
            Trigger::EptHook { address } => {
                facts.hook = Some(self.place(mem, tables(address), address)?);
                facts.owner = self.owner(mem, settings, cr3, address, 1);
            }
            Trigger::SyscallEntry { .. } => {
                let address = self.syscall_entry;
                facts.hook = Some(self.place(mem, tables(address), address)?);
            }
            Trigger::Monitor {
                space,
                access,
                from,
                len_bytes,
            } => {
                if space == Space::Virtual {
                    let from = GuestVirtual(from);
                    facts.owner = self
                        .owner(mem, settings, cr3, from, len_bytes)
                        .or_else(|| self.kernel_owner(from, len_bytes));
                }
                let of_virtual = || (tables(GuestVirtual(from)), self.cr4);
                facts.range = Some(Range {
                    from,
                    len_bytes,
                    access,
                    tables: (space == Space::Virtual).then(of_virtual),
                });
            }
            Trigger::EptHook2 { address } => {
                let cr3 = tables(address);
                let code = self.code_of_detour(mem, cr3, address)?;
                facts.hook = Some(self.place(mem, cr3, code.at)?);
                facts.code = Some(code);
            }
            Trigger::Mode { .. } if !self.can_tell_modes => {
                return Err(Refusal::Event(EventRefusal::NoFeature {
                    feature: ProcessorFeature::ModeBasedExecute,
                }));
            }
            Trigger::MsrRead { msr: Some(msr) } | Trigger::MsrWrite { msr: Some(msr) }
                if msr::is_hypervisors(msr) =>
            {
                return Err(Refusal::Event(EventRefusal::OwnMsr { msr }));
            }
            Trigger::IoIn { port: Some(port) } | Trigger::IoOut { port: Some(port) }
                if self.owned_ports.contains(port) =>
            {
                return Err(Refusal::Event(EventRefusal::OwnPort { port }));
            }
            Trigger::Interrupt { .. } if !self.can_take_interrupts => {
                return Err(Refusal::Event(EventRefusal::NoFeature {
                    feature: ProcessorFeature::AcknowledgeInterrupt,
                }));
            }
            _ => {}
        }
        Ok(facts)
    }

    /// Whose memory it is, of `len_bytes` from `from`: that of the process that is named, or that has the tables at `cr3`.
    fn owner(
        &self,
        mem: &impl PhysicalMemory,
        settings: &Settings,
        cr3: u64,
        from: GuestVirtual,
        len_bytes: u64,
    ) -> Option<Owner> {
        if from.0 >> 63 != 0 {
            return None;
        }
        let found = match settings.filter.pid {
            Some(pid) => process::find_process(mem, self.layout, pid),
            None => process::process_of_tables(mem, self.layout, cr3),
        }?;
        Some(Owner {
            pid: Some(found.pid),
            cr3: found.cr3,
            cr4: self.cr4,
            from,
            len_bytes,
        })
    }

    /// The kernel, if it is memory that it maps for a time.
    fn kernel_owner(&self, from: GuestVirtual, len_bytes: u64) -> Option<Owner> {
        let kernel = &self.layout.kernel;
        kernel.maps_for_a_time(from).then_some(Owner {
            pid: None,
            cr3: kernel.cr3,
            cr4: kernel.cr4,
            from,
            len_bytes,
        })
    }

    /// Where a hook at `address`, which the tables at `cr3` map, goes.
    fn place(
        &self,
        mem: &impl PhysicalMemory,
        cr3: u64,
        address: GuestVirtual,
    ) -> Result<GuestPhysical, Refusal> {
        let at = walk::translate(mem, cr3, self.cr4, address)?.address;
        if self.is_ram(at) {
            Ok(at)
        } else {
            Err(Refusal::Event(EventRefusal::NotRam { address: at }))
        }
    }

    /// The instruction that a detour at `address` covers.
    fn code_of_detour(
        &self,
        mem: &impl PhysicalMemory,
        cr3: u64,
        address: GuestVirtual,
    ) -> Result<Code, Refusal> {
        let refuse = |obstacle| Err(Refusal::Event(EventRefusal::NoDetour { obstacle }));
        if address.0 >> 63 == 0 {
            return refuse(DetourObstacle::NotKernel);
        }
        if self.undisturbed.iter().any(|code| code.contains(address)) {
            return refuse(DetourObstacle::EntryCode);
        }
        let read = |at: GuestVirtual| {
            let physical = walk::translate(mem, cr3, self.cr4, at)?.address.0;
            let on_page = PAGE_BYTES - at.0 % PAGE_BYTES;
            let mut code = Code {
                at,
                bytes: [0; LENGTH_MAX],
                len: LENGTH_MAX.min(on_page as usize),
            };
            let len = code.len;
            if let Some(bytes) = code.bytes.get_mut(..len) {
                mem.read(physical, bytes);
            }
            Ok(code)
        };
        let code = read(address)?;
        match relocate::landing_pad(code.bytes()) {
            0 => Ok(code),
            pad => read(GuestVirtual(address.0 + pad)),
        }
    }

    fn is_ram(&self, at: GuestPhysical) -> bool {
        self.ram.iter().any(|range| range.contains(at))
    }
}

/// What the hook of an event needs.
#[derive(Clone, Copy, Debug)]
pub struct HookPlan {
    /// First byte of the instruction.
    pub at: GuestPhysical,
    /// Where it leads, if it is a detour.
    pub detour: Option<DetourPlan>,
    /// How its page gets a 4 KiB leaf; `None` if it carries hooks already, and then no page object
    /// is needed either.
    pub new_page: Option<SplitPlan>,
}

/// What an event needs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The class of its event object.
    pub event_class: PoolClass,
    /// Why that is not a regular one.
    pub too_big: Option<TooBig>,
    /// What its programs need.
    pub programs: Needs,
    /// The class of its safe buffer, if it asks for one.
    pub buffer_class: Option<PoolClass>,
    /// Its hook, if its trigger has one.
    pub hook: Option<HookPlan>,
    /// What it watches, if its trigger is a monitor.
    pub range: Option<Range>,
}

impl Plan {
    /// Checks an event against what is installed. Only pools are not looked at: reserving does
    /// that.
    ///
    /// # Errors
    /// Why it cannot be installed.
    pub fn new(
        spec: &EventSpec<'_>,
        facts: &Facts,
        installed: &Installed,
        mem: &impl PhysicalMemory,
    ) -> Result<Self, Refusal> {
        spec.check()?;
        let sizes = &installed.pools().design().sizes;
        let programs = Needs::of(&spec.programs, installed.core_count())?;
        let (event_class, too_big) = match spec.settings.is_interception() {
            true => (PoolClass::ThreadInterception, None),
            false => programs.class(sizes)?,
        };
        let buffer_class = buffer_class(spec.settings.options.buffer_bytes, sizes)?;
        let hook = facts
            .hook
            .map(|at| plan_hook(at, facts.code.as_ref(), installed, mem))
            .transpose()?;
        if let Some(range) = &facts.range {
            check_range(range, installed, mem)?;
        }
        Ok(Self {
            event_class,
            too_big,
            programs,
            buffer_class,
            hook,
            range: facts.range,
        })
    }
}

pub(super) fn plan_hook(
    at: GuestPhysical,
    code: Option<&Code>,
    installed: &Installed,
    mem: &impl PhysicalMemory,
) -> Result<HookPlan, Refusal> {
    let views = installed.views();
    if at.0 >= views.limit {
        return Err(Refusal::PhysicalOutOfRange {
            address: at,
            limit: GuestPhysical(views.limit),
        });
    }
    if installed.hides(at) {
        return Err(Refusal::DebuggerMemory { address: at });
    }
    installed.watches().check(at, code.is_some())?;
    let detour = code
        .map(|code| installed.detours().plan(code))
        .transpose()?;
    if installed.watches().has_page(at) {
        return Ok(HookPlan {
            at,
            detour,
            new_page: None,
        });
    }
    let split = views.hooked.plan_split(mem, at.0, Level::Page4K);
    let new_page = Some(split.ok_or(Refusal::DebuggerMemory { address: at })?);
    Ok(HookPlan {
        at,
        detour,
        new_page,
    })
}

fn check_range(
    range: &Range,
    installed: &Installed,
    mem: &impl PhysicalMemory,
) -> Result<(), Refusal> {
    let mut room = PIECES_MAX.saturating_sub(installed.watches().monitors().count());
    for span in range.spans(mem) {
        range::check(&span?, installed, mem)?;
        room = room
            .checked_sub(1)
            .ok_or_else(|| range.exhausted(mem, installed.pools()))?;
    }
    Ok(())
}

/// Whether a core is the one an event is for.
#[must_use]
pub fn core_matches(settings: &Settings, core: CoreId) -> bool {
    settings.filter.core.is_none_or(|wanted| wanted == core)
}
