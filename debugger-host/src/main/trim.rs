//! `standstill trim`: cuts a recording from which a debuggee differs. Each try is played to a debuggee on a line, or by
//! another program to one of its own.

use super::{Place, UNATTENDED_LIMIT, count_interrupts, recording};
use anyhow::{Context, bail};
use clap::Args;
use debugger_host::answer::News;
use debugger_host::recording::Recording;
use debugger_host::recording::trim::{self, Found};
use debugger_host::render::text;
use debugger_host::session::{Essence, PlayError, Session};
use debugger_host::timeout::{Timeout, Wait};
use debugger_host::transport::Endpoint;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub(super) struct Trim {
    /// A file that `connect --record` wrote.
    file: PathBuf,
    /// The new file.
    new: PathBuf,
    /// The program that plays each try to a debuggee of its own: it is run as `PROGRAM play FILE`.
    #[arg(
        long,
        value_name = "PROGRAM",
        conflicts_with = "Line",
        required_unless_present = "Line"
    )]
    core: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Run by the shell before each try on a line: makes the debuggee what it was when recording began, as by loading its
    /// driver anew. Without it there is one try, and only what comes behind the difference is cut.
    #[arg(long, value_name = "COMMAND", requires = "Line")]
    reset: Option<String>,
}

impl Trim {
    /// By tries on the line, of which each begins with the same debuggee.
    fn on_line(&self, whole: &Recording, endpoint: &Endpoint) -> anyhow::Result<Trimmed> {
        let interrupts = count_interrupts()?;
        let explain = |wait: &Wait| eprintln!("{}", text::news(&News::from(wait)));
        let mut session = Session::new(Timeout::new(interrupts, Some(UNATTENDED_LIMIT), explain));
        let (mut told, mut tries) = (None, 0);
        let mut play = |recording: &Recording| {
            if let Some(reset) = &self.reset {
                if tries > 0 {
                    let_go(&mut session, endpoint);
                }
                session.close();
                run_in_shell(reset)?;
            }
            tries += 1;
            let packets = recording.packets.len();
            match session.play_host(recording, endpoint.clone(), &mut |_| {}) {
                Ok(_) => {
                    eprintln!("{packets} packets: it answers as it was recorded");
                    Ok(None)
                }
                Err(PlayError::Diverged(divergence)) => {
                    eprintln!("{packets} packets: {divergence}");
                    let found = Found {
                        packet: divergence.packet,
                        how: Essence::from(&divergence.how),
                    };
                    told.get_or_insert(divergence.to_string());
                    Ok(Some(found))
                }
                Err(error) => Err(anyhow::Error::from(error)),
            }
        };
        let trimmed = match self.reset {
            Some(_) => trim::trim(whole, play)?.map(|(trimmed, _)| trimmed),
            None => play(whole)?.map(|found| trim::ended(whole, &found)),
        };
        Ok(trimmed.zip(told))
    }

    fn by_program(&self, whole: &Recording, program: &Path) -> anyhow::Result<Trimmed> {
        let mut name = self.new.clone().into_os_string();
        name.push(".try");
        let file = PathBuf::from(name);
        let trimmed = trim::trim(whole, |recording| trim::play_by(program, recording, &file));
        let _ = std::fs::remove_file(&file);
        let trimmed = trimmed?;
        Ok(trimmed.map(|(trimmed, Found { packet, how })| {
            (trimmed, format!("it differs from packet {packet}{how}"))
        }))
    }

    pub(super) fn run(&self) -> anyhow::Result<()> {
        let whole = recording(&self.file)?;
        let trimmed = match (&self.core, self.place.endpoint()?) {
            (Some(program), _) => self.by_program(&whole, program)?,
            (None, Some(endpoint)) => self.on_line(&whole, &endpoint)?,
            (None, None) => {
                bail!("a line, or --core, must say where the recording is to be played")
            }
        };
        let Some((trimmed, difference)) = trimmed else {
            bail!("{}: nothing differs from it", self.file.display());
        };
        trimmed
            .save(&self.new)
            .with_context(|| format!("cannot write {}", self.new.display()))?;
        println!(
            "{} packets cut to {}: {difference}",
            whole.packets.len(),
            trimmed.packets.len()
        );
        Ok(())
    }
}

/// What is left, and which difference it shows, if there is one.
type Trimmed = Option<(Recording, String)>;

/// A try that ended in a halt has left the debuggee in it, where it can do nothing for the next one.
fn let_go(session: &mut Session, endpoint: &Endpoint) {
    session.close();
    let greeted = session
        .open(endpoint.clone())
        .and_then(|()| session.shake_hands());
    if greeted.is_ok() && session.halt().is_some() {
        // One that cannot go on is for the command to bring back.
        let _ = session.go();
    }
}

fn run_in_shell(command: &str) -> anyhow::Result<()> {
    let (shell, option) = match cfg!(windows) {
        true => ("cmd", "/C"),
        false => ("sh", "-c"),
    };
    let status = Command::new(shell).args([option, command]).status();
    let status = status.with_context(|| format!("cannot run `{command}`"))?;
    if !status.success() {
        bail!("`{command}` failed: {status}");
    }
    Ok(())
}
