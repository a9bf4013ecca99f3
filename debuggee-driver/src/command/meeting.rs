//! What a core does with its processor to meet others in a halt. Used by `halt` and `command`, in VMX-root.

use crate::cores::rendezvous::Processor;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use wire_protocol::address::CoreId;

/// The core that runs the code.
pub struct OnCore<'a, P: Ports> {
    cpu: &'a mut P::Cpu,
    shared: &'a Shared<P>,
}

impl<'a, P: Ports> OnCore<'a, P> {
    /// See the type.
    pub const fn new(cpu: &'a mut P::Cpu, shared: &'a Shared<P>) -> Self {
        Self { cpu, shared }
    }

    /// Loads what is published.
    pub fn load_published(&mut self, core: CoreId) {
        self.shared.load_published(core, self.cpu);
    }
}

impl<P: Ports> Processor for OnCore<'_, P> {
    fn tsc(&self) -> u64 {
        self.cpu.tsc()
    }

    fn send_nmi(&self, core: CoreId) {
        self.cpu.send_nmi(self.shared.apic_id(core));
    }

    fn wake(&self, core: CoreId) {
        self.cpu.wake(self.shared.apic_id(core));
    }

    fn sleep_unless(&self, is_called: impl FnOnce() -> bool) {
        self.cpu.sleep_unless(is_called);
    }
}
