//! `standstill key`: keys to debuggees on a network.

use anyhow::Context;
use clap::Subcommand;
use debugger_host::private;
use debugger_host::transport;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum KeyTask {
    /// Make a key: for `connect --key`, and for the debuggee as `key=`.
    New {
        /// Write it into this new file, which only its owner can read, and do not print it.
        file: Option<PathBuf>,
    },
}

impl KeyTask {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let Self::New { file } = self;
        let text = transport::new_key()?.reveal();
        match file {
            None => println!("{text}"),
            Some(path) => private::write_new(path, format!("{text}\n").as_bytes())
                .with_context(|| path.display().to_string())?,
        }
        Ok(())
    }
}
