//! What all cores share. One value in the arena, made by `boot`, dropped never.

mod fixed;
mod host;

use crate::clock::Clock;
use crate::cores::branches::Branches;
use crate::cores::departure::Departure;
use crate::cores::exclusive::Exclusive;
use crate::cores::registers::RegisterFile;
use crate::cores::rendezvous::{self, Rendezvous};
use crate::cores::roster::Presence;
use crate::ept::entry::Permissions;
use crate::event::{ExitFacts, Guest, Installed, Running};
use crate::facts::Facts;
use crate::guest::process;
use crate::guest::walk;
use crate::line::Line;
use crate::messages::Rings;
use crate::occasions::Occasions;
use crate::poll::Poll;
use crate::port::{Cpu, Hidden, PhysicalMemory, Ports};
use crate::published::Published;
use crate::rtc::Rtc;
use crate::steps::HostSteps;
use crate::vmx::guest;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use host::HostSession;
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::bytecode::GLOBAL_BYTES;
use wire_protocol::digest::DigestKey;
use wire_protocol::event::Standing;
use wire_protocol::limits;
use wire_protocol::packet::{Content, Features, Source};
use wire_protocol::register::RegisterSet;
use wire_protocol::script::Workspace;
use wire_protocol::script::globals::Globals;

pub use fixed::{Fixed, TrampolineView};

/// Variables of scripts, as words. A length that is known spares each use the look at it.
pub type Variables = [AtomicU64; GLOBAL_BYTES / size_of::<u64>()];

/// See the module.
pub struct Shared<P: Ports> {
    /// Who has stopped, and what only its tokens open: events, hooks, pools and EPT views, and
    /// what each core has for itself.
    pub rendezvous: Rendezvous<Installed, Local>,
    /// Who waits to leave.
    pub departure: Departure,
    /// The way to the host.
    pub line: Exclusive<Line<P::Transport>>,
    /// What programs print, until it is sent.
    pub messages: Rings,
    /// Where the variables that all scripts share are.
    pub globals: Exclusive<Globals>,
    /// Those variables, in the arena: the guest neither reads nor writes them. A detour, which runs as the guest,
    /// has them in the trampoline view.
    pub variables: &'static Variables,
    /// What scripts want changed.
    pub changes: Changes,
    /// Physical memory.
    pub memory: P::Memory,
    /// What the platform told at the load.
    pub facts: Facts,
    /// What was made and chosen then.
    pub fixed: Fixed,
    /// The real-time clock, if anybody here wants to know it: then the guest's accesses to its ports are carried out.
    pub rtc: Option<&'static Exclusive<Rtc<P::ClockRegisters>>>,
    /// Held by the core that copies pages into their shadows.
    refreshing: Exclusive<()>,
    /// What every core loads for the events.
    pub published: Published,
    /// Instructions that the host has one core execute.
    pub steps: Exclusive<HostSteps>,
    /// What the user said about the stop in progress: see [`Self::decide_short_circuit`].
    short_circuit: AtomicU8,
    /// What ticks are, and which the guest does not see.
    pub clock: Clock,
    /// At what the machine halts by itself.
    pub occasions: Occasions,
    /// Who polls the line.
    pub poll: Poll,
    /// Local APIC id of each core.
    pub apic_ids: [AtomicU32; limits::CORES],
    /// Halts so far.
    pub halts: AtomicU32,
    host: HostSession,
    commits: AtomicU64,
    /// The last-branch records of each core.
    branches: [Exclusive<Branches>; limits::CORES],
}

/// Whether a script wants something changed that only a halt can change.
#[derive(Debug, Default)]
pub struct Changes(AtomicBool);

impl Changes {
    /// Something is wanted; the record says what. By any core.
    pub fn want(&self) {
        self.0.store(true, SeqCst);
    }

    /// Whether something is wanted.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.0.load(SeqCst)
    }

    /// Whether something is wanted; if so, it is the caller's to do.
    pub fn take(&self) -> bool {
        self.is_wanted() && self.0.swap(false, SeqCst)
    }
}

/// A core that runs.
pub type Seat<'r> = rendezvous::Seat<'r, Installed, Local>;

