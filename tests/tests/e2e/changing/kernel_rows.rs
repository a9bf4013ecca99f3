//! The table: in which ways code of the kernel changes. A patch of five bytes writes the first one twice: a breakpoint
//! comes first, and goes when the rest is there.

use super::rows::{Code, USUAL, Verdict, Watched, Watcher, Way};

const GETSID: Code = Code {
    of: "vmlinux!__x64_sys_getsid",
    run: "call",
    writes: 4,
    is_freed: false,
};
/// Six bytes behind the start of the function.
const PUSHES: Code = Code {
    of: "lab_probe!lab_probe_pushes",
    run: "ask pushes",
    writes: 2,
    is_freed: false,
};
const PROBED: Option<(&str, &str)> = Some((
    "cat /sys/module/lab_probe/parameters/count",
    "lab_probe_pushes+6 5\n",
));
const ADD_PROBE: &str = "echo lab_probe_pushes+6 > /sys/module/lab_probe/parameters/count";
const REMOVE_PROBE: &str = "echo - > /sys/module/lab_probe/parameters/count";
const ATTACH: &str = "lab-bpf attach /sys/fs/bpf/lab __x64_sys_getsid";
const ATTACH_OTHER: &str = "lab-bpf attach /sys/fs/bpf/other __x64_sys_getsid";
const DETACH: &str = "rm -f /sys/fs/bpf/*";
/// The one that was goes some time after another one took its place.
const ONE_TRAMPOLINE: &str = "bpf: 1 bpf_trampoline_*";
const NO_TRAMPOLINE: &str = "bpf: 0 bpf_trampoline_*";
const NO_PROGRAM: &str = "bpf: 0 bpf_prog_*_lab";
/// Where the kernel puts it in its chunks of memory is up to chance.
pub(super) const PROGRAM: &str = "bpf!bpf_prog_*_lab";

/// Code of the kernel.
pub(super) const KERNEL: &[Way] = &[
    Way {
        name: "tracer",
        watched: Watched::Code(GETSID),
        change: &[
            "mkdir /sys/kernel/tracing/instances/lab",
            "echo __x64_sys_getsid > /sys/kernel/tracing/instances/lab/set_ftrace_filter",
            "echo function > /sys/kernel/tracing/instances/lab/current_tracer",
        ],
        confirm: Some((
            "echo traced $(grep -c sys_getsid /sys/kernel/tracing/instances/lab/trace)",
            "traced 5\n",
        )),
        undo: &["echo nop > /sys/kernel/tracing/instances/lab/current_tracer"],
        tidy: &["rmdir /sys/kernel/tracing/instances/lab"],
        ..USUAL
    },
    Way {
        name: "kprobe",
        watched: Watched::Code(PUSHES),
        prepare: &["echo 0 > /proc/sys/debug/kprobes-optimization"],
        change: &[
            ADD_PROBE,
            "! grep -q OPTIMIZED /sys/kernel/debug/kprobes/list",
        ],
        confirm: PROBED,
        undo: &[REMOVE_PROBE],
        ..USUAL
    },
    Way {
        name: "optimised kprobe",
        // A breakpoint, five bytes over it, a breakpoint, and what was.
        watched: Watched::Code(Code {
            writes: 5,
            ..PUSHES
        }),
        prepare: &["echo 1 > /proc/sys/debug/kprobes-optimization"],
        change: &[
            ADD_PROBE,
            "i=0; until grep -q OPTIMIZED /sys/kernel/debug/kprobes/list; do \
             [ $i -lt 100 ] || break; sleep 0.1; i=$((i+1)); done; [ $i -lt 100 ]",
        ],
        confirm: PROBED,
        undo: &[REMOVE_PROBE],
        ..USUAL
    },
    Way {
        name: "kprobe by the tracer",
        watched: Watched::Code(GETSID),
        change: &["echo __x64_sys_getsid > /sys/module/lab_probe/parameters/count"],
        confirm: Some((
            "cat /sys/module/lab_probe/parameters/count",
            "__x64_sys_getsid 5\n",
        )),
        undo: &[REMOVE_PROBE],
        ..USUAL
    },
    Way {
        name: "static key",
        watched: Watched::Code(Code {
            of: "lab_probe!lab_probe_keyed",
            run: "ask keyed",
            ..GETSID
        }),
        change: &["echo on > /sys/module/lab_probe/parameters/keyed"],
        undo: &["echo off > /sys/module/lab_probe/parameters/keyed"],
        ..USUAL
    },
    Way {
        name: "BPF at a function",
        watched: Watched::Code(GETSID),
        change: &[ATTACH],
        confirm: Some(("lab-bpf runs /sys/fs/bpf/lab", "runs 5\n")),
        undo: &[DETACH, NO_TRAMPOLINE],
        ..USUAL
    },
    Way {
        name: "BPF trampoline",
        watched: Watched::Code(Code {
            writes: 8,
            ..GETSID
        }),
        prepare: &[ATTACH],
        change: &[ATTACH_OTHER, ONE_TRAMPOLINE],
        confirm: Some(("lab-bpf runs /sys/fs/bpf/other", "runs 5\n")),
        undo: &["rm /sys/fs/bpf/other*", ONE_TRAMPOLINE],
        tidy: &[DETACH, NO_TRAMPOLINE],
        ..USUAL
    },
    Way {
        name: "in a BPF trampoline",
        watched: Watched::Code(Code {
            of: "bpf!bpf_trampoline_*",
            run: "call",
            writes: 0,
            is_freed: true,
        }),
        prepare: &[ATTACH],
        change: &[ATTACH_OTHER, ONE_TRAMPOLINE],
        confirm: Some(("lab-bpf runs /sys/fs/bpf/other", "runs 5\n")),
        tidy: &[DETACH, NO_TRAMPOLINE],
        verdict: Verdict::Told,
        ..USUAL
    },
    Way {
        name: "BPF program",
        watched: Watched::Code(Code {
            of: PROGRAM,
            run: "filter /sys/fs/bpf/lab",
            // The one that goes is overwritten by breakpoints, then comes the other one.
            writes: 2,
            is_freed: false,
        }),
        prepare: &["lab-bpf load /sys/fs/bpf/lab 1"],
        change: &[
            "rm /sys/fs/bpf/lab",
            NO_PROGRAM,
            // Its memory goes a little later than its name.
            "sleep 0.5",
            "lab-bpf load /sys/fs/bpf/lab 2",
        ],
        tidy: &[DETACH, NO_PROGRAM],
        // Bytes are monitored, whoever has them.
        told: &[Watcher::Hook, Watcher::Detour],
        ..USUAL
    },
    Way {
        name: "module",
        watched: Watched::Code(Code {
            of: "lab_probe!lab_probe_target",
            run: "ask target",
            writes: 0,
            is_freed: false,
        }),
        change: &[
            "rmmod lab_probe; insmod /lab_hostile.ko; rmmod lab_hostile; insmod /lab_probe.ko",
        ],
        confirm: Some(("cat /sys/module/lab_probe/parameters/target", "calls 5 ")),
        verdict: Verdict::Told,
        ..USUAL
    },
];
