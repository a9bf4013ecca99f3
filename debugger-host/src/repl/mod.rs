//! Lines in, lines out: at a terminal ([`interactive`]), from a pipe ([`batch`]), from a file
//! ([`script`]). Called by `main`.

pub mod batch;
mod complete;
pub mod interactive;
pub mod script;

use crate::command::{self, CommandError, Debugger};

/// Runs one command, and shows what went wrong, if it did. Returns whether it went well.
pub fn run_line(debugger: &mut Debugger, line: &str) -> bool {
    debugger.session.begin_command();
    debugger.show_news();
    let line = match continued(debugger, line) {
        Some(line) => line,
        None => line.to_owned(),
    };
    let result = match command::parse_line(&line) {
        Ok(None) => Ok(()),
        Ok(Some(action)) => {
            debugger.continuation = None;
            action.run(debugger)
        }
        Err(error) => Err(CommandError::Parse(error)),
    };
    // What came while the command ran is shown at once.
    debugger.show_news();
    match result {
        Ok(()) => true,
        Err(error) => {
            debugger.out.line(error);
            false
        }
    }
}

/// Enter alone goes on with a dump.
fn continued(debugger: &Debugger, line: &str) -> Option<String> {
    let more = debugger
        .continuation
        .as_ref()
        .filter(|_| line.trim().is_empty())?;
    Some(format!(
        "{} {:x} l {:x}",
        more.command, more.address, more.len
    ))
}

/// The prompt of a halted debuggee.
#[must_use]
pub fn prompt(debugger: &Debugger) -> String {
    match debugger.session.halt() {
        Some(_) => format!("{}: kd> ", debugger.session.core()),
        None => String::new(),
    }
}
