//! The table: in which ways a page of a process changes, or where it is.

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

/// What is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every use is counted.
    Counted,
    /// The process is gone, or its memory has other code: the list of events says `stale`.
    Told,
}

/// One way. What stands in lines of the guest's shell for [`PROCESS`] is what the process under test is told, up to
/// the end of the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    /// The page of the process: of no file (`anon`), of a file that cannot be written (`file`), or of one that is copied when
    /// it is written (`private`).
    pub(super) page: &'static str,
    /// Before the event is added.
    pub(super) prepare: &'static [&'static str],
    /// Between the first uses and the second.
    pub(super) change: &'static [&'static str],
    /// Between the second uses and the third.
    pub(super) undo: &'static [&'static str],
    /// Whether the page stands somewhere else in memory after the change.
    pub(super) moves: bool,
    pub(super) verdict: Verdict,
    /// Watchers for which it is [`Verdict::Told`] that are not told of others.
    pub(super) told: &'static [Watcher],
}

/// See [`Way`].
pub(super) const PROCESS: &str = "pages: ";

const USUAL: Way = Way {
    name: "",
    page: "anon",
    prepare: &[],
    change: &[],
    undo: &[],
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
        page: "private",
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
        page: "private",
        change: &["pages: poke"],
        moves: true,
        ..USUAL
    },
    Way {
        name: "uprobe",
        page: "file",
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
