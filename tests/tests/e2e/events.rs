//! Every kind of event fires where and when it should and nowhere else, and can keep things from happening.
//!
//! Two processes of the guest, each pinned to its core, do on demand what one line of the table says. All hits are
//! counted by scripts, so that many lines share one machine and few halts.

mod table;

use crate::actors::{Actors, act_command};
use crate::lab::{Lab, assert_log_is_clean};
use table::{Case, GETSID, OUR_ARGUMENT};

/// Times that the process on core 0 does what is watched, and those of the one on core 1.
const ROUNDS: [u64; 2] = [3, 2];

/// The counters that the scripts below share.
const COUNTERS: [&str; 6] = ["wrong", "pre", "post", "core1", "first", "never"];

impl Actors {
    #[track_caller]
    fn both_act(&mut self, act: &str) -> [String; 2] {
        [0, 1].map(|core| self.act(core, act, ROUNDS[core]))
    }

    /// The counters, in their order.
    #[track_caller]
    fn counters(&mut self) -> Vec<u64> {
        let formats = COUNTERS.map(|name| format!("{name} %d")).join(" ");
        let values = COUNTERS.map(|name| format!(".{name}")).join(", ");
        let text = self
            .lab
            .run(&format!("? printf(\"{formats}\\n\", {values});"));
        let numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
        numbers.collect()
    }

    /// Four events on the same: any process and core; one core; one process; a process that never runs on the core.
    fn counting(&self, case: &Case) -> [String; 4] {
        let [first, second] = self.pids;
        let Case {
            event, only, holds, ..
        } = case;
        let (stages, core_stage, after) = match case.post {
            Some(0) => ("stage all", "", 0),
            Some(_) => ("stage all", "stage post", 1),
            None => ("", "", 0),
        };
        [
            format!(
                "{event} {stages} script {{ if (({only}) && ($pid == {first:x} && $core == 0 || $pid == {second:x} && $core == 1)) {{ \
                 if (!({holds})) {{ .wrong += 1; }} \
                 elsif ($event_stage == 0) {{ .pre += 1 + $core * 0n999; }} else {{ .post += 1 + $core * 0n999; }} }} }}"
            ),
            format!(
                "{event} core 1 {core_stage} script {{ if ($core != 1 || $event_stage != {after}) {{ .wrong += 1; }} \
                 elsif (({only}) && $pid == {second:x}) {{ .core1 += 1; }} }}"
            ),
            format!(
                "{event} pid {first:x} script {{ if ($pid != {first:x} || $event_stage != 0) {{ .wrong += 1; }} \
                 elsif ({only}) {{ .first += 1; }} }}"
            ),
            format!("{event} pid {first:x} core 1 script {{ .never += 1; }}"),
        ]
    }

    /// Adds events, lets both processes act, and leaves the machine halted.
    #[track_caller]
    fn count(&mut self, events: &[String], case: &Case) {
        for event in events {
            self.lab.run(event);
        }
        self.add_lifeline(case);
        self.lab.run("g");
        self.both_act(&case.act);
        self.lab.run("pause");
    }

    #[track_caller]
    fn add_lifeline(&mut self, case: &Case) {
        if let Some(lifeline) = case.lifeline {
            self.lab.run(lifeline);
        }
    }

    /// Counts, clears, skips, clears again.
    #[track_caller]
    fn go_through(&mut self, case: &Case) {
        self.lab.run("pause");
        let zeros = COUNTERS.map(|name| format!(".{name} = 0;")).concat();
        self.lab.run(&format!("? {zeros}"));
        let events = self.counting(case);
        if case.is_alone {
            for event in events.chunks(1) {
                self.count(event, case);
                self.lab.run("events c all");
            }
        } else {
            self.count(&events, case);
        }
        let counted = self.counters();
        let on_both = |hits: u64| hits * (ROUNDS[0] + 1000 * ROUNDS[1]);
        let (pre, post) = (case.pre, case.post.unwrap_or(0));
        let expected = [
            0,
            on_both(pre),
            on_both(post),
            case.post.filter(|post| *post != 0).unwrap_or(pre) * ROUNDS[1],
            pre * ROUNDS[0],
            0,
        ];
        self.check(&case.says("hits"), &counted[..], &expected[..]);
        if !case.is_alone {
            self.lab.run("events c all");
        }
        if let Some(skip) = &case.skip {
            let second = self.pids[1];
            self.lab.run(&format!(
                "{} pid {second:x} core 1 sc on condition {{ {} }} script {{ .skipped += 1; {} }}",
                case.event, case.only, skip.script
            ));
            self.add_lifeline(case);
            self.lab.run("g");
            let said = self.act(1, case.skipped_act(), 1);
            self.check(
                &case.says("short-circuited"),
                &said.contains(skip.said),
                &true,
            );
            self.lab.run("pause");
            self.lab.run("events c all");
        }
        self.add_lifeline(case);
        self.lab.run("g");
        for said in self.both_act(case.skipped_act()) {
            let skip = case.skip.as_ref();
            let is_skipped = skip.is_some_and(|skip| said.contains(skip.said));
            self.check(
                &case.says("short-circuited once cleared"),
                &is_skipped,
                &false,
            );
        }
        self.lab.run("pause");
        let after = self.counters();
        self.check(&case.says("hits once cleared"), &after, &counted);
        if case.lifeline.is_some() {
            self.lab.run("events c all");
        }
        self.lab.run("g");
    }
}

