//! The machine's network card, behind a router of the emulator's that translates addresses: what the machine sends to 10.0.2.2
//! comes out at this one's own address, and nobody else reaches it.
//!
//! Called by `machine`.

use crate::run;
use anyhow::{Context, Result};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The emulator's name for its plug-in.
pub(crate) const DEVICE: &str = "e1000=1";
/// Lines of the emulator's configuration that a machine with a card has besides.
pub(crate) const CONFIGURATION: &str = "pci: enabled=1, chipset=i440fx, slot1=e1000\n\
     e1000: card=0, enabled=1, mac=52:54:00:12:34:56, ethmod=slirp\n";

/// This machine's address, as the debuggee has to name it.
const HOST: &str = "10.0.2.2";

/// Where the host program listens, and its key.
#[derive(Clone, Debug)]
pub struct Network {
    /// The port here that the driver calls.
    pub calls_port: u16,
    /// The port at which the host program listens; the same unless something stands between.
    pub listens_port: u16,
    /// A file with the key, as `standstill key new` wrote it.
    pub key_file: PathBuf,
    key: String,
}

impl Network {
    /// At a port that is free, with a new key in the folder `place`.
    ///
    /// # Errors
    /// When there is none, or the host program makes no key.
    pub(crate) fn new(program: &Path, place: &Path) -> Result<Self> {
        let key_file = place.join("key");
        let mut command = Command::new(program);
        command.args(["key", "new"]).arg(&key_file);
        run::output(&mut command).context("making a key")?;
        let key = fs::read_to_string(&key_file)?.trim().to_owned();
        let port = free_port()?;
        Ok(Self {
            calls_port: port,
            listens_port: port,
            key_file,
            key,
        })
    }

    /// What the driver is told.
    pub(crate) fn parameters(&self) -> String {
        format!("net={HOST}:{} key={}", self.calls_port, self.key)
    }

    /// What the host program is told.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let listens = format!("127.0.0.1:{}", self.listens_port);
        let key = self.key_file.display().to_string();
        ["--net", &listens, "--key-file", &key]
            .map(str::to_owned)
            .to_vec()
    }
}

/// A UDP port of this machine that nobody has.
///
/// # Errors
/// When the system gives none.
pub fn free_port() -> Result<u16> {
    let probe = UdpSocket::bind("127.0.0.1:0")?;
    Ok(probe.local_addr()?.port())
}
