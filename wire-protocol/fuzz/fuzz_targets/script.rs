//! Any bytes: as a program, and as the choices of which one is made and then changed. Nothing may
//! panic, and what the verifier accepts must run to its end or that of its budget.
//!
//! `cargo +nightly fuzz run script`
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/scripts.rs"]
mod scripts;

fuzz_target!(|bytes: &[u8]| {
    let _ = scripts::exercise(bytes);
    let Some((&[place, value], choices)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(mut program) = scripts::generate(choices) else {
        return;
    };
    scripts::exercise(&program).expect("verifies");
    scripts::misguide(&mut program, usize::from(place), value);
    let _ = scripts::exercise(&program);
    let at = usize::from(place) % program.len();
    program[at] = value;
    let _ = scripts::exercise(&program);
});
