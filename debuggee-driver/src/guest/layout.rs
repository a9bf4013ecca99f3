//! Where things stand in the guest kernel, as the platform found out at load: what every system has
//! ([`KernelSpace`]), and what belongs to one of them ([`SystemLayout`]). Looked at by all cores, in
//! VMX-root; nothing changes it.

use super::kernel::KernelSpace;
use super::linux::LinuxLayout;
use wire_protocol::packet::GuestSystem;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct GuestLayout {
    /// How the kernel's memory is reached.
    pub kernel: KernelSpace,
    /// What only one system has.
    pub system: SystemLayout,
}

/// The guest's operating system. Another one is another value here, a file beside `linux.rs`, a
/// platform package, and a tag in the handshake.
#[derive(Clone, Copy, Debug)]
pub enum SystemLayout {
    /// Linux.
    Linux(LinuxLayout),
}

impl GuestLayout {
    /// Selector of the segment whose limit tells a core its number; 0 if there is none.
    #[must_use]
    pub const fn core_selector(&self) -> u16 {
        match &self.system {
            SystemLayout::Linux(linux) => linux.core_selector,
        }
    }

    /// What the host has to know of the system.
    #[must_use]
    pub const fn for_host(&self) -> GuestSystem<'static> {
        match &self.system {
            SystemLayout::Linux(linux) => GuestSystem::Linux(linux.for_host),
        }
    }
}
