//! Machines that are saved as they are, and go on from there as often as one likes: what a hypervisor's snapshots do.

use super::Machine;
use crate::bochs::{Bochs, INSTRUCTIONS_PER_SECOND, SAVED};
use crate::console::Console;
use crate::line::Line;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The emulator's file of the real-time clock: its registers stand there in hexadecimal, sixteen in a row.
const CLOCK: &str = "cmos";
const YEAR: usize = 9;

/// A machine that was saved. It goes with the machine's directory.
#[derive(Debug)]
pub struct Saved {
    place: PathBuf,
    restored: u32,
}

/// What a saved machine had done since it was switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Time that had passed for it, in seconds.
    pub seconds: f64,
    /// Instructions that each core had executed.
    pub instructions: Vec<u64>,
}

impl Saved {
    /// How far the machine had come: the emulator counts.
    ///
    /// # Errors
    /// When the emulator writes it otherwise.
    pub fn done(&self) -> Result<Done> {
        let place = self.place.join(SAVED);
        let value = |file: &str, name: &str| -> Result<u64> {
            let text = fs::read_to_string(place.join(file))?;
            let mut lines = text.lines().filter_map(|line| line.split_once(" = "));
            let found = lines.find(|(key, _)| key.trim() == name);
            let (_, digits) = found.with_context(|| format!("{name} of {file}"))?;
            Ok(digits.trim().parse()?)
        };
        let cores = (0..).map(|core| format!("cpu{core}"));
        let cores = cores.take_while(|core| place.join(core).exists());
        Ok(Done {
            seconds: value("pc_system", "ticksTotal")? as f64 / f64::from(INSTRUCTIONS_PER_SECOND),
            instructions: cores
                .map(|core| value(&core, "icount"))
                .collect::<Result<_>>()?,
        })
    }

    /// The machine's real-time clock goes on by a year, as one does that is its hypervisor's.
    ///
    /// # Errors
    /// When the emulator writes it otherwise.
    pub fn pass_a_year(&self) -> Result<()> {
        let file = self.place.join(SAVED).join(CLOCK);
        let text = fs::read_to_string(&file)?;
        let (head, registers) = text
            .split_once("ram = [")
            .context("the clock's registers")?;
        let mut registers: Vec<&str> = registers.split(',').collect();
        let year = registers.get_mut(YEAR).context("the clock's year")?;
        let (digits, _) = year.trim().split_at(2);
        anyhow::ensure!(digits == "0x", "the clock's year is {year}");
        let value: u32 = year.trim().trim_start_matches("0x").parse()?;
        let next = format!(" 0x{:02}", (value + 1) % 100);
        *year = &next;
        fs::write(&file, format!("{head}ram = [{}", registers.join(",")))?;
        Ok(())
    }
}

impl Machine {
    /// Saves the machine as it is, wherever its cores are, and ends it.
    ///
    /// # Errors
    /// When the emulator does not do so within a minute.
    pub fn save(&self, name: &str) -> Result<Saved> {
        let place = self.dir.path().join(name);
        self.bochs.save_into(&place)?;
        Ok(Saved { place, restored: 0 })
    }

    /// Goes on where that machine stood; this one ends. Who has the debug line is hung up on.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restore(&mut self, saved: &mut Saved) -> Result<()> {
        self.bochs.end();
        self.line.hang_up();
        fs::remove_file(&self.socket).context("the socket of the debug line")?;
        saved.restored += 1;
        let place = saved.place.join(saved.restored.to_string());
        fs::create_dir(&place)?;
        let (bochs, console, line) = Bochs::restore(&self.settings, &place, &saved.place)?;
        self.bochs = bochs;
        self.console = Console::new(console)?;
        self.line = Line::start(line, &self.socket, None)?;
        Ok(())
    }
}
