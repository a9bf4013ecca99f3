//! The last-branch records of one core: switched on for the user, kept for him, and given back to the
//! guest as they were.
//!
//! The guest may use them itself. Where it does, nothing is switched on; and where it took them over
//! meanwhile, nothing is put back: what it wrote last stays. Nothing here is done at an exit, but by
//! scripts that ask for it, and at the beginning and the end of a halt.
//!
//! Called in VMX-root, by the core it stands for; by the core that serves a halt, to order and to read.

use crate::port::Cpu;
use crate::vmx::branch::{GUEST_LBR_CTL, LBR_DEPTH, LBR_SELECT, Layout, RECORDING};
use crate::vmx::guest;
use wire_protocol::branch::{BRANCHES_MAX, Branch, BranchOrder};
use wire_protocol::script::BranchCall;

/// What the registers held that switch the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Switches {
    control: u64,
    select: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Branches {
    /// What the user wants, which takes effect when the core is let go.
    is_wanted: bool,
    is_flush_wanted: bool,
    filter: u16,
    /// While it is on: what the guest had, and what it was given.
    on: Option<(Switches, Switches)>,
    /// The guest records branches itself, as of this halt.
    is_guests: bool,
    /// What was kept, the newest first.
    kept: [Branch; BRANCHES_MAX],
    kept_count: u8,
    /// A script kept it, and no halt takes its place.
    is_scripts: bool,
}

const NOTHING: Branch = Branch {
    from: 0,
    to: 0,
    notes: wire_protocol::branch::Notes {
        kind: None,
        mispredicted: None,
        cycles: None,
    },
};

/// The field with the guest's value of the register that switches the recording.
const fn control_field(layout: Layout) -> u32 {
    match layout {
        Layout::Legacy { .. } => guest::IA32_DEBUGCTL_FULL,
        Layout::Architectural { .. } => GUEST_LBR_CTL,
    }
}

/// The other register that decides what is recorded, or how much.
const fn select_register(layout: Layout) -> u32 {
    match layout {
        Layout::Legacy { .. } => LBR_SELECT,
        Layout::Architectural { .. } => LBR_DEPTH,
    }
}

impl Branches {
    /// Nothing is recorded.
    pub const OFF: Self = Self {
        is_wanted: false,
        is_flush_wanted: false,
        filter: 0,
        on: None,
        is_guests: false,
        kept: [NOTHING; BRANCHES_MAX],
        kept_count: 0,
        is_scripts: false,
    };

    /// A halt begins: looks whether the guest records branches, and keeps what was recorded for the user.
    pub fn halted(&mut self, cpu: &impl Cpu, layout: Layout) {
        let control = cpu.vmread(control_field(layout));
        self.is_guests = match self.on {
            None => control & RECORDING != 0,
            Some(_) => !self.is_ours(cpu, layout),
        };
        if self.records(cpu, layout) && !self.is_scripts {
            self.keep(cpu, layout);
        }
    }

    /// The guest records branches itself, so that nothing can be switched on for the user.
    #[must_use]
    pub const fn is_guests(&self) -> bool {
        self.is_guests
    }

    /// What the user wants.
    pub fn order(&mut self, order: BranchOrder, filter: u16) {
        match order {
            BranchOrder::Enable => self.is_wanted = true,
            BranchOrder::Disable => self.is_wanted = false,
            BranchOrder::Flush => self.is_flush_wanted = true,
            BranchOrder::Filter => self.filter = filter,
        }
        if order != BranchOrder::Filter {
            self.kept_count = 0;
            self.is_scripts = false;
        }
    }

    /// Whether the user wants branches to be recorded, and what was kept for him, the newest first.
    pub fn kept(&self) -> (bool, impl Iterator<Item = Branch> + '_) {
        let kept = self.kept.iter().take(usize::from(self.kept_count));
        (self.is_wanted, kept.copied())
    }

    /// A halt ends: what was ordered takes effect.
    pub fn let_go(&mut self, cpu: &mut impl Cpu, layout: Layout) {
        match (self.is_wanted, self.on) {
            (true, None) if !self.is_guests => self.switch_on(cpu, layout, self.filter),
            (true, Some((before, given))) if !self.is_guests => {
                let (control, select) = layout.switched_on(before.control, self.filter);
                if (control, select.unwrap_or(given.select)) != (given.control, given.select) {
                    self.switch_on(cpu, layout, self.filter);
                }
            }
            (false, Some(_)) => self.switch_off(cpu, layout),
            _ => {}
        }
        if core::mem::take(&mut self.is_flush_wanted) && self.on.is_some() && !self.is_guests {
            flush(cpu, layout);
        }
    }