#[test]
fn events_fire_are_filtered_skip_and_end() {
    let mut actors = Actors::boot();
    let cases = table::cases(&actors.places);
    for case in &cases {
        actors.go_through(case);
    }
    actors.assert_all_right();
    traces_follow_one_process_on_one_core(&mut actors);
    a_trace_stops_behind_the_return(&mut actors);
    scripts_step(&mut actors);
    two_page_faults_are_one_double_fault(&mut actors);
    modes_change_in_turn(&mut actors);
    the_user_decides_in_the_stop(&mut actors);
    much_is_watched_at_once(&mut actors.lab);
    assert_log_is_clean(&actors.lab.guest("dmesg"));
    actors.lab.unload_driver();
}

/// Every kind of trace, at the same instructions.
#[track_caller]
fn traces_follow_one_process_on_one_core(actors: &mut Actors) {
    const ENOUGH: u64 = 1000;
    let other = actors.pids[0];
    let lab = &mut actors.lab;
    // It is on the core before that is traced and slow.
    let pid = lab.guest(
        "lab-spin 40 1 > /dev/null & \
         until [ \"$(cut -d' ' -f39 /proc/$!/stat)\" = 1 ]; do :; done; echo $!",
    );
    let pid: u32 = pid.trim().parse().expect("a number");
    lab.run("pause");
    lab.run("? .wrong = 0; .all = 0; .inside = 0; .out = 0; .never = 0;");
    for (kind, counter) in [
        ("instrument-step", "all"),
        ("step-in", "inside"),
        ("step-out", "out"),
    ] {
        lab.run(&format!(
            "!trace {kind} pid {pid:x} core 1 script {{ .{counter} += 1; \
             if ($pid != {pid:x} || $core != 1 || $context || $event_stage) {{ .wrong += 1; }} }}"
        ));
    }
    lab.run(&format!(
        "!trace instrument-step pid {other:x} core 1 script {{ .never += 1; }}"
    ));
    let counters = |lab: &mut Lab| -> [u64; 5] {
        let text = lab.run("? printf(\"%d %d %d %d %d\", .wrong, .never, .out, .inside, .all);");
        let numbers = text.split_whitespace();
        let numbers: Vec<_> = numbers.filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().expect("five counts")
    };
    // So slow is a traced core that nothing is asked of it meanwhile, and that another interrupt is there whenever
    // the handler of one returns. The process gets on all the same.
    let mut counted = [0; 5];
    for _ in 0..40 {
        lab.run("g");
        lab.run("sleep 500");
        lab.run("pause");
        counted = counters(lab);
        if counted[3] > ENOUGH {
            break;
        }
    }
    let [wrong, never, out, inside, all] = counted;
    assert_eq!([wrong, never], [0, 0], "{counted:?}");
    assert!(out < inside, "{counted:?}");
    assert!(ENOUGH < inside && inside <= all, "{counted:?}");
    lab.run("events c all");
    lab.run("g");
    lab.run("sleep 100");
    lab.run("pause");
    assert_eq!(counters(lab), counted);
    lab.run("g");
    lab.guest(&format!("kill {pid}; true"));
}

