//! Sessions written down in `tests/scripts`, run as `cargo lab script` runs them; and variables of
//! scripts that several cores run at once.

use crate::lab::Lab;
use vm_lab::machine::{KernelLine, Options};
use vm_lab::script;

fn goes_as_written(script: &str) {
    let steps = match script::parse(script) {
        Ok(steps) => steps,
        Err(error) => panic!("{error:#}"),
    };
    let mut lab = Lab::boot(KernelLine::Lean);
    let mut session = Vec::new();
    let result = script::run(&steps, &mut lab.ends(), true, &mut session);
    let session = String::from_utf8_lossy(&session);
    assert!(matches!(result, Ok(0)), "{result:?}\n{session}");
}

#[test]
fn first_steps_go_as_written() {
    goes_as_written(include_str!("../scripts/first-steps.txt"));
}

#[test]
fn script_language_goes_as_written() {
    goes_as_written(include_str!("../scripts/script-language.txt"));
}

/// Counts in four ways: atomically, under a lock, and on each core for itself.
const COUNTING: &str = "{ interlocked_increment(&.atomic); \
     spinlock_lock(&.lock); .locked = .locked + 1; spinlock_unlock(&.lock); \
     mine = mine + 1; \
     if ($core == 0) { .mine0 = mine; } elsif ($core == 1) { .mine1 = mine; } \
     elsif ($core == 2) { .mine2 = mine; } else { .mine3 = mine; } }";

#[test]
fn four_cores_share_variables_and_keep_their_own() {
    let mut lab = Lab::with(&Options {
        cpus: 4,
        ..Options::default()
    });
    lab.run("pause");
    lab.run(&format!("!cpuid 9 script {COUNTING}"));
    lab.go();
    let count = 4 * 500;
    let one = "lab-cpuid 9 500 >/dev/null &";
    lab.guest(&format!("{one} {one} {one} {one} wait; echo done"));
    lab.run("pause");
    let text = lab.run(
        "? printf(\"atomic %d locked %d lock %d\\n\", .atomic, .locked, .lock); \
         printf(\"own %d\\n\", .mine0 + .mine1 + .mine2 + .mine3); \
         printf(\"cores %d\\n\", (.mine0 != 0) + (.mine1 != 0) + (.mine2 != 0) + (.mine3 != 0));",
    );
    assert!(
        text.contains(&format!("atomic {count} locked {count} lock 0")),
        "{text}"
    );
    assert!(text.contains(&format!("own {count}")), "{text}");
    assert!(
        !text.contains("cores 1\n"),
        "only one core took part: {text}"
    );
    let events = lab.run("events");
    assert!(events.contains(&count.to_string()), "{events}");
}
