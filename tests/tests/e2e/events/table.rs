//! The table: an event of each kind, what a process does to hit it, and what the event must say then.

use crate::actors::Places;

/// What short-circuiting leads to.
pub(super) struct Skip {
    /// Done instead of the line's act.
    act: Option<String>,
    /// Run by the event.
    pub(super) script: &'static str,
    /// What the process then finds, and only then.
    pub(super) said: &'static str,
}

/// A line of the table.
pub(super) struct Case {
    /// The command, without options.
    pub(super) event: String,
    /// What a process does.
    pub(super) act: String,
    /// Tells hits of this act from others of the same process.
    pub(super) only: &'static str,
    /// Holds at each of them.
    pub(super) holds: String,
    /// Hits per act before what is watched takes effect.
    pub(super) pre: u64,
    /// Hits per act after it; `None` where there is no such stage.
    pub(super) post: Option<u64>,
    pub(super) skip: Option<Skip>,
    /// An event without which the guest would not live through it, or through not having it.
    pub(super) lifeline: Option<&'static str>,
    /// There can be only one such event at a time.
    pub(super) is_alone: bool,
}

/// A case with as many hits in both stages.
fn case(event: impl Into<String>, act: impl Into<String>, context: &str, hits: u64) -> Case {
    Case {
        event: event.into(),
        act: act.into(),
        only: "1",
        holds: format!("$context == {context}"),
        pre: hits,
        post: Some(hits),
        skip: None,
        lifeline: None,
        is_alone: false,
    }
}

impl Case {
    fn only(self, only: &'static str) -> Self {
        Self { only, ..self }
    }

    fn holds(self, holds: &str) -> Self {
        let holds = holds.to_owned();
        Self { holds, ..self }
    }

    fn without_stages(self) -> Self {
        Self { post: None, ..self }
    }

    fn skips(self, script: &'static str, said: &'static str) -> Self {
        let act = None;
        let skip = Some(Skip { act, script, said });
        Self { skip, ..self }
    }

    fn with_lifeline(self, event: &'static str) -> Self {
        let lifeline = Some(event);
        Self { lifeline, ..self }
    }

    /// How a check of this line is called.
    pub(super) fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.event)
    }

    /// What a process does to be kept from it.
    pub(super) fn skipped_act(&self) -> &str {
        let skip = self.skip.as_ref();
        skip.and_then(|skip| skip.act.as_deref())
            .unwrap_or(&self.act)
    }
}

/// What the old value of a control register says of the new one, before and after.
const CR0_FLIPS: &str =
    "$event_stage == 0 && $context == (@cr0 ^ 8) || $event_stage == 1 && $context == @cr0";
const CR4_FLIPS: &str =
    "$event_stage == 0 && $context == (@cr4 ^ 100) || $event_stage == 1 && $context == @cr4";

/// What tells a worker's system calls.
const OUR_CALL: &str = "@rdi == 57ad5711";

/// What runs behind a SYSRET that did not take effect is an INT3, and nobody handles it there.
const BACK_TO_SYSRET: &str =
    "!exception 3 script { if (@rdi == 57ad5711) { .back = 1; @rip = @rip - 3; @rax = 77; } }";

/// SYSRET takes effect at the second time.
const ONLY_ONCE: &str = "if (.back == 1) { .back = 0; event_sc(0); }";

/// Undoes the double fault of the probe at the first instruction of its handler.
const OUT_OF_DOUBLE_FAULT: &str = "!exception 8 stage post script { @rsp = @rbx; @rip = @rcx; }";

/// The first instruction of the kernel in one of them.
const OUR_ENTRY: &str = "@rdi == 57ad5711 && @rip == vmlinux!entry_SYSCALL_64";

/// The same where the kernel serves one of them: the process's RDI.
pub(super) const GETSID: &str = "vmlinux!__x64_sys_getsid";
pub(super) const OUR_ARGUMENT: &str = "dq(@rdi + 70) == 57ad5711";

