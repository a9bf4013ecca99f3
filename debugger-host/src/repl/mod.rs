//! Lines in, lines out: at a terminal ([`interactive`]), from a pipe ([`batch`]). Called by `main`.

pub mod batch;
mod complete;
pub mod interactive;
mod keyboard;

use crate::answer::TaskName;
use crate::command::Debugger;
use crate::render::text;

/// The prompt of a halted debuggee, and that of none; empty while it runs.
#[must_use]
fn prompt(debugger: &Debugger) -> String {
    if !debugger.session.is_connected() {
        return text::PROMPT_OF_NONE.to_owned();
    }
    let is_halted = debugger.session.halt().is_some();
    let core = is_halted.then(|| debugger.session.core().0);
    let looked_at = debugger.context().map(|of| of.id());
    let task = looked_at.or(debugger.session.current_task());
    let task = task.map(TaskName::from);
    text::prompt(core, task.as_ref()).unwrap_or_default()
}
