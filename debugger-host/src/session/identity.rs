//! What the debuggee said about itself in the handshake, and about its halts, owned.

use wire_protocol::address::{CoreId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::digest::DigestKey;
use wire_protocol::packet::{
    Constants, Features, GuestSystem, Hello, LinuxLayout, Stop, StopCause, StopTask,
};

/// The debuggee, as it introduced itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What both ends can do.
    pub features: Features,
    /// Changes when the driver is loaded anew.
    pub session: u64,
    /// Of the digests that stand for memory.
    pub key: Option<DigestKey>,
    /// Cores under the hypervisor.
    pub cores: u16,
    /// Where `_text` is.
    pub kernel_base: GuestVirtual,
    /// Where all physical memory is mapped; 0 if nowhere.
    pub direct_map_base: GuestVirtual,
    /// The driver's own image.
    pub driver_image: Extent<GuestVirtual>,
    /// Ticks of the time-stamp counter in a millisecond.
    pub tsc_khz: u32,
    /// Where things stand in its kernel.
    pub system: System,
    /// Design constants in force.
    pub constants: Constants,
    /// The kernel's version line.
    pub banner: String,
    /// RAM, ascending.
    pub ram: Vec<Extent<GuestPhysical>>,
}

/// The debuggee's operating system, of those that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux.
    Linux(LinuxLayout),
}

impl Identity {
    /// What the debuggee said, if its operating system is known here.
    ///
    /// # Errors
    /// The system's number, if it is not.
    pub(super) fn new(hello: &Hello<'_>) -> Result<Self, u8> {
        let system = match hello.system {
            GuestSystem::Linux(layout) => System::Linux(layout),
            GuestSystem::Unknown { tag, .. } => return Err(tag),
        };
        Ok(Self {
            features: hello.features,
            session: hello.session,
            key: hello.key,
            cores: hello.cores,
            kernel_base: hello.kernel_base,
            direct_map_base: hello.direct_map_base,
            driver_image: hello.driver_image,
            tsc_khz: hello.tsc_khz,
            system,
            constants: hello.constants,
            banner: hello.banner.trim_end().to_owned(),
            ram: hello.ram.iter().collect(),
        })
    }
}

/// A halt, without the hit counts, which go to the mirror of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Counts halts since the driver was loaded.
    pub number: u32,
    /// Why.
    pub cause: StopCause,
    /// On which core.
    pub core: CoreId,
    /// Where that core stands.
    pub rip: GuestVirtual,
    /// Instruction bytes there.
    pub code: Vec<u8>,
    /// Bit N set: core N may still run.
    pub missing_cores: u64,
    /// What that core runs, if that is told.
    pub task: Option<StopTask>,
}

impl From<&Stop<'_>> for Halt {
    fn from(stop: &Stop<'_>) -> Self {
        Self {
            number: stop.halt,
            cause: stop.cause,
            core: stop.core,
            rip: stop.rip,
            code: stop.code.to_vec(),
            missing_cores: stop.missing_cores,
            task: stop.task,
        }
    }
}

impl Identity {
    /// Before the handshake.
    pub(super) fn unknown() -> Self {
        Self {
            features: Features::empty(),
            session: 0,
            key: None,
            cores: 0,
            kernel_base: GuestVirtual(0),
            direct_map_base: GuestVirtual(0),
            driver_image: Extent::default(),
            tsc_khz: 0,
            system: System::Linux(LinuxLayout::default()),
            constants: Constants::default(),
            banner: String::new(),
            ram: Vec::new(),
        }
    }
}
