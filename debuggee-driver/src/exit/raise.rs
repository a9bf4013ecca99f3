//! Exceptions that the hypervisor raises for an instruction.
//!
//! Called by [`super::handle`] and at a detour, in VMX-root.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::Core;
use crate::exit::emulate::advance::advance;
use crate::exit::inject::inject;
use crate::exit::single::passthrough;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::vmx::interruption::Event;
use crate::vmx::{guest, rflags};

/// An instruction raises an exception because the hypervisor says so: whoever watches it is
/// served as if the processor had raised it.
pub(super) fn raise<P: Ports>(core: &mut Core<'_, P>, event: Event) {
    let trigger = TriggerInstance::new(TriggerKind::Exception, u64::from(event.vector));
    match watchers::serve_before(core, &trigger, Nature::FaultLike) {
        Verdict::Complete => {
            passthrough::deliver(core, trigger);
            // What a fault pushes has it set ("Instruction-Breakpoint Exception Condition", 18.3.1.1); after the exit
            // of an instruction it is not.
            let rflags = core.cpu.vmread(guest::RFLAGS);
            core.cpu.vmwrite(guest::RFLAGS, rflags | rflags::RF);
            inject(&mut core.cpu, event);
        }
        Verdict::Skip => advance(core),
        Verdict::Retry => {}
    }
}
