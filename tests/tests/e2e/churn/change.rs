//! Random changes, as commands.

/// The same numbers for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Which stages an event has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stages {
    Pre,
    All,
}

/// What can be watched.
const WATCHED: &[(&str, Stages)] = &[
    ("!cpuid", Stages::All),
    ("!cpuid 0", Stages::All),
    ("!cpuid 77", Stages::All),
    ("!epthook vmlinux!__x64_sys_getsid", Stages::Pre),
    ("!epthook vmlinux!__x64_sys_umask", Stages::Pre),
    ("!epthook vmlinux!__x64_sys_sched_yield", Stages::Pre),
    ("!epthook vmlinux!do_sys_openat2", Stages::Pre),
    ("!epthook vmlinux!schedule", Stages::Pre),
    ("!epthook vmlinux!vfs_read", Stages::Pre),
    ("!epthook vmlinux!handle_mm_fault", Stages::Pre),
    ("!epthook vmlinux!ktime_get", Stages::Pre),
    ("!epthook vmlinux!hrtimer_interrupt", Stages::Pre),
    ("!epthook vmlinux!asm_exc_page_fault", Stages::Pre),
    ("!epthook vmlinux!entry_SYSCALL_64", Stages::Pre),
    ("!epthook vmlinux!clear_page_erms", Stages::Pre),
    // One for an instruction, and on no page that another of these watches.
    ("!epthook2 vmlinux!pick_next_task_fair", Stages::Pre),
    ("!epthook2 vmlinux!__fget_light", Stages::Pre),
    ("!epthook2 vmlinux!kmem_cache_alloc", Stages::Pre),
    ("!epthook2 vmlinux!path_openat", Stages::Pre),
    ("!epthook2 vmlinux!try_to_wake_up", Stages::Pre),
    ("!epthook2 vmlinux!tick_sched_timer", Stages::Pre),
    ("!epthook2 vmlinux!wp_page_copy", Stages::Pre),
    ("!monitor rw vmlinux!jiffies_64 l 8", Stages::All),
    ("!monitor w vmlinux!init_task l 40", Stages::All),
    ("!monitor rw vmlinux!tk_core l 100", Stages::All),
    ("!monitor r vmlinux!sys_call_table l 1000", Stages::All),
    ("!monitor x vmlinux!schedule l 10", Stages::All),
    ("!monitor rwx vmlinux!vfs_write l 4", Stages::All),
    ("!monitor w vmlinux!init_mm l 2000", Stages::All),
    ("!syscall", Stages::All),
    ("!syscall 5f", Stages::All),
    ("!syscall2 7c", Stages::All),
    ("!syscall entry", Stages::Pre),
    ("!syscall entry 5f", Stages::Pre),
    ("!sysret", Stages::All),
    ("!sysret2", Stages::All),
    ("!tsc", Stages::All),
    ("!pmc", Stages::All),
    ("!vmcall", Stages::Pre),
    ("!msrread", Stages::All),
    ("!msrread c0000102", Stages::All),
    ("!msrwrite", Stages::All),
    ("!msrwrite c0000102", Stages::All),
    ("!exception", Stages::Pre),
    ("!exception e", Stages::Pre),
    ("!exception 6", Stages::Pre),
    ("!interrupt ec", Stages::Pre),
    ("!interrupt fd", Stages::Pre),
    ("!ioin", Stages::All),
    ("!ioin 84", Stages::All),
    ("!ioout", Stages::All),
    ("!ioout 84", Stages::All),
    ("!crwrite 0", Stages::All),
    ("!crwrite 4", Stages::All),
    ("!dr", Stages::All),
    ("!xsetbv", Stages::All),
    ("!trace step-in", Stages::Pre),
    ("!trace step-out", Stages::Pre),
    ("!trace instrument-step", Stages::Pre),
];
const FILTERS: &[&str] = &[
    "",
    "",
    " core 0",
    " core 1",
    " core 3",
    " pid 1",
    " pid 1 core 2",
];
const STAGES: &[&str] = &["", " stage pre", " stage post", " stage all"];
const CONDITIONS: &[&str] = &[
    "",
    "",
    " condition { $context & 1 }",
    " condition { $core == 2 || @rax > 5 }",
    " condition {31 c0 c3}",
    " condition {b8 01 00 00 00 c3}",
];
const COUNT: &str = "interlocked_increment(&.churn_hits);";
const ACTIONS: &[&str] = &[
    " script { COUNT }",
    " script { COUNT x = poi(@rsp); y = db(@rip); .churn_last = x + y + $context; }",
    " script { COUNT mine = mine + 1; if (mine > 50) { event_disable($event_id); } }",
    " script { COUNT mine = mine + 1; if (mine > 90) { event_clear($event_id); } }",
    " script { COUNT spinlock_lock(&.churn_lock); .churn_sum = .churn_sum + 1; spinlock_unlock(&.churn_lock); }",
    " script { COUNT for (i = 0; i < 10; i = i + 1) { s = s + i; } @rax = @rax; }",
    " imm no script { COUNT mine = mine + 1; if (mine % 20 == 1) { printf(\"%llx %llx\\n\", @rip, $context); } }",
    " code {90 90 c3}",
    " script { COUNT } code {c3}",
];
/// Each instruction is an exit: for a while only.
const TRACE_ACTION: &str =
    " script { COUNT mine = mine + 1; if (mine > 200) { event_disable($event_id); } }";