/// The first stop of a trace of returns is where the routine was called.
#[track_caller]
fn a_trace_stops_behind_the_return(actors: &mut Actors) {
    let target = actors.places.target;
    let pid = actors.pids[1];
    let lab = &mut actors.lab;
    lab.run("pause");
    lab.run(&format!("!epthook {target:x} core 1"));
    lab.run("g");
    lab.guest_background(&act_command(1, "target 1", 1));
    lab.run(".wait 0n60");
    let caller = lab.run("? print(poi(@rsp));");
    lab.run("events c all");
    lab.run(&format!("!trace step-out pid {pid:x} core 1"));
    let mut stop = lab.run("g");
    if stop.is_empty() {
        stop = lab.run(".wait 0n60");
    }
    assert!(stop.contains("hit on core 1"), "{stop}");
    assert_eq!(lab.run("? print(@rip);"), caller, "{stop}");
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("wait $!").contains("called"));
}

/// Calls the target a thousand times on core 1 with interrupts off.
const CALL_WITHOUT_INTERRUPTS: &str =
    "taskset 2 sh -c 'echo target > /sys/module/lab_probe/parameters/cost'; echo called";

/// Steps that scripts ask for end where they should, and so often as they were asked for, with interrupts off.
#[track_caller]
fn scripts_step(actors: &mut Actors) {
    let target = actors.places.target;
    let mut count = |at: &str, script: &str| -> (u64, String) {
        let lab = &mut actors.lab;
        lab.run("pause");
        lab.run("? .hits = 0; .steps = 0; .wrong = 0;");
        lab.run(&format!("!epthook {at} core 1 script {{ {script} }}"));
        lab.run("g");
        lab.guest(CALL_WITHOUT_INTERRUPTS);
        lab.run("pause");
        let text = lab.run("? printf(\"%d %d %d\", .hits, .steps, .wrong);");
        let caller = lab.run("? print(.caller);");
        lab.run("events c all");
        lab.run("g");
        let numbers = text.split_whitespace();
        let numbers: Vec<u64> = numbers.filter_map(|word| word.parse().ok()).collect();
        let [hits, steps, wrong] = numbers[..] else {
            panic!("not three counts: {text}");
        };
        assert!(hits >= 1000, "{text}");
        assert_eq!((steps % hits, wrong), (0, 0), "{at}, {script}: {text}");
        (steps / hits, caller.trim().to_owned())
    };
    // Its first instructions follow each other.
    let at_target = format!("{target:x}");
    let two_each = "if ($context) { .hits += 1; .turn = 0; } \
         else { .steps += 1; if (@rip != .next) { .wrong += 1; } } \
         .next = @rip + disassemble_len(@rip); .turn += 1; \
         if (.turn <= 2) { event_trace_step_in(); }";
    let (steps, _) = count(&at_target, two_each);
    assert_eq!(steps, 2);
    let out = "if ($context) { .hits += 1; .caller = poi(@rsp); event_trace_step_out(); } \
         else { .steps += 1; if (@rip != .caller) { .wrong += 1; } }";
    let (steps, caller) = count(&at_target, out);
    assert_eq!(steps, 1);
    let call = format!("({caller} - 5)");
    // At the call, of five bytes.
    for (step, ends) in [
        ("event_trace_step()", ".caller"),
        ("event_trace_instrumentation_step()", ".caller"),
        ("event_trace_step_in()", &at_target),
    ] {
        let script = format!(
            "if ($context) {{ .hits += 1; {step}; }} \
             else {{ .steps += 1; if (@rip != {ends}) {{ .wrong += 1; }} }}"
        );
        let (steps, _) = count(&call, &script);
        assert_eq!(steps, 1, "{step}");
    }
    // One instruction, be it a handler's.
    let any = "if ($context) { .hits += 1; event_trace_instrumentation_step_in(); } \
         else { .steps += 1; }";
    let (steps, _) = count(&at_target, any);
    assert_eq!(steps, 1);
}

/// Where the page faults are watched too, and so it is the debugger that makes one exception of the two.
#[track_caller]
fn two_page_faults_are_one_double_fault(actors: &mut Actors) {
    let pid = actors.pids[1];
    let lab = &mut actors.lab;
    lab.run("pause");
    lab.run("? .faults = 0; .pre = 0; .post = 0;");
    for (event, on_hit) in [
        ("!exception e", "if (@cr2 == 0ff8) { .faults += 1; }"),
        ("!exception 8", ".pre += 1;"),
        (
            "!exception 8 stage post",
            ".post += 1; @rsp = @rbx; @rip = @rcx;",
        ),
    ] {
        lab.run(&format!("{event} pid {pid:x} core 1 script {{ {on_hit} }}"));
    }
    lab.run("g");
    let said = actors.act(1, "probe df", 3);
    let lab = &mut actors.lab;
    lab.run("pause");
    let counted = lab.run("? printf(\"%d %d %d\", .faults, .pre, .post);");
    lab.run("events c all");
    lab.run("g");
    let is_over = said.matches("df 0x0").count() == 3;
    assert!(is_over && counted == "6 3 3", "{counted}: {said}");
}

