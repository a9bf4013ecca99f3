//! What the guest does meanwhile: it checks itself, and does things that are counted.

use crate::lab::Lab;
use std::time::Duration;

/// Instructions of the probe whose result is always the same.
const RUNS: &str = "cr0 cr3 cr4 cr8 xsetbv wrmsr vmcall dr ud2 wbinvd";
/// Others: what they find differs from time to time.
const OTHER_RUNS: &str = "rdpmc rdtsc port ipi";
/// Other things that make exits.
const EXITS: &str =
    "cat /proc/uptime /proc/interrupts; ls -R /sys/kernel/mm; lab-open /init 10; lab-calls 20 2";
const PROBE: &str = "P=/sys/module/lab_probe/parameters";
/// CPUID leaf that nobody else asks for.
const LEAF: &str = "77";
/// Under events by the hundred the guest takes a minute or two for a round of its work, on a machine that is busy.
const END: Duration = Duration::from_secs(360);

pub(super) struct Load {
    /// The probe's function.
    pub(super) target: u64,
}

impl Load {
    #[track_caller]
    pub(super) fn prepare(lab: &mut Lab) -> Self {
        let text = lab.guest(&format!("{PROBE}; cat $P/target"));
        let target = text
            .split_whitespace()
            .find_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
            .unwrap_or_else(|| panic!("no address in {text}"));
        lab.guest(&format!(
            "{PROBE}; for i in {RUNS}; do echo $i > $P/run; cat $P/result > /tmp/$i; done"
        ));
        Self { target }
    }

    /// Adds the events whose hits are counted; they stay. Returns how many.
    #[track_caller]
    pub(super) fn count(&self, lab: &mut Lab) -> usize {
        let events = [
            format!("!cpuid {LEAF}"),
            format!("!epthook {:x}", self.target),
            "!syscall 5f".to_owned(),
            "!epthook vmlinux!__x64_sys_umask".to_owned(),
        ];
        for (index, event) in events.iter().enumerate() {
            lab.run(&format!(
                "{event} script {{ interlocked_increment(&.churn_counted{index}); }}"
            ));
        }
        events.len()
    }

    #[track_caller]
    pub(super) fn start(&self, lab: &mut Lab) {
        lab.guest_background(
            "while [ ! -e /tmp/checked ]; do lab-check 2 > /tmp/check || { cat /tmp/check; touch /tmp/broken; }; done; \
             touch /tmp/check-ended",
        );
        for work in [
            &format!(
                "{PROBE}; for i in {RUNS}; do echo $i > $P/run; cat $P/result > /tmp/now; \
                 cmp /tmp/now /tmp/$i || {{ cat /tmp/now; touch /tmp/broken; }}; done; \
                 for i in {OTHER_RUNS}; do echo $i > $P/here; done"
            ),
            &format!("{{ {EXITS}; }} > /dev/null 2>&1"),
        ] {
            lab.guest_background(&format!("while [ ! -e /tmp/end ]; do {work}; done"));
        }
        lab.guest_background(&format!(
            "{PROBE}; n=0; while [ ! -e /tmp/end ]; do lab-cpuid 0x{LEAF} 7 > /dev/null; echo 7 > $P/target; \
             lab-umask 6 $((n % 4)) > /dev/null; n=$((n + 7)); done; echo $n > /tmp/counted"
        ));
    }

    /// Ends the self-check alone: a program that sleeps notices when the driver goes, as then all time comes back that
    /// was hidden.
    #[track_caller]
    pub(super) fn end_check(&self, lab: &mut Lab) {
        let wait = "touch /tmp/checked; while [ ! -e /tmp/check-ended ]; do usleep 10000; done";
        lab.guest_within(wait, END);
    }

    /// Waits for the end of what is going on; the guest has seen nothing.
    #[track_caller]
    pub(super) fn end(&self, lab: &mut Lab) {
        let said = lab.guest_within(
            "touch /tmp/checked /tmp/end; wait; cat /tmp/check; test ! -e /tmp/broken",
            END,
        );
        assert!(said.contains("check ok cores 4"), "{said}");
    }

    /// No hit of the counted events is lost, none doubled.
    #[track_caller]
    pub(super) fn compare(&self, lab: &mut Lab) {
        lab.run("g");
        let done = lab.guest("cat /tmp/counted");
        lab.run("pause");
        let counts = lab.run(
            "? printf(\"%lld %lld %lld %lld\", .churn_counted0, .churn_counted1, .churn_counted2, .churn_counted3);",
        );
        eprintln!("counted {}", done.trim());
        assert_ne!(done.trim(), "0");
        let each = [done.trim(); 4].join(" ");
        assert_eq!(counts.trim(), each, "hits were lost or doubled");
    }
}

/// What the self-check must notice, as events that do it: a byte of its memory, a register, an answer of CPUID.
const HARM: [(&str, &str); 3] = [
    (
        "!cpuid 0 core 1 script { at = 7d0001000008; if (check_address(at)) { eb(at, db(at) + 1); } }",
        "core 1: memory changed",
    ),
    (
        "!cpuid 0 core 3 stage post script { if (@r13 == @r12 + 1 && @r14 == @r13 + 1) { @r12 = @r12 + 1; } }",
        "core 3: registers changed",
    ),
    (
        "!cpuid 0 core 2 stage post script { @rbx = @rbx + .churn_harm; .churn_harm = .churn_harm + 1; }",
        "core 2: another answer",
    ),
];

/// The self-check is one that can fail.
#[track_caller]
pub(super) fn assert_check_can_fail(lab: &mut Lab) {
    lab.run("pause");
    for (event, _) in HARM {
        lab.run(event);
    }
    lab.run("g");
    let said = lab.guest("lab-check 1 || echo failed");
    for (event, complaint) in HARM {
        assert!(said.contains(complaint), "{event}: {said}");
    }
    assert!(
        said.contains("check FAILED") && said.contains("failed"),
        "{said}"
    );
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("lab-check 1").contains("check ok cores 4"));
}
