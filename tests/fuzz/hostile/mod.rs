//! Any bytes, against each part that reads bytes from outside: nothing may panic, run for ever or take a wrong answer for
//! a right one.
//!
//! A function each, which the fuzz target of its name calls (`fuzz_targets`), and the test of what was kept (`corpus`): an
//! input that once did harm is put there, and is a test from then on.

mod cards;
mod frames;
mod net;
#[path = "../../../wire-protocol/tests/support/scripts.rs"]
mod programs;
mod recordings;
mod symbol_files;
mod wire;

pub use cards::card;
pub use frames::net_frame;
pub use net::{net_datagram, net_handshake};
pub use recordings::recording;
pub use symbol_files::symbols;
pub use wire::{frame, handshake, link, message, pack};

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// All targets with their names.
pub const TARGETS: [(&str, Target); 12] = [
    ("card", card),
    ("frame", frame),
    ("handshake", handshake),
    ("link", link),
    ("message", message),
    ("net_datagram", net_datagram),
    ("net_frame", net_frame),
    ("net_handshake", net_handshake),
    ("pack", pack),
    ("recording", recording),
    ("script", script),
    ("symbols", symbols),
];

/// Bytes as a program, and as the choices of which one is made and then changed. What the verifier accepts must run to its
/// end or that of its budget.
pub fn script(bytes: &[u8]) {
    let _ = programs::exercise(bytes);
    let Some((&[place, value], choices)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(mut program) = programs::generate(choices) else {
        return;
    };
    programs::exercise(&program).expect("verifies");
    programs::misguide(&mut program, usize::from(place), value);
    let _ = programs::exercise(&program);
    let at = usize::from(place) % program.len();
    program[at] = value;
    let _ = programs::exercise(&program);
}