pub(super) struct Churn {
    random: Random,
    /// Events that are never touched.
    kept: usize,
    /// The others there are: their numbers, and places in `watched`.
    live: Vec<(usize, usize)>,
    /// The next event's.
    next: usize,
    /// Events that are still to be added at once.
    more: usize,
    watched: Vec<(String, Stages)>,
}

/// Events at a time, at most.
const LIVE: usize = 80;

/// Events added one after the other, at most: they travel in one message.
const RUN: usize = 4;

/// All that can be watched.
pub(super) fn places(target: u64) -> Vec<String> {
    vec![
        format!("!epthook {target:x}"),
        format!("!monitor x {target:x} l 1"),
    ]
}

impl Churn {
    pub(super) fn new(random: Random, kept: usize, places: Vec<String>) -> Self {
        let fixed = WATCHED
            .iter()
            .map(|(event, stages)| ((*event).to_owned(), *stages));
        let places = places.into_iter().map(|event| (event, Stages::Pre));
        Self {
            random,
            kept,
            live: Vec::new(),
            next: kept,
            more: 0,
            watched: fixed.chain(places).collect(),
        }
    }

    /// Takes note of what there is: scripts have cleared some.
    #[track_caller]
    pub(super) fn meet(&mut self, list: &str) {
        let listed: Vec<usize> = list
            .lines()
            .map(|line| {
                let number = line.split_whitespace().next().unwrap_or_default();
                usize::from_str_radix(number, 16).unwrap_or_else(|_| panic!("{line}"))
            })
            .collect();
        assert_eq!(
            listed.iter().filter(|&&number| number < self.kept).count(),
            self.kept,
            "{list}"
        );
        assert!(
            listed
                .iter()
                .all(|number| *number < self.kept
                    || self.live.iter().any(|(live, _)| live == number)),
            "{list}"
        );
        self.live.retain(|(number, _)| listed.contains(number));
    }

    /// One change.
    pub(super) fn change(&mut self) -> String {
        let is_full = self.live.len() >= LIVE;
        if self.live.is_empty() || self.more > 0 && !is_full {
            self.more = self.more.saturating_sub(1);
            return self.add();
        }
        match self.random.below(16) {
            0..4 if !is_full => {
                self.more = self.random.below(RUN);
                self.add()
            }
            4..6 => self.on_one("d"),
            6..8 => self.on_one("e"),
            _ => {
                let index = self.random.below(self.live.len());
                format!("events c {:x}", self.live.swap_remove(index).0)
            }
        }
    }

    /// Clears all but the events that are never touched.
    pub(super) fn clear_all(&mut self) -> Vec<String> {
        let clear = |(number, _)| format!("events c {number:x}");
        self.live.drain(..).map(clear).collect()
    }

    fn on_one(&mut self, what: &str) -> String {
        let index = self.random.below(self.live.len());
        format!("events {what} {:x}", self.live[index].0)
    }

    /// Something that can be watched once more.
    fn free(&mut self) -> (usize, (String, Stages)) {
        loop {
            let index = self.random.below(self.watched.len());
            let found = self.watched[index].clone();
            let is_live = || self.live.iter().any(|(_, live)| *live == index);
            if !found.0.starts_with("!epthook2") || !is_live() {
                return (index, found);
            }
        }
    }

    fn add(&mut self) -> String {
        let (index, (event, stages)) = self.free();
        let filter = self.random.of(FILTERS);
        let stage = if stages == Stages::All {
            self.random.of(STAGES)
        } else {
            ""
        };
        let condition = self.random.of(CONDITIONS);
        let action = if event.starts_with("!trace") {
            TRACE_ACTION
        } else {
            self.random.of(ACTIONS)
        };
        let action = action.replace("COUNT", COUNT);
        self.live.push((self.next, index));
        self.next += 1;
        format!("{event}{filter}{stage}{condition}{action}")
    }
}