pub(super) fn cases(places: &Places) -> Vec<Case> {
    let Places {
        area,
        area_physical,
        target,
        crossing,
    } = places;
    let at = format!("{:x}", area + 0x108);
    let physical = format!("{:x}", area_physical + 0x108);
    let [target, crossing] = [target, crossing].map(|at| format!("{at:x}"));
    let load = format!("touch load {at}");
    let store = |word: u32| format!("touch store {at} {word}\\n{load}");
    let store_skipped = || {
        Some(Skip {
            act: Some(store(7)),
            script: "",
            said: "word 0x5",
        })
    };
    vec![
        case(format!("!epthook {target}"), "target 1", &target, 1).without_stages(),
        Case {
            is_alone: true,
            ..case(format!("!epthook2 {GETSID}"), "call 7c", GETSID, 1)
        }
        .only(OUR_ARGUMENT)
        .without_stages(),
        Case {
            skip: store_skipped(),
            ..case(format!("!monitor w {at} l 8"), store(5), &at, 1)
        },
        Case {
            skip: store_skipped(),
            ..case(format!("!monitor pa w {physical} l 8"), store(5), &at, 1)
        },
        case(format!("!monitor pa r {physical} l 1"), &load, &at, 1).skips("", "word 0x0"),
        case(format!("!monitor r {at} l 1"), &load, &at, 1).skips("", "word 0x0"),
        case(format!("!monitor x {target} l 1"), "target 1", &target, 1),
        case(
            format!("!monitor x {crossing} l 1"),
            "crossing 1",
            &crossing,
            1,
        )
        .skips("", "gave 0x5"),
        case("!syscall 7c", "call 7c", "7c", 1).skips("@rax = 77;", "gave 77"),
        case("!syscall2 7c", "call 7c", "7c", 1)
            .only(OUR_CALL)
            .skips("@rax = 78;", "gave 78"),
        case("!syscall entry 7c", "call 7c", "7c", 1)
            .without_stages()
            .skips("@rax = 79;", "gave 79"),
        case("!sysret", "call 7c", "@rip", 1)
            .only(OUR_CALL)
            .holds("$event_stage == 1 || $context == @rip")
            .with_lifeline(BACK_TO_SYSRET)
            .skips(ONLY_ONCE, "gave 77"),
        case("!sysret2", "call 7c", "@rip", 1)
            .only(OUR_CALL)
            .holds("$event_stage == 1 || $context == @rip")
            .with_lifeline(BACK_TO_SYSRET)
            .skips(ONLY_ONCE, "gave 77"),
        case("!cpuid 16", "cpuid 16", "16", 1).skips("@rax = 1234;", "eax 1234"),
        case("!msrread c0000080", "probe rdmsr", "c0000080", 1)
            .skips("@rax = 77; @rdx = 0;", "rdmsr 0x0 0x77"),
        case("!msrread c0000102", "probe wrmsr", "c0000102", 3)
            .skips("@rax = 0; @rdx = 0;", "wrmsr 0x0 0x0"),
        case("!msrwrite c0000102", "probe wrmsr", "c0000102", 2).skips("", "wrmsr 0x0 0x0"),
        case("!ioin 84", "probe port", "84", 2).skips("@rax = 5a;", "port 0x0 0x5a"),
        case("!ioout 84", "probe port", "84", 2).skips("", "port 0x0 "),
        case("!exception 2", "probe nmi", "2", 1).skips("", "nmi 0x0"),
        case("!exception 6", "probe ud2", "6", 1).skips("@rip = @rip + 2;", "ud2 0x0"),
        case("!exception 8", "probe df", "8", 1)
            .with_lifeline(OUT_OF_DOUBLE_FAULT)
            .skips("@rax = 5; @rsp = @rbx; @rip = @rcx;", "df 0x5"),
        case("!exception e", "fault", "e", 1)
            .only("@cr2 == 7e0000000000")
            .skips(
                "@rax = 77; @rip = @rip + disassemble_len(@rip);",
                "found 77",
            ),
        case("!interrupt f7", "probe ipi", "0f7", 1).skips("", "ipi 0x0"),
        case("!tsc", "probe rdtsc", "0", 2)
            .only("@rbx == 57ad5711")
            .skips("@rax = 1234; @rdx = 0;", "rdtsc 0x0 0x1234"),
        case("!pmc", "probe rdpmc", "0", 1).skips("@rax = 1234; @rdx = 0;", "rdpmc 0x0 0x1234"),
        // It faults, so there is no time after it.
        Case {
            post: Some(0),
            ..case("!vmcall", "probe vmcall", "0", 1)
        }
        .skips("", "vmcall 0x0"),
        case("!dr", "probe dr", "0", 5).skips("", "dr 0x0 0x0"),
        case("!crwrite 0 mask 8", "probe cr0", "0", 2)
            .holds(CR0_FLIPS)
            .skips("", "cr0 0x0 0x0"),
        case("!crwrite 4 mask 100", "probe cr4", "0", 2)
            .holds(CR4_FLIPS)
            .skips("", "cr4 0x0 0x0"),
        case("!xsetbv 0", "probe xsetbv", "0", 2).skips("", "xsetbv 0x0 0x0"),
        case("!mode k", "call 7c", "0", 1)
            .only(OUR_ENTRY)
            .without_stages(),
        case("!mode ku", "call 7c", "0", 1)
            .only(OUR_ENTRY)
            .without_stages(),
    ]
}
