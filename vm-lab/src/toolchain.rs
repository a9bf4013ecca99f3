//! What the lab needs of Rust's toolchains beyond what every one of them has: which of it is missing, and installing it.
//!
//! Called before anything that takes long, so that nothing fails after minutes for want of a download of seconds.

use crate::progress::phase;
use crate::{repository, run};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const LIST: &str = include_str!("../toolchain.list");

/// What a part of a toolchain is needed by; each tier needs what those before it need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Every command that builds the driver.
    Lab,
    /// The tests.
    Test,
    /// The thorough tests.
    Thorough,
}

/// A toolchain, as rustup names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// The one that `rust-toolchain.toml` names, or the one that the lab was told to use instead.
    Pinned,
    Nightly,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    channel: Channel,
    /// `target` or `component`, as rustup's commands are named.
    kind: &'static str,
    name: &'static str,
    /// In the toolchain's directory.
    file: &'static str,
    needed_by: Tier,
}

impl Part {
    /// The command that installs it.
    fn install(&self) -> Vec<&'static str> {
        let mut words = vec!["rustup", self.kind, "add"];
        if self.channel == Channel::Nightly {
            words.extend(["--toolchain", "nightly"]);
        }
        words.push(self.name);
        words
    }
}

fn parts() -> Result<Vec<Part>> {
    LIST.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| part(line).with_context(|| format!("toolchain.list: {line}")))
        .collect()
}

fn part(line: &'static str) -> Result<Part> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [channel, kind, name, file, needed_by] = words[..] else {
        bail!("five words are needed");
    };
    Ok(Part {
        channel: match channel {
            "pinned" => Channel::Pinned,
            "nightly" => Channel::Nightly,
            _ => bail!("no toolchain is called {channel}"),
        },
        kind: match kind {
            "target" | "component" => kind,
            _ => bail!("{kind} is neither target nor component"),
        },
        name,
        file,
        needed_by: match needed_by {
            "lab" => Tier::Lab,
            "test" => Tier::Test,
            "thorough" => Tier::Thorough,
            _ => bail!("nothing is called {needed_by}"),
        },
    })
}

/// Installs what `tier` needs of the pinned toolchain and is missing.
///
/// # Errors
/// With the command that would install it, where there is no rustup; with rustup's words, where it failed.
pub fn prepare(tier: Tier) -> Result<()> {
    prepare_channel(Channel::Pinned, tier)
}

/// As [`prepare`], of the nightly toolchain, which must be there.
///
/// # Errors
/// As for [`prepare`]; when there is no nightly toolchain, with the command that would install one.
pub fn prepare_nightly() -> Result<()> {
    prepare_channel(Channel::Nightly, Tier::Thorough)
}

fn prepare_channel(channel: Channel, tier: Tier) -> Result<()> {
    let place = place(channel)?;
    for part in parts()? {
        let needed = part.channel == channel && part.needed_by <= tier;
        if !needed || place.join(part.file).exists() {
            continue;
        }
        let install = part.install();
        if !run::has_program("rustup") {
            bail!(
                "Rust's {} {} is missing, and there is no rustup to install it; with rustup the command is: {}",
                part.kind,
                part.name,
                install.join(" ")
            );
        }
        phase(
            format!("installing Rust's {} {}", part.kind, part.name),
            |_| {
                let mut rustup = Command::new(install[0]);
                rustup.args(&install[1..]).current_dir(repository());
                run::output(&mut rustup).map(drop)
            },
        )?;
        if !place.join(part.file).exists() {
            bail!(
                "`{}` brought no {}: cargo does not use rustup's toolchain",
                install.join(" "),
                place.join(part.file).display()
            );
        }
    }
    Ok(())
}

/// The nightly toolchain's cargo in `directory`.
pub(crate) fn nightly_cargo(directory: &Path) -> Command {
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", "nightly", "cargo"])
        .current_dir(directory);
    cargo
}

/// Where the toolchain is.
fn place(channel: Channel) -> Result<PathBuf> {
    let mut rustc = match channel {
        Channel::Pinned => Command::new("rustc"),
        Channel::Nightly => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", "nightly", "rustc"]);
            rustup
        }
    };
    rustc.args(["--print", "sysroot"]).current_dir(repository());
    match (run::output(&mut rustc), channel) {
        (Ok(shown), _) => Ok(PathBuf::from(shown.trim())),
        (Err(error), Channel::Pinned) => Err(error.context("asking rustc for its directory")),
        // Whatever rustup says, or that there is none, means this.
        (Err(_), Channel::Nightly) => bail!(
            "there is no nightly toolchain; it is installed by: rustup toolchain install nightly --profile minimal"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_understood() {
        let parts = parts().unwrap();
        let driver = parts.iter().find(|part| part.name == "x86_64-unknown-none");
        assert_eq!(driver.unwrap().needed_by, Tier::Lab);
        let nightly = |part: &&Part| part.channel == Channel::Nightly;
        let first = parts.iter().find(nightly).unwrap();
        assert_eq!(first.needed_by, Tier::Thorough);
        assert_eq!(
            first.install().join(" "),
            "rustup component add --toolchain nightly miri"
        );
    }

    #[test]
    fn line_that_makes_no_sense_is_refused() {
        for line in [
            "pinned target x lib",
            "beta target x lib lab",
            "pinned thing x lib lab",
            "pinned target x lib never",
        ] {
            assert!(part(line).is_err(), "{line}");
        }
    }
}
