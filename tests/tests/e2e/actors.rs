//! Two processes of the guest, each pinned to its core, that do on demand what the probe module and their own
//! instructions offer; and where the probe keeps what they touch and call.

use crate::lab::Lab;
use std::fmt::{Debug, Write};
use vm_lab::machine::KernelLine;

/// A machine and the processes of it that act.
pub(crate) struct Actors {
    pub(crate) lab: Lab,
    /// Of the process on each core.
    pub(crate) pids: [u32; 2],
    pub(crate) places: Places,
    /// What did not come as expected, one line each: many checks share a machine.
    wrong: String,
}

impl Actors {
    pub(crate) fn boot() -> Self {
        let mut lab = Lab::boot(KernelLine::Lean);
        lab.load_probe();
        let pids = [0, 1].map(|core| {
            lab.guest(&format!("mkfifo /worker{core} /answer{core}"));
            let pid = lab.guest(&format!("lab-worker {core} & echo $!"));
            pid.trim().parse().expect("a number")
        });
        let places = Places::find(&mut lab);
        Self {
            lab,
            pids,
            places,
            wrong: String::new(),
        }
    }

    /// Notes what was not found as expected.
    pub(crate) fn check<T: PartialEq + Debug + ?Sized>(
        &mut self,
        what: &str,
        found: &T,
        expected: &T,
    ) {
        if found != expected {
            let _ = writeln!(self.wrong, "{what}: {found:?} and not {expected:?}");
        }
    }

    /// All checks found what was expected.
    #[track_caller]
    pub(crate) fn assert_all_right(&self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong);
    }

    /// Lets the process on `core` act so many times; returns what came of it.
    #[track_caller]
    pub(crate) fn act(&mut self, core: usize, act: &str, times: u64) -> String {
        let said = self.lab.guest(&act_command(core, act, times));
        assert!(!said.contains("no such act"), "{said}");
        said
    }
}

/// What the guest's shell must run for it. Lines of `act` are several acts.
pub(crate) fn act_command(core: usize, act: &str, times: u64) -> String {
    let lines = format!("{act}\\n").repeat(times as usize);
    format!("printf '{lines}' > /worker{core}; cat /answer{core}")
}

/// Where the probe keeps what it touches and calls.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// Four pages, one behind the other in memory.
    pub(crate) area: u64,
    pub(crate) area_physical: u64,
    /// A function.
    pub(crate) target: u64,
    /// A function of two instructions of 10 bytes and 1, the last three of the first on the next page.
    pub(crate) crossing: u64,
}

impl Places {
    #[track_caller]
    pub(crate) fn find(lab: &mut Lab) -> Self {
        let mut numbers = |name: &str| -> Vec<u64> {
            let text = lab.guest(&format!("cat /sys/module/lab_probe/parameters/{name}"));
            let words = text.split_whitespace();
            words
                .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
                .collect()
        };
        let (touch, target) = (numbers("touch"), numbers("target"));
        Self {
            area: touch[0],
            area_physical: touch[1],
            target: target[0],
            crossing: target[1],
        }
    }
}