/// A process reaches user mode as often as it left it, and where it left it.
#[track_caller]
fn modes_change_in_turn(actors: &mut Actors) {
    let pid = actors.pids[1];
    let lab = &mut actors.lab;
    lab.run("pause");
    lab.run(
        "? .wrong = 0; .user = 0; .kernel = 0; .calls = 0; .returns = 0; .last = 0; .detours = 0;",
    );
    // The first change can be either. Interrupts may come between two instructions, and before the first.
    lab.run(&format!(
        "!mode ku pid {pid:x} core 1 script {{ \
         if ($pid != {pid:x} || $core != 1 || (@cs & 3) != $context) {{ .wrong += 1; }} \
         if ($context == 3) {{ \
           if (.last == 3) {{ .wrong += 1; }} .user += 1; \
           if (@rdi == 57ad5711 && @rcx == @rip) {{ .returns += 1; }} \
         }} else {{ \
           .kernel += 1; \
           if (@rdi == 57ad5711 && @rip == vmlinux!entry_SYSCALL_64) {{ .calls += 1; }} \
         }} .last = $context; }}"
    ));
    // Each call goes through a detour, which changes views in the kernel and comes back to the one it left.
    lab.run(&format!(
        "!epthook2 {GETSID} script {{ if ({OUR_ARGUMENT}) {{ .detours += 1; }} }}"
    ));
    lab.run("g");
    lab.guest(&act_command(1, "call 7c", 300));
    lab.run("pause");
    let text = lab.run("? printf(\"%d %d %d %d %d\", .wrong, .user, .kernel, .calls, .returns);");
    let counted: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [wrong, user, kernel, calls, returns] = counted[..] else {
        panic!("not five counts: {text}");
    };
    assert_eq!([wrong, calls], [0, 300], "{text}");
    assert_eq!(lab.run("? printf(\"%d\", .detours);").trim(), "300");
    assert!(300 <= returns && returns < user && calls < kernel, "{text}");
    assert!(user.abs_diff(kernel) <= 1, "{text}");
    lab.run("events c all");
    // A stop is at the first instruction, and the mode goes on from there.
    lab.run(&format!(
        "!mode k pid {pid:x} core 1 condition {{ @rdi == 57ad5711 }}"
    ));
    lab.run("g");
    lab.guest_background(&act_command(1, "call 7c", 1));
    let stop = lab.run(".wait 0n60");
    assert!(stop.contains("hit on core 1"), "{stop}");
    assert_eq!(lab.run("? print(@cs & 3);").trim(), "0", "{stop}");
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("wait $!").contains("gave"));
}

/// An event that halts names its core, and there the user says whether what it watches takes effect.
#[track_caller]
fn the_user_decides_in_the_stop(actors: &mut Actors) {
    let lab = &mut actors.lab;
    lab.run("pause");
    let added = lab.run("!cpuid 16 core 1");
    let number = added.split([' ', ':']).nth(1).unwrap_or_default();
    lab.run("g");
    lab.guest_background(&act_command(1, "cpuid 16", 2));
    let stop = lab.run(".wait 0n60");
    assert!(
        stop.contains(&format!("event {number} hit on core 1")),
        "{stop}"
    );
    lab.run("r @rax = 4321");
    lab.run("events sc on");
    lab.run("events c all");
    lab.run("g");
    let said = lab.guest("wait $!");
    assert_eq!(said.matches("eax 4321").count(), 1, "{said}");
}

/// Much that is watched at once, and nothing is lost.
#[track_caller]
fn much_is_watched_at_once(lab: &mut Lab) {
    lab.run("pause");
    for event in [
        "!syscall",
        "!sysret",
        "!interrupt ec",
        "!exception e",
        "!tsc",
        "!msrwrite",
        "!cpuid",
        "!ioout 3f8",
    ] {
        lab.run(&format!("{event} script {{ .n = .n + 1; }}"));
    }
    lab.run("g");
    assert!(lab.guest("lab-check 3").contains("check ok cores 2"));
    lab.guest("echo wrmsr > /sys/module/lab_probe/parameters/run");
    lab.run("pause");
    let list = lab.run("events");
    assert!(!list.contains("; 0 hits"), "{list}");
    lab.run("events c all");
    lab.run("g");
}
