//! Sessions written down in `tests/scripts`, run as `cargo lab script` runs them.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;
use vm_lab::script;

#[test]
fn first_steps_go_as_written() {
    let steps = match script::parse(include_str!("../scripts/first-steps.txt")) {
        Ok(steps) => steps,
        Err(error) => panic!("{error:#}"),
    };
    let mut lab = Lab::boot(KernelLine::Lean);
    let mut session = Vec::new();
    let result = script::run(&steps, &mut lab.ends(), true, &mut session);
    let session = String::from_utf8_lossy(&session);
    assert!(matches!(result, Ok(0)), "{result:?}\n{session}");
}
