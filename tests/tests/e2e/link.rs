//! A bad line costs time and nothing else.

use crate::churn::{Random, setting};
use crate::lab::Lab;
use std::time::Duration;
use vm_lab::faults::Faults;
use vm_lab::machine::{KernelLine, Options};

/// Commands whose answers are the same within one halt, however often they are asked.
const SMALL: [&str; 10] = [
    "~",
    "~ 1",
    "r",
    "r all",
    "!va2pa @rip",
    "db @rsp l 40",
    "!digest 100000 l 100000",
    "pools",
    "events",
    "~ 0",
];
/// Those that take long frames.
const LARGE: [&str; 4] = [
    "dq vmlinux!_text l 4000",
    "!db 100000 l 2000",
    "dq (vmlinux!_text + 200000) l 4000",
    "lm",
];

fn answers(lab: &mut Lab, commands: &[&str]) -> Vec<String> {
    commands.iter().map(|command| lab.run(command)).collect()
}

/// Frames that arrived broken, and frames that had to be sent again, as `.status` says.
#[track_caller]
fn damage_seen(lab: &mut Lab) -> (u32, u32) {
    let status = lab.run(".status");
    let line = status
        .lines()
        .find(|line| line.starts_with("frames "))
        .unwrap_or_else(|| panic!("no frames in:\n{status}"));
    let before = |what: &str| {
        let end = line.find(what)?;
        line[..end]
            .trim_end()
            .rsplit([' ', '('])
            .next()?
            .parse::<u32>()
            .ok()
    };
    (
        before("broken").unwrap_or(0),
        before("repeated").unwrap_or(0),
    )
}

/// The same commands over a clean line and a damaged one, each with a host program that knows nothing yet.
fn damaged_line_gives_the_same_answers(commands: &[&str], faults: Faults) {
    let mut lab = Lab::halted(KernelLine::Lean);
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    let clean = answers(&mut lab, commands);
    // A busy machine may be late and make the other end repeat a frame, but it breaks none.
    assert_eq!(damage_seen(&mut lab).0, 0, "the clean line is not clean");
    for seed in 1..=3 {
        lab.kill_host();
        lab.machine.set_faults(Some(Faults { seed, ..faults }));
        lab.connect();
        assert_eq!(answers(&mut lab, commands), clean, "seed {seed}");
        // What changes the debuggee happens once.
        let added = lab.run("!cpuid 7");
        assert!(added.starts_with(&format!("event {seed}: ")), "{added}");
        assert!(lab.run(&format!("events c {seed}")).contains(" cleared"));
        let (broken, repeated) = damage_seen(&mut lab);
        eprintln!("seed {seed}: {broken} frames broken, {repeated} repeated");
        assert!(broken + repeated > 0, "seed {seed} damaged nothing");
    }
    for _ in 0..5 {
        lab.go();
        lab.run("pause");
    }
    lab.run("events c all");
    lab.go();
}

#[test]
fn short_commands_over_a_very_bad_line_are_answered_as_over_a_good_one() {
    let faults = Faults {
        seed: 0,
        flip: 0.001,
        drop: 0.001,
        insert: 0.001,
        duplicate: 0.0005,
        ..Faults::default()
    };
    damaged_line_gives_the_same_answers(&SMALL, faults);
}

#[test]
fn long_answers_over_a_bad_line_arrive_whole() {
    let faults = Faults {
        seed: 0,
        flip: 0.00005,
        drop: 0.00005,
        insert: 0.00005,
        duplicate: 0.00002,
        ..Faults::default()
    };
    damaged_line_gives_the_same_answers(&LARGE, faults);
}

/// Two hundred commands whose answers are the same within one halt, whoever asks them and when.
fn two_hundred_commands() -> Vec<String> {
    let round = |n: usize| {
        let at = n * 0x1_3000;
        [
            format!("db (vmlinux!_text + {at:x}) l 40"),
            format!("u (vmlinux!_text + {at:x}) l 3"),
            "!cpuid 7 condition { $context == 1 }".to_owned(),
            format!("!epthook vmlinux!__x64_sys_getsid script {{ .n = {n}; }}"),
            "pools".to_owned(),
            "events c all".to_owned(),
            "r".to_owned(),
            format!("!digest 1000 l {:x}", 0x1000 * (n + 1)),
            format!("dq (vmlinux!_text + {at:x}) l {:x}", 8 + n * 16),
            "!va2pa @rip".to_owned(),
        ]
    };
    (0..20).flat_map(round).collect()
}

/// Each command with its answer. Numbers of events are counted from the first that comes now, so that it is the same each time.
pub(crate) fn transcript_of_two_hundred(lab: &mut Lab) -> Vec<String> {
    let commands = two_hundred_commands();
    assert_eq!(commands.len(), 200);
    let first = lab.run("!cpuid 1");
    lab.run("events c all");
    let number = first.split([' ', ':']).nth(1);
    let number = number.and_then(|id| u32::from_str_radix(id, 16).ok());
    let number = number.unwrap_or_else(|| panic!("no event in {first}"));
    let mut answer = |command: &String| {
        let answer = lab.run(command);
        let answer = (1..100).fold(answer, |answer, ahead| {
            let id = format!("event {:x}:", number + ahead);
            answer.replace(&id, &format!("event +{ahead}:"))
        });
        format!("{command}\n{answer}")
    };
    commands.iter().map(&mut answer).collect()
}

