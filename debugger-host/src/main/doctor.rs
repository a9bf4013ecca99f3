//! `standstill doctor`: the host's end of a line, looked at.

use super::Place;
use anyhow::bail;
use clap::Args;
use debugger_host::doctor::{self, Verdict};

#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    place: Place,
}

impl Doctor {
    /// A line for each thing; an error if there is something to change.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let findings = match self.place.endpoint()? {
            Some(endpoint) => doctor::examine(&endpoint),
            None => doctor::examine_none(),
        };
        for finding in &findings {
            println!("{finding}");
        }
        let is_change = |it: &&doctor::Finding| it.verdict == Verdict::Change;
        match findings.iter().filter(is_change).count() {
            0 => Ok(()),
            count => bail!("{count} to change"),
        }
    }
}
