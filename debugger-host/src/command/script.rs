//! Files of commands. Neighbouring commands that add events travel in one message, yet each
//! reports its own result. Called by `main` and by the command table, for `.script`.

use super::dispatch::{command_of, respond, run_line};
use super::event::{AddEvent, report};
use super::text::{Line, commands_of};
use super::{Action, Arguments, CommandError, Debugger, ParseError, parse_line};
use crate::answer::{Answer, Report, Warning};
use crate::session::NewEvent;
use wire_protocol::limits::EVENTS_PER_REQUEST;

/// Scripts within scripts.
const DEPTH_LIMIT: usize = 16;

/// `$arg0`, `$arg1` … replaced; the highest number first, since `$arg1` begins `$arg10`.
fn with_arguments(text: &str, path: &str, arguments: &[String]) -> String {
    let mut text = text.to_owned();
    for (index, argument) in arguments.iter().enumerate().rev() {
        text = text.replace(&format!("$arg{}", index + 1), argument);
    }
    text.replace("$arg0", path)
}

struct Script {
    path: String,
    arguments: Vec<String>,
}

pub(super) fn run_script(mut arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    let path = arguments.required_word("the file")?.to_owned();
    let mut words = Vec::new();
    while let Some(word) = arguments.word() {
        words.push(word.to_owned());
    }
    Ok(Box::new(Script {
        path,
        arguments: words,
    }))
}

impl Action for Script {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        run(debugger, &self.path, &self.arguments, false)
    }
}

/// Runs a file of commands, reporting each before it runs.
///
/// # Errors
/// When the file cannot be read, or a command fails: at once, or at the end with `keep_going`.
pub fn run(
    debugger: &mut Debugger,
    path: &str,
    arguments: &[String],
    keep_going: bool,
) -> Result<Answer, CommandError> {
    if debugger.script_depth >= DEPTH_LIMIT {
        return Err(CommandError::ScriptDepth { limit: DEPTH_LIMIT });
    }
    let text = std::fs::read(path).map_err(|error| CommandError::Script {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    let text = with_arguments(&String::from_utf8_lossy(&text), path, arguments);
    let own = std::iter::once(path.to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    let outer = std::mem::replace(&mut debugger.script_arguments, own);
    debugger.script_depth += 1;
    let result = run_commands(debugger, &commands_of(&text), path, keep_going);
    debugger.script_depth -= 1;
    debugger.script_arguments = outer;
    result
}

fn run_commands(
    debugger: &mut Debugger,
    lines: &[Line],
    path: &str,
    keep_going: bool,
) -> Result<Answer, CommandError> {
    let (mut count, mut failed) = (0, 0);
    let mut rest = lines;
    while let [first, after @ ..] = rest {
        if debugger.is_leaving {
            break;
        }
        let group = event_group(rest);
        if group.len() > 1 {
            debugger.session.note_command(&first.text);
            debugger.session.begin_command();
            debugger.has_just_gone = false;
            debugger.show_news();
            let results = add_together(debugger, &rest[..group.len()], &group, keep_going);
            debugger.session.note_end_of_command();
            count += results.len();
            let bad = results.iter().filter(|is_good| !**is_good).count();
            failed += bad;
            if bad > 0 && !keep_going {
                let line = results.iter().position(|is_good| !is_good).unwrap_or(0);
                return Err(CommandError::ScriptFailed {
                    path: path.to_owned(),
                    line: rest[line].number,
                });
            }
            rest = &rest[group.len()..];
            continue;
        }
        announce(debugger, &first.text);
        count += 1;
        if !run_line(debugger, &first.text) {
            failed += 1;
            if !keep_going || debugger.session.timeout().is_interrupted() {
                return Err(CommandError::ScriptFailed {
                    path: path.to_owned(),
                    line: first.number,
                });
            }
        }
        rest = after;
    }
    match failed {
        0 => Ok(Answer::ScriptRan {
            // A file of more lines than this does not fit memory.
            commands: u32::try_from(count).unwrap_or(u32::MAX),
        }),
        _ => Err(CommandError::Partly { failed, count }),
    }
}

fn announce(debugger: &mut Debugger, line: &str) {
    debugger.show_news_after_command();
    let is_halted = debugger.session.halt().is_some();
    let core = is_halted.then(|| debugger.session.core().0);
    debugger.report(Report::Next { core, line });
}

/// Commands at the front that add an event each.
fn event_group(lines: &[Line]) -> Vec<Box<dyn Action>> {
    lines
        .iter()
        .take(EVENTS_PER_REQUEST)
        .map_while(|line| match parse_line(&line.text) {
            Ok(Some(action)) if action.as_event().is_some() => Some(action),
            _ => None,
        })
        .collect()
}

/// Adds the events of `lines` with one message. One result for each line that was run.
fn add_together(
    debugger: &mut Debugger,
    lines: &[Line],
    group: &[Box<dyn Action>],
    keep_going: bool,
) -> Vec<bool> {
    let events: Vec<&AddEvent> = group
        .iter()
        .filter_map(|action| action.as_event())
        .collect();
    let mut specs: Vec<Result<NewEvent, CommandError>> = Vec::new();
    let mut warnings: Vec<Vec<Warning>> = Vec::new();
    for event in events {
        let spec = event.spec(debugger);
        let is_bad = spec.is_err();
        specs.push(spec);
        warnings.push(std::mem::take(&mut debugger.warnings));
        if is_bad && !keep_going {
            break;
        }
    }
    let good: Vec<NewEvent> = specs
        .iter()
        .filter_map(|s| s.as_ref().ok())
        .cloned()
        .collect();
    let added = if good.is_empty() {
        None
    } else {
        Some(debugger.session.add_events(&good))
    };
    let mut added_results = match &added {
        Some(Ok(added)) => added.results.iter(),
        _ => [].iter(),
    };
    let free = match &added {
        Some(Ok(added)) => Some(added.free),
        _ => None,
    };
    let mut results = Vec::new();
    let count = specs.len();
    let commands = lines.iter().zip(specs).zip(warnings);
    for (index, ((line, spec), warnings)) in commands.enumerate() {
        announce(debugger, &line.text);
        let is_last = index + 1 == count;
        let result = match (spec, &added) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(Err(error))) => Err(error.clone().into()),
            (Ok(spec), _) => match added_results.next() {
                Some(result) => {
                    if let Some(event) = group[index].as_event() {
                        event.keep(debugger, &spec, Some(result));
                    }
                    report(debugger, &spec, result, free.as_ref().filter(|_| is_last))
                }
                None => Err(CommandError::NoResult {}),
            },
        };
        debugger.warnings = warnings;
        results.push(respond(debugger, &command_of(&line.text).0, result));
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_replaced_by_number() {
        let arguments: Vec<String> = (1..=11).map(|n| format!("<{n}>")).collect();
        assert_eq!(
            with_arguments("$arg0 $arg1 $arg11 $arg12", "f", &arguments),
            "f <1> <11> <1>2"
        );
    }

    #[test]
    fn neighbouring_events_form_a_group() {
        let lines = commands_of("!epthook 1000\n!cpuid 1\nevents\n!cpuid\n");
        assert_eq!(event_group(&lines).len(), 2);
        assert_eq!(event_group(&lines[2..]).len(), 0);
    }
}
