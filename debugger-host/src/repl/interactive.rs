//! At a terminal: a prompt while the debuggee is halted, or there is none; while it runs no prompt, yet lines can
//! be typed and Ctrl+C breaks in. What is pasted or typed ahead runs in order, each command behind
//! its prompt, until one fails. Called by `main`.

use super::complete::Names;
use super::keyboard::{Input, Keyboard};
use super::prompt;
use crate::command::{Debugger, run_line};
use crate::render::{Screen, text};
use crate::timeout::Interrupts;
use rustyline::error::ReadlineError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at keyboard and line while the debuggee runs.
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// Runs until `exit` or the end of the input.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(
    debugger: &mut Debugger,
    interrupts: &Interrupts,
    screen: &Screen,
) -> Result<(), ReadlineError> {
    let mut keyboard = Keyboard::new(Names::new(debugger.symbols.kernel().cloned()))?;
    while !debugger.is_leaving {
        let session = &debugger.session;
        let input = if session.halt().is_some() || !session.is_connected() {
            screen.end_line();
            keyboard.at_prompt(&prompt(debugger))?
        } else {
            while_running(debugger, interrupts, &mut keyboard)?
        };
        let command = match input {
            Input::Command { text, is_hidden } => {
                if is_hidden {
                    screen.line(format!("{}{text}", prompt(debugger)));
                }
                text
            }
            Input::Nothing => continue,
            Input::End => break,
        };
        if !run_line(debugger, &command)
            && let count @ 1.. = keyboard.drop_rest()?
        {
            screen.line(text::not_run(count));
        }
    }
    if !debugger.is_leaving && debugger.session.halt().is_some() {
        run_line(debugger, "exit");
    }
    Ok(())
}

/// What is typed until the debuggee halts or Ctrl+C is pressed.
fn while_running(
    debugger: &mut Debugger,
    interrupts: &Interrupts,
    keyboard: &mut Keyboard,
) -> Result<Input, ReadlineError> {
    let seen = interrupts.load(Ordering::Relaxed);
    loop {
        debugger.show_news();
        if debugger.session.halt().is_some() || !debugger.session.is_connected() {
            return Ok(Input::Nothing);
        }
        if interrupts.load(Ordering::Relaxed) != seen {
            run_line(debugger, "pause");
            return Ok(Input::Nothing);
        }
        match keyboard.while_running(POLL_INTERVAL)? {
            Input::Nothing => {}
            input => return Ok(input),
        }
    }
}