/// A halt that a core claimed.
pub type Halt<'s> = rendezvous::Halt<'s, Installed, Local>;

/// The core that wrote to memory, and its time.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Which.
    pub core: CoreId,
    /// Its time-stamp counter.
    pub tsc: u64,
}

/// What one core has for itself.
#[derive(Debug)]
pub struct Local {
    /// Its registers while it is held.
    pub file: RegisterFile,
    /// Memory for running scripts, in the arena; `None` for a core that there is not.
    pub workspace: Option<&'static mut Workspace>,
}

impl Local {
    /// Of a core that there is not.
    pub const NONE: Self = Self {
        file: RegisterFile::NONE,
        workspace: None,
    };
}

/// The parts that `boot` brings.
pub struct Parts<P: Ports> {
    /// Events, hooks, pools and EPT views.
    pub installed: Installed,
    /// See [`Shared::line`].
    pub line: Line<P::Transport>,
    /// See [`Shared::messages`].
    pub messages: Rings,
    /// Of every core.
    pub locals: [Local; limits::CORES],
    /// See [`Shared::variables`].
    pub variables: &'static Variables,
    /// See [`Shared::memory`].
    pub memory: P::Memory,
    /// See [`Shared::rtc`].
    pub rtc: Option<&'static Exclusive<Rtc<P::ClockRegisters>>>,
    /// See [`Shared::facts`].
    pub facts: Facts,
    /// See [`Shared::fixed`].
    pub fixed: Fixed,
}

impl<P: Ports> Shared<P> {
    /// Puts the parts together.
    pub fn new(parts: Parts<P>) -> Self {
        let published = Published::default();
        published.publish(&parts.installed.controls());
        let mut memory = parts.memory.clone();
        parts.fixed.bitmaps.keep_own_ports(&mut memory);
        let clock = Clock::new(parts.facts.tsc_khz);
        let poll_hz = u64::from(parts.facts.constants.poll_hz);
        Self {
            rendezvous: Rendezvous::new(parts.installed, parts.locals),
            departure: Departure::default(),
            line: Exclusive::new(parts.line),
            messages: parts.messages,
            globals: Exclusive::new(Globals::new()),
            variables: parts.variables,
            changes: Changes::default(),
            memory: parts.memory,
            rtc: parts.rtc,
            facts: parts.facts,
            fixed: parts.fixed,
            published,
            steps: Exclusive::new(HostSteps::NONE),
            short_circuit: AtomicU8::new(0),
            refreshing: Exclusive::new(()),
            occasions: Occasions::default(),
            poll: Poll::new(poll_hz, clock.timeout_ticks()),
            clock,
            apic_ids: [const { AtomicU32::new(0) }; limits::CORES],
            halts: AtomicU32::new(0),
            host: HostSession::default(),
            commits: AtomicU64::new(0),
            branches: [const { Exclusive::new(Branches::OFF) }; limits::CORES],
        }
    }

    /// Works with the last-branch records of a core: by that core, or by the one that serves a halt in
    /// which it is held. `None`: there is no such core.
    pub fn with_branches<R>(
        &self,
        core: CoreId,
        work: impl FnOnce(&mut Branches) -> R,
    ) -> Option<R> {
        self.branches.get(usize::from(core.0))?.try_with(work)
    }

    /// The core leaves, and its guest has its last-branch records as they were.
    pub fn give_up_branches(&self, core: CoreId, cpu: &mut P::Cpu) {
        if let Ok(layout) = self.fixed.branches {
            self.with_branches(core, |branches| branches.switch_off(cpu, layout));
        }
    }

    /// A host shook hands: what it can do, and the key of the digests from now on.
    pub fn begin_session(&self, features: Features, key: Option<DigestKey>) {
        self.host.begin(features, key);
    }

    /// What of a held core's registers is not what it was when the machine was let go, if that is known.
    pub fn changed_since_last_stop(&self, core: CoreId, now: &RegisterFile) -> Option<RegisterSet> {
        self.steps
            .try_with(|steps| steps.changed_since(core, now))
            .flatten()
    }

    /// Whether the host can do all of this.
    pub fn host_can(&self, features: Features) -> bool {
        self.host.features().contains(features)
    }

