//! Commands from a pipe. For programs: the output of each, then a mark with its result, and
//! nothing else. Called by `main`.

use crate::command::{Debugger, open_braces, run_line};
use crate::render::Screen;
use std::io::BufRead;

/// What follows the output of a command.
#[must_use]
pub const fn mark(is_good: bool) -> &'static str {
    if is_good { "\x1e0" } else { "\x1e1" }
}

/// Runs commands until the input ends or `exit`. With `marks`, [`mark`] follows each there.
///
/// # Errors
/// When the input cannot be read.
pub fn run(
    debugger: &mut Debugger,
    mut input: impl BufRead,
    marks: Option<&Screen>,
) -> std::io::Result<()> {
    let mut block = String::new();
    let mut bytes = Vec::new();
    while !debugger.is_leaving {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        block.push_str(&String::from_utf8_lossy(&bytes));
        if open_braces(&block) > 0 {
            continue;
        }
        let line = std::mem::take(&mut block);
        // An empty line is no command here: nobody sits before it.
        let is_good = line.trim().is_empty() || run_line(debugger, line.trim());
        if let Some(screen) = marks {
            screen.line(mark(is_good));
        }
    }
    Ok(())
}
