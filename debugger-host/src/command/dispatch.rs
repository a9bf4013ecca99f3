//! One line: read, carried out, its response reported. Called by [`crate::repl`] for what is typed
//! and by [`super::script`] for what stands in files.

use super::text::without_comments;
use super::{CommandError, Debugger, JSON, find, parse, parse_line};
use crate::answer::{Answer, Form, Problem, Report, Response};

/// Runs one command and reports what came of it. Returns whether it went well.
pub fn run_line(debugger: &mut Debugger, line: &str) -> bool {
    debugger.session.note_command(line);
    let is_good = run_noted_line(debugger, line);
    debugger.session.note_end_of_command();
    is_good
}

fn run_noted_line(debugger: &mut Debugger, line: &str) -> bool {
    debugger.session.begin_command();
    debugger.has_just_gone = false;
    debugger.show_news();
    let line = match continued(debugger, line) {
        Some(line) => line,
        None => line.to_owned(),
    };
    let outer = debugger.form;
    let (name, is_json) = command_of(&line);
    if is_json {
        debugger.form = Form::Json;
    }
    let result = match parse_line(&line) {
        Ok(None) => None,
        Ok(Some(action)) => {
            debugger.continuation = None;
            Some(action.run(debugger))
        }
        Err(error) => Some(Err(CommandError::Parse(error))),
    };
    let is_good = result.is_none_or(|result| respond(debugger, &name, result));
    // What came while the command ran is shown at once.
    debugger.show_news_after_command();
    debugger.form = outer;
    is_good
}

/// Reports what came of a command, with all that it met on its way. Returns whether it went well.
pub(super) fn respond(
    debugger: &mut Debugger,
    command: &str,
    result: Result<Answer, CommandError>,
) -> bool {
    let response = Response {
        command: command.to_owned(),
        warnings: std::mem::take(&mut debugger.warnings),
        messages: std::mem::take(&mut debugger.messages),
        result: result.map_err(|error| Problem::from(&error)),
    };
    debugger.report(Report::Response(&response));
    response.result.is_ok()
}

/// The name of a line's command as in the table, empty if there is none; and whether its answer
/// is wanted as JSON.
pub(super) fn command_of(line: &str) -> (String, bool) {
    let Ok(line) = without_comments(line) else {
        return (String::new(), false);
    };
    let (word, rest) = parse::split(&line);
    let is_json = word.eq_ignore_ascii_case(JSON);
    let word = match is_json {
        true => parse::split(rest).0,
        false => word,
    };
    let name = find(word).map_or_else(String::new, |row| row.names[0].to_owned());
    (name, is_json)
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
