//! Sessions written down in `tests/scripts`, run as `cargo lab script` runs them.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;
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