    /// A host shook hands since the driver was loaded: somebody is there to be told, or comes back.
    pub fn has_met_host(&self) -> bool {
        self.host.has_begun()
    }

    /// The key of the digests that stand for memory, if there is one.
    pub fn digest_key(&self) -> Option<DigestKey> {
        self.host.digest_key()
    }

    /// `core` will execute nothing for a while: another one polls.
    pub fn hand_over_polling(&self, core: CoreId) {
        let is_there = |core: &CoreId| {
            self.rendezvous.presence(*core) != Presence::WaitForSipi
                && !self.rendezvous.has_died(*core)
        };
        let others = self.rendezvous.present().filter(is_there);
        self.poll.hand_over(core, others);
    }

    /// Local APIC id of a core.
    pub fn apic_id(&self, core: CoreId) -> u32 {
        self.apic_ids
            .get(usize::from(core.0))
            .map_or(0, |id| id.load(SeqCst))
    }

    /// Makes what every core must load known; they load it by `apply_published` or when parked.
    ///
    /// With every core halted: the bitmaps are written at once.
    pub fn publish(&self, installed: &Installed) {
        let mut memory = self.memory.clone();
        self.published.publish(&installed.controls());
        installed.write_bitmaps(&mut memory, &self.fixed.bitmaps);
        self.commits.fetch_add(1, SeqCst);
    }

