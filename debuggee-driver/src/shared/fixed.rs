//! What `boot` made and chose for all cores. Nothing changes it while the driver is loaded.

use crate::ept::mode::ModeViews;
use crate::event::Bitmaps;
use crate::vmx::branch::Layout;
use wire_protocol::address::{Extent, GuestVirtual};
use wire_protocol::refusal::BranchObstacle;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// Operations after which a script is ended.
    pub script_operations: u64,
    /// Instructions after which machine code is ended.
    pub code_instructions: u64,
    /// A break-in counts also while no host is in a session.
    pub halts_without_session: bool,
    /// There is a network, whether or not it is the way to the host.
    pub has_network: bool,
    /// EPT pointer of the view with hooks.
    pub eptp_hooked: u64,
    /// EPT pointer of the view without.
    pub eptp_clean: u64,
    /// What detours run in, if there can be any.
    pub trampoline: Option<TrampolineView>,
    /// The page that swallows writes to the debugger's memory.
    pub sink_page: u64,
    /// Pages that say which MSRs and ports leave the guest.
    pub bitmaps: Bitmaps,
    /// Bits that the guest may set in CR4.
    pub cr4_allowed: u64,
    /// The processor lets interrupts be taken from the guest and given back.
    pub can_take_interrupts: bool,
    /// Where last-branch records are, if there are any.
    pub branches: Result<Layout, BranchObstacle>,
    /// The views in which only one mode can execute anything, if there can be any.
    pub mode_views: Option<ModeViews>,
    /// See `ControlValues::preemption_timer_shift`.
    pub preemption_timer_shift: u8,
}

/// What detours run in.
#[derive(Clone, Copy, Debug)]
pub struct TrampolineView {
    /// EPT pointer of the view.
    pub eptp: u64,
    /// Physical addresses of the lists of views for the guest to change to: one for every core, and one for
    /// those whose changes of mode are watched.
    pub lists: [u64; 2],
    /// Physical address of a byte per core: not 0 if VMX-root wants to see the core as soon as it is
    /// out of its detour.
    pub deferred: u64,
    /// The code that leads a core in and out, or stands in for the guest's.
    pub stub: [Extent<GuestVirtual>; 2],
}

impl TrampolineView {
    /// Whether a core at `rip` is in the stub.
    #[must_use]
    pub fn is_in_stub(&self, rip: u64) -> bool {
        self.stub
            .iter()
            .any(|part| part.contains(GuestVirtual(rip)))
    }
}
