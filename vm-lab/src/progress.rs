//! What a person sees while the lab works: one line per phase, with the time it took.
//!
//! Called by every slow step. On a terminal the running phase has a spinner; elsewhere each phase is one plain line, so
//! a log stays readable. Phases quicker than a fifth of a second are not mentioned.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Below this a phase had nothing to do.
const WORTH_A_LINE: Duration = Duration::from_millis(200);

/// One running phase; tells its time when dropped.
#[derive(Debug)]
pub struct Phase {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    failed: bool,
}

impl Phase {
    /// Starts the phase called `name`.
    #[must_use]
    pub fn start(name: impl Into<String>) -> Self {
        let name = name.into();
        // The terminal belongs to the lab's own command; machines booted side by side by tests would fight for it.
        let alone = std::thread::current().name() == Some("main");
        let bar = (alone && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner().with_message(name.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            name,
            started: Instant::now(),
            bar,
            failed: false,
        }
    }

    /// Turns the spinner into a bar of `total` steps.
    pub fn expect_steps(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
                bar.set_style(style);
            }
        }
    }

    /// Counts one step of the bar.
    pub fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let took = self.started.elapsed();
        if !self.failed && took >= WORTH_A_LINE {
            eprintln!("{:<44} {:6.1} s", self.name, took.as_secs_f32());
        }
    }
}

/// Runs `work` as the phase called `name`.
///
/// # Errors
/// What `work` reports.
pub fn phase<T>(
    name: impl Into<String>,
    work: impl FnOnce(&Phase) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut phase = Phase::start(name);
    let done = work(&phase);
    phase.failed = done.is_err();
    done
}
