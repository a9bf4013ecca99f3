//! Which machine to boot.

use crate::bochs::INSTRUCTIONS_PER_SECOND;
use crate::faults::Faults;
use crate::image::GuestFile;
use std::path::PathBuf;

/// Which kernel parameters the debuggee boots with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelLine {
    /// Fixed addresses and no mitigations: the quickest.
    #[default]
    Lean,
    /// As the distribution boots it: random addresses, split page tables, all mitigations.
    Stock,
}

impl KernelLine {
    /// The kernel's command line.
    #[must_use]
    pub fn text(self) -> String {
        // The emulated processor announces a 3.5 GHz counter and ticks at the emulator's rate; the kernel must be told,
        // or it lives 350 times too slow. The rest is what makes booting slow and concerns nothing that is tested:
        // the self tests of cryptography, decoding certificates, a congestion control, and tables of tracing and of
        // slabs in sysfs. A reset is asked of the chip set, which resets all of this machine; the keyboard's controller
        // resets the processors alone, and the firmware does not get over that.
        let common = format!(
            "console=ttyS0,115200 quiet tsc=reliable clocksource=tsc tsc_early_khz={} no_timer_check \
             reboot=pci cryptomgr.notests initcall_blacklist=load_system_certificate_list,cubictcp_register,\
             init_kprobe_trace,slab_sysfs_init",
            INSTRUCTIONS_PER_SECOND / 1000
        );
        match self {
            Self::Lean => format!("{common} nokaslr mitigations=off nopti lpj=1000000"),
            // The emulated model is not affected by every flaw; `pti=on` asks for what an affected one would have.
            Self::Stock => format!("{common} pti=on"),
        }
    }
}

/// The processor model that has all the debugger needs, mode-based execute control included.
pub const DEFAULT_CPU: &str = "corei7_skylake_x";

/// What to boot.
#[derive(Clone, Debug)]
pub struct Options {
    /// Processor cores.
    pub cpus: u32,
    /// Processor model, as the emulator names it.
    pub cpu: String,
    /// Kernel parameters.
    pub kernel_line: KernelLine,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Parameters of the driver's module.
    pub params: Vec<(String, String)>,
    /// A network card, which the driver is to use instead of the line.
    pub network: bool,
    /// Whether to load the driver after booting.
    pub load_driver: bool,
    /// The guest's own start loads the driver instead, and does so again after each reset. Such a machine is booted for
    /// good each time, which takes five seconds.
    pub starts_driver: bool,
    /// More words of the kernel's line.
    pub kernel_words: Vec<String>,
    /// Damage to the debug line.
    pub faults: Option<Faults>,
    /// What the disc has besides the lab's own programs.
    pub files: Vec<GuestFile>,
    /// The socket of who is told of VM exits, if anybody: see [`crate::exits`].
    pub exits: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpus: 2,
            cpu: DEFAULT_CPU.to_owned(),
            kernel_line: KernelLine::Lean,
            memory_mib: 256,
            params: Vec::new(),
            network: false,
            load_driver: true,
            starts_driver: false,
            kernel_words: Vec::new(),
            faults: None,
            files: Vec::new(),
            exits: None,
        }
    }
}

impl Options {
    /// Whether the machine stands still in the middle of its start until a host lets it go.
    pub(super) fn halts_at_load(&self) -> bool {
        let halts = |(name, value): &(String, String)| name == "halt" && value != "0";
        self.starts_driver && self.params.iter().any(halts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_on_the_kernel_line_is_the_emulators() {
        for line in [KernelLine::Lean, KernelLine::Stock] {
            assert!(line.text().contains("tsc_early_khz=10000 "));
        }
    }

    #[test]
    fn stock_line_switches_no_protection_off() {
        let text = KernelLine::Stock.text();
        for word in ["nokaslr", "mitigations", "nopti", "nosmep", "nosmap"] {
            assert!(!text.contains(word));
        }
    }
}
