//! How exits of the machine become exits of the core beside it: each with what follows from it, up to a halt of both or to
//! their end.

use super::between::{cause, is_goodbye};
use super::{Beside, Machine, PATIENCE, REST, failed};
use crate::core::cores::{Waits, with_nmi};
use crate::core::line::lock;
use debuggee_driver::fake::cpu::Place;
use std::io;
use std::time::Instant;

impl<M: Machine> Beside<M> {
    /// The core that polls looks at the line.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.cores.look();
        self.settle(false)
    }

    /// What the core says leaves it before anything else happens: else what goes together would depend on time.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        while !self.is_halted && !self.has_left {
            self.look()?;
            let queued = self.cores.shared.line.try_with(|line| line.queued_bytes());
            if queued == Some(0) && lock(&self.core_host).is_idle {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives the core an exit, at which the machine may stand still.
    pub(super) fn give(
        &mut self,
        core: usize,
        values: Vec<(Place, u64)>,
        is_held: bool,
    ) -> io::Result<()> {
        self.exits += 1;
        self.is_call = is_held && self.latest[core].calls();
        self.memory.guest_runs();
        for latest in &mut self.latest {
            latest.has_come = false;
        }
        self.cores.noted_exit(core, values, self.log.clone());
        self.settle(is_held)
    }

    /// Waits until the core is done or stands still, and lets the machine go on when it is as far.
    pub(super) fn settle(&mut self, mut is_held: bool) -> io::Result<()> {
        let since = Instant::now();
        loop {
            let waits = self.cores.wait(REST);
            let has_halted = lock(&self.core_host).halts > self.halts;
            let goes_on = waits != Waits::Busy || has_halted;
            if is_held && goes_on {
                is_held = false;
                self.machine.go_on()?;
            }
            match waits {
                Waits::Busy | Waits::ForCores(_) if since.elapsed() > PATIENCE && !has_halted => {
                    return Err(failed("the core comes to no end"));
                }
                Waits::ForCores(asked) => self.gather(&asked)?,
                _ if has_halted => return self.halted(),
                Waits::Idle => return Ok(()),
                Waits::Busy => {}
            }
        }
    }

    /// Cores are wanted where another one halts: one of them is given the exit with which it comes.
    fn gather(&mut self, asked: &[usize]) -> io::Result<()> {
        if self.is_call {
            // What the driver's part in the guest asks for changes nothing that a core shows: it need not be waited for.
            self.latest[asked[0]].may_repeat();
            return self.comes(asked[0]);
        }
        let since = Instant::now();
        let base = self.base;
        loop {
            if let Some(core) = asked.iter().find(|core| self.latest[**core].has_come) {
                return self.comes(*core);
            }
            let has_halted = self.driver_said.iter().any(|it| cause(it, base).is_some());
            match self.held {
                Some(held) if asked.contains(&held) => {
                    let values = self.latest[held].for_core();
                    let early = self.early.entry(held).or_default();
                    if early.last() == Some(&values) {
                        // It leaves its guest in the same way again: the driver's halt is over.
                        return self.comes_unseen(asked[0]);
                    }
                    early.push(values);
                    self.held = None;
                    self.machine.go_on()?;
                }
                // Nobody has asked it yet.
                Some(held) if !self.cores.is_busy(held) => return Ok(()),
                // Where the driver has halted, or goes on, the others have come without an NMI.
                Some(_) => return self.comes_unseen(asked[0]),
                None if has_halted || since.elapsed() > PATIENCE => {
                    return self.comes_unseen(asked[0]);
                }
                None => {}
            }
            self.hear_driver()?;
            self.held = self.hear_machine()?;
        }
    }

    /// A core comes by an NMI: in the driver it had dealt with its exits since the one of the core that halts. Here it does so
    /// after the halt.
    fn comes(&mut self, core: usize) -> io::Result<()> {
        let early = self.early.remove(&core).unwrap_or_default();
        self.late
            .extend(early.into_iter().map(|values| (core, values)));
        let mut values = self.latest[core].for_core();
        with_nmi(&mut values);
        self.cores.noted_exit(core, values, self.log.clone());
        Ok(())
    }

    /// A core that was in the hypervisor already when it was wanted, for the last exit that it has told.
    fn comes_unseen(&mut self, core: usize) -> io::Result<()> {
        let mut early = self.early.remove(&core).unwrap_or_default();
        let Some(values) = early.pop() else {
            return self.comes(core);
        };
        self.late
            .extend(early.into_iter().map(|values| (core, values)));
        self.cores.noted_exit(core, values, self.log.clone());
        while self.cores.is_at_work(core) {
            std::thread::sleep(REST);
        }
        Ok(())
    }

    /// The core stands still, and so does the driver before the host hears of it.
    fn halted(&mut self) -> io::Result<()> {
        self.halts += 1;
        self.is_halted = true;
        if self.is_to_halt {
            return Err(failed("the host asked for a halt, and another one came"));
        }
        let base = self.base;
        let is_halt = |said: &[u8]| cause(said, base).is_some();
        let stop = self.until("a halt", |it| Ok(it.take_said(is_halt)))?;
        let own = lock(&self.core_host).last(is_halt);
        let own = own.ok_or_else(|| failed("a halt that the core has not told"))?;
        self.compare(&own, &stop)
    }

    /// The first thing that the driver said and that is so.
    pub(super) fn take_said(&mut self, is_so: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let at = self.driver_said.iter().position(|said| is_so(said))?;
        self.driver_said.remove(at)
    }

    /// All cores leave the hypervisor.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.memory.guest_runs();
        for (core, values) in std::mem::take(&mut self.leaving) {
            self.exits += 1;
            self.cores.noted_exit(core, values, self.log.clone());
        }
        self.has_left = true;
        let said = self.until("the driver's end", |it| Ok(it.take_said(is_goodbye)))?;
        let own = self.until("the core's end", |it| {
            Ok(lock(&it.core_host).last(is_goodbye))
        })?;
        self.compare(&own, &said)
    }
}