    /// Gives the guest back what it had, if it did not change it.
    pub fn switch_off(&mut self, cpu: &mut impl Cpu, layout: Layout) {
        let is_ours = self.is_ours(cpu, layout);
        if let Some((before, _)) = self.on.take()
            && is_ours
        {
            cpu.write_msr(select_register(layout), before.select);
            cpu.vmwrite(control_field(layout), before.control);
        }
    }

    /// With records of the time before gone, and as many as there can be.
    fn switch_on(&mut self, cpu: &mut impl Cpu, layout: Layout, filter: u16) {
        let now = Switches {
            control: cpu.vmread(control_field(layout)),
            select: cpu.read_msr(select_register(layout)),
        };
        let before = self.on.map_or(now, |(before, _)| before);
        let (control, select) = layout.switched_on(before.control, filter);
        let select = select.unwrap_or_else(|| u64::from(layout.depth()));
        cpu.write_msr(select_register(layout), select);
        flush(cpu, layout);
        cpu.vmwrite(control_field(layout), control);
        self.on = Some((before, Switches { control, select }));
    }

    /// Whether the switches are as they were set here. A debug exception may have ended the recording.
    fn is_ours(&self, cpu: &impl Cpu, layout: Layout) -> bool {
        self.on.is_some_and(|(_, given)| {
            let control = cpu.vmread(control_field(layout));
            control | RECORDING == given.control
                && cpu.read_msr(select_register(layout)) == given.select
        })
    }

    /// Whether branches are recorded for the user right now.
    fn records(&self, cpu: &impl Cpu, layout: Layout) -> bool {
        self.is_ours(cpu, layout) && cpu.vmread(control_field(layout)) & RECORDING != 0
    }

    fn keep(&mut self, cpu: &impl Cpu, layout: Layout) {
        let mut count = 0;
        for (number, slot) in self.kept.iter_mut().enumerate() {
            let Some(branch) = recorded(cpu, layout, number) else {
                break;
            };
            *slot = branch;
            count += 1;
        }
        self.kept_count = count;
    }

    /// What a script asks for at a hit, on its own core; whether it was done.
    pub fn call(&mut self, cpu: &mut impl Cpu, layout: Layout, call: BranchCall) -> bool {
        match call {
            BranchCall::Check => self.records(cpu, layout),
            BranchCall::Save => {
                let records = self.records(cpu, layout);
                if records {
                    self.keep(cpu, layout);
                    self.is_scripts = true;
                }
                records
            }
            BranchCall::Restore => self.restore(cpu, layout, self.filter),
            BranchCall::RestoreBy(filter) => {
                let filter = u16::try_from(filter).ok();
                filter.is_some_and(|filter| self.restore(cpu, layout, filter))
            }
        }
    }

    fn restore(&mut self, cpu: &mut impl Cpu, layout: Layout, filter: u16) -> bool {
        let can = self.is_ours(cpu, layout) && layout.can_filter(filter);
        if can {
            self.switch_on(cpu, layout, filter);
        }
        can
    }

    /// The branch of that number that the core recorded for the user, 0 being the newest.
    pub fn branch(&self, cpu: &impl Cpu, layout: Layout, number: usize) -> Option<Branch> {
        let records = self.records(cpu, layout);
        records.then(|| recorded(cpu, layout, number)).flatten()
    }
}

fn depth(cpu: &impl Cpu, layout: Layout) -> u8 {
    match layout {
        Layout::Legacy { depth, .. } => depth,
        Layout::Architectural { depth, .. } => {
            u8::try_from(cpu.read_msr(LBR_DEPTH)).map_or(depth, |now| now.min(depth))
        }
    }
}

fn recorded(cpu: &impl Cpu, layout: Layout, number: usize) -> Option<Branch> {
    let depth = depth(cpu, layout);
    let number = u8::try_from(number).ok().filter(|number| *number < depth)?;
    let place = match layout.newest() {
        // The depth is a power of two.
        Some(register) => (cpu.read_msr(register) as u8).wrapping_sub(number) & (depth - 1),
        None => number,
    };
    let (from, to, more) = layout.registers(place);
    let more = more.map_or(0, |register| cpu.read_msr(register));
    layout.decode(cpu.read_msr(from), cpu.read_msr(to), more)
}

fn flush(cpu: &mut impl Cpu, layout: Layout) {
    match layout {
        Layout::Architectural { .. } => {
            let depth = cpu.read_msr(LBR_DEPTH);
            cpu.write_msr(LBR_DEPTH, depth);
        }
        Layout::Legacy { depth, .. } => {
            for number in 0..depth {
                let (from, to, more) = layout.registers(number);
                for register in [from, to].into_iter().chain(more) {
                    cpu.write_msr(register, 0);
                }
            }
        }
    }
}
