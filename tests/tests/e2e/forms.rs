//! Instructions in all their forms do what they do without a debugger, whatever is watched: the same signals with the
//! same codes, addresses, registers and memory, and the same next instruction.
//!
//! `STANDSTILL_FORMS=whole` runs each of them in more places, on four cores, under each kind of event by itself; `slow`,
//! `often` and `traced` do so under the kinds that take long.

use crate::lab::{Lab, assert_log_is_clean};
use std::fmt::Write;
use std::time::{Duration, Instant};
use vm_lab::machine::Options;

/// Longest wait for all forms under one kind of event.
const FORMS_TIMEOUT: Duration = Duration::from_secs(1500);

/// Events that are there at the same time. The program's code is at 20000000, where most of its instructions begin 100h
/// bytes behind; its data are at 30000000, its stack at 31000000.
type Watch = &'static [&'static str];

/// What the machine or the program meets.
const WATCHES: [Watch; 8] = [
    &[],
    &["!epthook vmlinux!__x64_sys_getsid", "!exception"],
    &["!syscall", "!sysret"],
    &["!syscall2", "!sysret2"],
    &["!syscall entry"],
    &[
        "!cpuid",
        "!tsc",
        "!pmc",
        "!vmcall",
        "!xsetbv",
        "!ioin",
        "!ioout",
        "!msrread",
        "!msrwrite",
        "!dr",
        "!crwrite 0",
        "!crwrite 4",
        "!interrupt ec",
    ],
    &["!epthook 20000100 pid PID"],
    &["!monitor x 20000000 l 2000 pid PID"],
];

/// What takes too long for every day.
const SLOW: [&str; 3] = [
    "!mode ku",
    "!mode k pid PID",
    "!epthook2 vmlinux!__x64_sys_getsid",
];

/// What is met hundreds of times for each form.
const OFTEN: [&str; 2] = [
    "!monitor rw 30000000 l 1000 pid PID",
    "!monitor rw 31000000 l 1000 pid PID",
];

/// What is met at each instruction. A traced core is so slow that its timer's work leaves it to hardly any program: there is
/// no other core that waits for it, this program comes before all others, and it is traced only from the first to the last
/// form, where the program says so by leaves of CPUID.
const TRACED: [&str; 1] = ["!trace step-in pid PID"];
const BEGIN: &str = "10500";
const END: &str = "10501";

/// The machine, with what the forms do on it while nobody is there.
struct Forms {
    lab: Lab,
    program: &'static str,
    /// Events are enabled only from the first to the last form.
    only_inside: bool,
}

impl Forms {
    #[track_caller]
    fn boot(cpus: u32, program: &'static str) -> Self {
        let mut lab = Lab::with(&Options {
            cpus,
            load_driver: false,
            ..Options::default()
        });
        let twice = format!("{program} > /bare && {program} > /again && diff /bare /again");
        lab.guest_within(&twice, FORMS_TIMEOUT);
        let kinds = lab.guest("cut -d' ' -f1 /bare | uniq -c; tail -n 1 /bare");
        assert!(kinds.contains("end of the segment"), "{kinds}");
        println!("{kinds}");
        lab.load_driver(&[]);
        lab.connect();
        Self {
            lab,
            program,
            only_inside: false,
        }
    }

    /// Runs all forms while these events watch; what is not as it was.
    #[track_caller]
    fn differences(&mut self, events: &[&str]) -> String {
        let Self { lab, program, .. } = self;
        lab.guest("rm -f /go /over /tell; mkfifo /go /over /tell; : > /now");
        lab.guest_background(&format!("{program} /go /over /tell > /now"));
        let pid = lab.guest("while ! grep pid /now 2> /dev/null; do sleep 0.1; done");
        let pid = pid.trim().trim_start_matches("pid ");
        lab.run("pause");
        lab.run("? .n = 0;");
        for event in events {
            let event = event.replace("PID", pid);
            let added = lab.run(&format!("{event} script {{ .n += 1; }}"));
            if self.only_inside {
                let number = added.trim_start_matches("event ");
                let (number, _) = number.split_once(':').unwrap_or_default();
                lab.run(&format!("events d {number}"));
                for (leaf, does) in [(BEGIN, "event_enable"), (END, "event_disable")] {
                    lab.run(&format!(
                        "!cpuid {leaf} pid {pid} script {{ {does}({number}); }}"
                    ));
                }
            }
        }
        lab.run("g");
        // A program that is started to look would be met, too, where all of the kernel is.
        lab.guest_within(": > /go; : < /over", FORMS_TIMEOUT);
        lab.run("pause");
        let met = lab.run("? printf(\"%lld\", .n);");
        println!("met {met} times");
        lab.run("events c all");
        lab.run("g");
        lab.guest(": > /tell; wait");
        lab.guest("grep -v ^pid /now > /those; diff /bare /those | head -n 60; true")
    }
}

#[test]
fn instructions_in_all_forms_are_what_they_are_without_a_debugger() {
    let single = |events: &[&'static str]| events.iter().map(|event| vec![*event]).collect();
    let short = "lab-forms short";
    match std::env::var("STANDSTILL_FORMS").as_deref() {
        Ok("whole") => are_what_they_are(4, "lab-forms", single(&WATCHES.concat())),
        Ok("slow") => are_what_they_are(4, "lab-forms", single(&SLOW)),
        Ok("traced") => are_what_they_are(1, "lab-forms alone", single(&TRACED)),
        Ok("often") => are_what_they_are(2, short, single(&OFTEN)),
        _ => are_what_they_are(2, short, WATCHES.map(<[&str]>::to_vec).to_vec()),
    }
}

/// Compares all forms without a debugger and under each of these sets of events.
#[track_caller]
fn are_what_they_are(cpus: u32, program: &'static str, watches: Vec<Vec<&str>>) {
    let mut forms = Forms::boot(cpus, program);
    if watches.concat() == TRACED {
        forms.only_inside = true;
        let kernel = "/proc/sys/kernel";
        forms.lab.guest(&format!(
            "echo -1 > {kernel}/sched_rt_runtime_us; echo 0 > {kernel}/soft_watchdog"
        ));
    }
    let mut wrong = String::new();
    for watch in &watches {
        let started = Instant::now();
        let differences = forms.differences(watch);
        println!("{watch:?}: {:.1} s", started.elapsed().as_secs_f32());
        if !differences.is_empty() {
            let _ = writeln!(wrong, "--- {watch:?}\n{differences}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_log_is_clean(&forms.lab.guest("dmesg"));
    assert!(forms.lab.guest("lab-check 2").contains("check ok cores"));
}
