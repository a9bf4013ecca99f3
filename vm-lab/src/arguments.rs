//! The words that say which machine to boot: those of `cargo lab`, and of the `cargo lab` lines in documents.
//!
//! Used by the `lab` program and by [`crate::document`].

use crate::machine::{DEFAULT_CPU, KernelLine, Options};
use clap::Args;

/// Which machine to boot.
#[derive(Args, Clone, Debug)]
pub struct MachineArguments {
    /// Processor cores
    #[arg(long, default_value_t = 2)]
    pub cpus: u32,
    /// Processor model, as the emulator names it; `core2_penryn_t9600` has no EPT, `zambezi` no VT-x
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_CPU)]
    pub cpu: String,
    /// Parameter of the driver's module
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub params: Vec<(String, String)>,
    /// Boot as the distribution does: random addresses, split page tables, mitigations
    #[arg(long)]
    pub stock: bool,
    /// Memory of the machine; of 4096 the guest sees 3072, since devices are in the place of the rest
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub memory: u32,
    /// A machine with a network card, which the driver reaches the host by; `--param com=2` lets the serial line stand by
    #[arg(long)]
    pub net: bool,
    /// Leave the driver out
    #[arg(long)]
    pub no_driver: bool,
    /// The guest's own start loads the driver, and does so again after a reset (`cargo lab guest reboot -f`)
    #[arg(long, conflicts_with = "no_driver")]
    pub start_driver: bool,
}

impl MachineArguments {
    /// As the machine takes them.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            cpus: self.cpus,
            cpu: self.cpu.clone(),
            kernel_line: if self.stock {
                KernelLine::Stock
            } else {
                KernelLine::Lean
            },
            memory_mib: self.memory,
            params: self.params.clone(),
            network: self.net,
            load_driver: !self.no_driver && !self.start_driver,
            starts_driver: self.start_driver,
            kernel_words: Vec::new(),
            exits: None,
            faults: None,
            files: Vec::new(),
        }
    }

    /// The same options as words, for the process that holds the machine.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--cpus={}", self.cpus),
            format!("--cpu={}", self.cpu),
            format!("--memory={}", self.memory),
        ];
        words.extend(
            self.params
                .iter()
                .map(|(name, value)| format!("--param={name}={value}")),
        );
        words.extend(self.net.then(|| "--net".to_owned()));
        words.extend(self.stock.then(|| "--stock".to_owned()));
        words.extend(self.no_driver.then(|| "--no-driver".to_owned()));
        words.extend(self.start_driver.then(|| "--start-driver".to_owned()));
        words
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
