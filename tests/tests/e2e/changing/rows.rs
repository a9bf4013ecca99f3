//! The table: in which ways a page of a process changes, or where it is. Those of the kernel's code stand in
//! [`super::kernel_rows`].

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watcher {
    Hook,
    Detour,
    Read,
    Write,
    Execute,
}

impl Watcher {
    pub(super) const ALL: [Self; 5] = [
        Self::Hook,
        Self::Detour,
        Self::Read,
        Self::Write,
        Self::Execute,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hook => "!epthook",
            Self::Detour => "!epthook2",
            Self::Read => "!monitor r",
            Self::Write => "!monitor w",
            Self::Execute => "!monitor x",
        }
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// The page of the process: of no file (`anon`), of a file that cannot be written (`file`), or of one that is
    /// copied when it is written (`private`).
    Page(&'static str),
    /// Code of the kernel.
    Code(Code),
}

/// The first instruction of five bytes or more in a function, so that a detour fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The function, as the host program knows it; of BPF code, a pattern that one has.
    pub(super) of: &'static str,
    /// What the process is told, without the number of times, so that the instruction is executed.
    pub(super) run: &'static str,
    /// How often the first byte of it is written, before the event is stale.
    pub(super) writes: u64,
    /// Whether nothing can be read there any more after the change.
    pub(super) is_freed: bool,
}

/// What is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every use is counted.
    Counted,
    /// The process or the module is gone, or its memory has other code: the list of events says `stale`.
    Told,
}

/// One way. What stands in lines of the guest's shell for [`PROCESS`] is what the process under test is told, up to
/// the end of the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) watched: Watched,
    /// Before the event is added.
    pub(super) prepare: &'static [&'static str],
    /// Between the first uses and the second.
    pub(super) change: &'static [&'static str],
    /// Between the second uses and the third.
    pub(super) undo: &'static [&'static str],
    /// A line for after the second uses, and a part of what it prints: that who changed the code has what it wanted.
    pub(super) confirm: Option<(&'static str, &'static str)>,
    /// After the event is gone.
    pub(super) tidy: &'static [&'static str],
    /// Whether the page stands somewhere else in memory after the change.
    pub(super) moves: bool,
    pub(super) verdict: Verdict,
    /// Watchers for which it is [`Verdict::Told`] that are not told of others.
    pub(super) told: &'static [Watcher],
}

/// See [`Way`].
pub(super) const PROCESS: &str = "pages: ";
/// Begins lines that say how many pieces of BPF code of a name are waited for.
pub(super) const BPF: &str = "bpf: ";

pub(super) const USUAL: Way = Way {
    name: "",
    watched: Watched::Page("anon"),
    prepare: &[],
    change: &[],
    undo: &[],
    confirm: None,
    tidy: &[],
    moves: false,
    verdict: Verdict::Counted,
    told: &[],
};

/// Pages of a process.
pub(super) const PAGES: &[Way] = &[
    Way {
        name: "exec of another",
        change: &["pages: another"],
        ..USUAL
    },
    Way {
        name: "rewritten code",
        change: &["pages: rewrite"],
        // No instruction starts there any more; what is monitored is bytes.
        told: &[Watcher::Hook],
        ..USUAL
    },
    Way {
        name: "copy on write",
        change: &["pages: copy"],
        undo: &["pages: reap"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "copy of a file's page",
        watched: Watched::Page("private"),
        change: &["pages: aside"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "merge",
        change: &["pages: merge"],
        undo: &["pages: aside"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "swap",
        prepare: &[
            "[ -e /dev/lab_disk ] || { insmod /lab_disk.ko; mkswap /dev/lab_disk; swapon /dev/lab_disk; }",
        ],
        change: &["pages: pageout"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "one large page",
        change: &["pages: collapse"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "ptrace",
        watched: Watched::Page("private"),
        change: &["pages: poke"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "uprobe",
        watched: Watched::Page("file"),
        change: &[
            "echo 'p:lab/here /tmp/lab-code:0x4' > /sys/kernel/tracing/uprobe_events",
            "echo 1 > /sys/kernel/tracing/events/lab/here/enable",
        ],
        undo: &[
            "echo 0 > /sys/kernel/tracing/events/lab/here/enable",
            "echo > /sys/kernel/tracing/uprobe_events",
        ],
        moves: true,
        ..USUAL
    },
    Way {
        name: "exec",
        change: &["echo exec > /pages; sleep 0.2", "pages: map anon"],
        verdict: Verdict::Told,
        ..USUAL
    },
    Way {
        name: "process end",
        change: &[
            "echo end > /pages; sleep 0.2",
            "lab-pages & sleep 0.2",
            "pages: map anon",
        ],
        verdict: Verdict::Told,
        ..USUAL
    },
];
