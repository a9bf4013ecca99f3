//! What the documents for users show happens: their sessions, and the example scripts.

use crate::lab::Lab;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use vm_lab::machine::Options;
use vm_lab::{document, script};

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn sessions_of_instant_events_go_as_shown() {
    let parts = match document::read(&documents().join("instant-events.md")) {
        Ok(parts) => parts,
        Err(error) => panic!("{error:#}"),
    };
    let mut wrong = String::new();
    for part in parts {
        let mut lab = Lab::with(&part.machine.options());
        let mut session = Vec::new();
        let result = script::run(&part.script, &mut lab.ends(), true, &mut session);
        if !matches!(result, Ok(0)) {
            let session = String::from_utf8_lossy(&session);
            let _ = writeln!(wrong, "{:?}: {result:?}\n{session}", part.machine);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn examples_for_users_do_what_they_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/examples.ds");
    let script = match script::read(&file) {
        Ok(script) => script,
        Err(error) => panic!("{error:#}"),
    };
    let mut lab = Lab::with(&Options::default());
    let mut session = Vec::new();
    let result = script::run(&script, &mut lab.ends(), true, &mut session);
    let session = String::from_utf8_lossy(&session);
    assert!(matches!(result, Ok(0)), "{result:?}\n{session}");
}