#[test]
fn two_hundred_commands_over_a_very_bad_line_have_the_transcript_of_a_good_one() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let clean = transcript_of_two_hundred(&mut lab);
    lab.kill_host();
    lab.machine.set_faults(Some(Faults {
        seed: 1,
        flip: 0.01,
        hole: 0.01,
        ..Faults::default()
    }));
    lab.connect();
    let started = std::time::Instant::now();
    let damaged = transcript_of_two_hundred(&mut lab);
    let (broken, repeated) = damage_seen(&mut lab);
    println!(
        "{broken} frames broken, {repeated} repeated, {} s",
        started.elapsed().as_secs()
    );
    for (clean, damaged) in clean.iter().zip(&damaged) {
        assert_eq!(clean, damaged);
    }
    lab.machine.set_faults(None);
    lab.go();
}

#[test]
fn line_cut_for_seconds_goes_on_where_it_was() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let rip = lab.run("r rip");
    let text = lab.run("dq vmlinux!_text l 40");
    lab.machine.cut_line(Duration::from_secs(3));
    assert_eq!(lab.run("dq (vmlinux!_text + 0) l 40"), text);
    lab.machine.cut_line(Duration::from_secs(3));
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert_eq!(lab.run("events").lines().count(), 1);
    assert_eq!(lab.run("r rip"), rip);
    // Cut while it is let go, and while it hits.
    lab.machine.cut_line(Duration::from_secs(2));
    lab.run("g");
    lab.machine.cut_line(Duration::from_secs(4));
    lab.guest_background("lab-calls 1 1");
    assert!(lab.run(".wait 0n40").contains("event 0 hit on core 1"));
    lab.run("events c all");
    lab.go();
}

#[test]
fn line_hung_up_is_opened_again() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let rip = lab.run("r rip");
    lab.machine.hang_up();
    lab.run("!cpuid 7");
    assert_eq!(lab.run("events").lines().count(), 1);
    assert_eq!(lab.run("r rip"), rip);
    lab.machine.hang_up();
    lab.go();
    lab.machine.hang_up();
    lab.run("pause");
    assert_eq!(lab.run("~").matches("  halted   ").count(), 2);
}

/// `halted (halt N, operating core C)`
#[track_caller]
fn state(lab: &mut Lab) -> String {
    let status = lab.run(".status");
    let line = status.lines().find(|line| line.starts_with("state "));
    line.unwrap_or_else(|| panic!("no state in:\n{status}"))
        .to_owned()
}

/// What a host does that is killed: it looks, and what it wants to change is refused.
const ASKED_BY_THE_DYING: [&str; 8] = [
    "r all",
    "dq vmlinux!_text l 4000",
    "!db 100000 l 1000",
    "!digest 100000 l 400000",
    "events",
    "pools",
    "!epthook vmlinux!__x64_sys_getsid+1",
    "!monitor r 0 l ffffffffffff",
];

/// All that must be as it was.
fn look(lab: &mut Lab) -> [String; 7] {
    [
        state(lab),
        lab.run("events"),
        lab.run("pools"),
        lab.run("~"),
        lab.run("r"),
        lab.run("!digest"),
        lab.run("!digest registers"),
    ]
}

/// Killed now and then at any point of a command, more often with `STANDSTILL_KILLS=100`.
#[test]
fn killed_host_finds_everything_as_it_was() {
    let mut lab = Lab::with(&Options::default());
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid core 1");
    lab.run("!cpuid 1234");
    lab.run("events d 1");
    lab.run("prealloc epthook 3");
    let before = look(&mut lab);
    let mut random = Random::new(setting("STANDSTILL_KILLS_SEED", 7));
    for kill in 0..setting("STANDSTILL_KILLS", 12) {
        let command = random.of(&ASKED_BY_THE_DYING);
        let later = Duration::from_micros(random.below(30_000) as u64);
        lab.kill_host_during(command, later);
        if kill < 3 {
            assert!(!lab.guest_answers(), "the guest ran while nobody was there");
        }
        lab.connect();
        assert_eq!(look(&mut lab), before, "kill {kill}: {command} {later:?}");
    }
    // What happens while nobody is there is told to who comes next.
    lab.run("g");
    lab.kill_host();
    lab.guest_background("lab-calls 1 1");
    let stopped = (0..20).any(|_| !lab.guest_answers());
    assert!(stopped, "the hook did not stop the guest");
    lab.connect();
    assert!(state(&mut lab).contains("halted"));
    assert!(
        lab.run("events")
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("; 1 hits"))
    );
    assert_eq!(lab.run("? @rip"), lab.run("? vmlinux!__x64_sys_getsid"));
    lab.run("events c all");
    lab.go();
}