    /// How often something was published: what was derived from the views before the last time
    /// holds no longer.
    #[inline]
    pub fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }

    /// Whether what made the machine stop shall take effect, for the stop in progress.
    pub fn decide_short_circuit(&self, on: bool) {
        self.short_circuit.store(1 + u8::from(on), SeqCst);
    }

    /// Takes what the user decided during the stop that just ended, if anything.
    pub fn take_short_circuit(&self) -> Option<bool> {
        match self.short_circuit.swap(0, SeqCst) {
            0 => None,
            decided => Some(decided == 2),
        }
    }

    /// Loads what is published into this core.
    pub fn load_published(&self, core: CoreId, cpu: &mut P::Cpu) {
        self.published.load(core, cpu);
        cpu.invalidate_ept();
    }

    /// Loads what was committed since this core last looked, if anything.
    pub fn apply_published(&self, seat: &Seat<'_>, cpu: &mut P::Cpu) {
        if seat.is_behind() {
            self.load_published(seat.core(), cpu);
            seat.acknowledge();
        }
    }

    /// Takes `ticks` out of the guest's time, on every core before it runs again.
    pub fn add_hidden_ticks(&self, ticks: u64) {
        if self.clock.hide(ticks) {
            self.intercept_tsc_deadline();
        }
    }

    /// Lets the guest's accesses to IA32_TSC_DEADLINE exit from now on.
    fn intercept_tsc_deadline(&self) {
        let mut memory = self.memory.clone();
        self.fixed
            .bitmaps
            .own(&mut memory, crate::vmx::TSC_DEADLINE, true);
    }

    /// The linear address at which the driver and the kernel see physical memory.
    pub fn linear(&self, at: u64) -> u64 {
        let direct_map = self.facts.layout.kernel.direct_map;
        direct_map.start().0.wrapping_add(at)
    }

    /// Looks at the hooks of a page after it was written, brings its shadow up to date, and tells the host of hooks
    /// that stand otherwise to the code than before.
    pub fn refresh_shadow(&self, installed: &Installed, page: GuestPhysical, by: Writer) {
        let links = installed.watches().links();
        if !links.is_empty() && links.is_changed(&self.memory, page) {
            // The core does it before it runs its guest again.
            self.changes.want();
        }
        let kernel = &self.facts.layout.kernel;
        let tell = |event, standing| self.tell_standing(event, standing, by);
        self.one_refreshes(|memory| installed.refresh_shadow(memory, page, kernel, tell));
    }

    /// The same for all pages.
    pub fn refresh_all_shadows(&self, installed: &Installed, by: Writer) {
        for page in installed.watches().pages() {
            self.refresh_shadow(installed, page, by);
        }
    }

    /// Looks at all hooks: see [`Installed::look_at_hooks`].
    pub fn look_at_hooks(&self, installed: &Installed, by: Writer) {
        let kernel = &self.facts.layout.kernel;
        let tell = |event, standing| self.tell_standing(event, standing, by);
        self.one_refreshes(|memory| installed.look_at_hooks(memory, kernel, tell));
    }

    /// Sets events up anew whose pages are elsewhere now, and tells the host of those that stand otherwise than before.
    #[cold]
    #[inline(never)]
    pub fn follow(&self, installed: &mut Installed, by: Writer) {
        let guest = Guest {
            layout: &self.facts.layout,
            ram: &self.facts.ram,
        };
        let tell = |event, standing| self.tell_standing(event, standing, by);
        installed.follow(&mut self.memory.clone(), &guest, tell);
    }

    #[cold]
    #[inline(never)]
    fn tell_standing(&self, event: EventId, standing: Standing, by: Writer) {
        let (source, what) = (Source::Event(event), Content::Standing(standing));
        self.messages.record(by.core, source, by.tsc, true, &what);
    }

    /// Waits for a core that is at it: of two that copy at once, the later could leave what the earlier one saw.
    fn one_refreshes(&self, mut refresh: impl FnMut(&mut P::Memory)) {
        let mut memory = self.memory.clone();
        while self
            .refreshing
            .try_with(|()| refresh(&mut memory))
            .is_none()
        {
            core::hint::spin_loop();
        }
    }

    /// Whether the hooked view lacks something at the page of `at` because it is watched.
    pub fn is_watched(&self, installed: &Installed, at: GuestPhysical) -> bool {
        let hooked = &installed.views().hooked;
        hooked.walk(&self.memory, at.0).entry.is_watched()
    }

    /// Throws away what the guest wrote to the debugger's memory.
    pub fn clear_sink(&self) {
        let mut memory = self.memory.clone();
        for offset in (0..PAGE_BYTES).step_by(8) {
            memory.write_u64(self.fixed.sink_page + offset, 0);
        }
    }

    /// Where a linear address of this core's guest is in memory; `None` if it is not present.
    #[inline(never)]
    pub fn translate(&self, cpu: &P::Cpu, address: u64) -> Option<GuestPhysical> {
        let (cr3, cr4) = (cpu.vmread(guest::CR3), cpu.vmread(guest::CR4));
        walk::translate(&self.memory, cr3, cr4, GuestVirtual(address))
            .ok()
            .map(|translation| translation.address)
    }

    /// One byte of memory as it is.
    pub fn read_byte(&self, at: GuestPhysical) -> u8 {
        let mut byte = [0];
        self.memory.read(at.0, &mut byte);
        byte[0]
    }

    /// Whether the EPT views map an address.
    pub fn is_mapped(&self, at: GuestPhysical) -> bool {
        at.0 < self.memory.limit()
    }

    /// The process that `core` runs, as the operating system numbers it.
    pub fn current_pid(&self, core: CoreId) -> Option<u32> {
        process::current_pid(&self.memory, &self.facts.layout, core)
    }

    /// Looks up what runs on `core`.
    pub fn running(&self, core: CoreId) -> impl Fn(Running) -> Option<u32> + '_ {
        move |asked| match asked {
            Running::Process => self.current_pid(core),
            Running::Thread => process::current_thread(&self.memory, &self.facts.layout, core),
        }
    }

    /// What dispatching an exit of `core` needs to know.
    pub fn dispatch_facts(&self, core: CoreId) -> ExitFacts<impl Fn(Running) -> Option<u32> + '_> {
        ExitFacts {
            core,
            running: self.running(core),
        }
    }

    /// Whether the guest may not write, or not even see, the page of `at`: the arena, or the
    /// driver's code.
    pub fn is_guarded(&self, installed: &Installed, at: GuestPhysical) -> bool {
        let leaf = installed.views().hooked.walk(&self.memory, at.0).entry;
        let is_read_only = || !leaf.permissions().contains(Permissions::WRITE);
        (installed.hides(at.page()) || !leaf.is_watched() && is_read_only()) && self.is_mapped(at)
    }

    /// Whether an address is in the driver's own image.
    pub fn is_driver_code(&self, address: u64) -> bool {
        self.facts.driver_image.contains(GuestVirtual(address))
    }
}
