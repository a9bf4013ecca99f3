//! IN, OUT, INS and OUTS that are watched.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::port::{Cpu, Ports};
use crate::vmx::ro;
use x86::vmx::vmcs::control::PrimaryControls;

/// Exit qualification ("Exit Qualification for I/O Instructions", table 28-5).
const SIZE: u64 = 7;
const IN: u64 = 1 << 3;
const PORT_SHIFT: u32 = 16;

/// An access to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    kind: TriggerKind,
    port: u16,
    size_bytes: u16,
}

const fn decode(qualification: u64) -> Access {
    Access {
        kind: if qualification & IN != 0 {
            TriggerKind::IoIn
        } else {
            TriggerKind::IoOut
        },
        port: (qualification >> PORT_SHIFT) as u16,
        size_bytes: (qualification & SIZE) as u16 + 1,
    }
}

/// Serves the events of the port, and lets the guest carry the instruction out.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let access = decode(core.cpu.vmread(ro::EXIT_QUALIFICATION));
    // A wide access reaches the ports behind the one it names.
    let port = (access.port..=u16::MAX)
        .take(usize::from(access.size_bytes))
        .find(|port| {
            core.seat
                .read(|installed| installed.has_value(access.kind, u64::from(*port)))
        })
        .unwrap_or(access.port);
    let trigger = TriggerInstance::new(access.kind, u64::from(port));
    let bitmaps = PrimaryControls::USE_IO_BITMAPS.bits();
    passthrough::watched(core, trigger, Intercept::Primary(bitmaps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_size_and_port_are_told() {
        let access = |kind, port, size_bytes| Access {
            kind,
            port,
            size_bytes,
        };
        assert_eq!(decode(0x0060_0008), access(TriggerKind::IoIn, 0x60, 1));
        assert_eq!(decode(0x0cf8_0003), access(TriggerKind::IoOut, 0xcf8, 4));
        assert_eq!(decode(0x01f0_0039), access(TriggerKind::IoIn, 0x1f0, 2));
    }
}
