//! At what the debuggee halts by itself, and how its kernel is ended on purpose.

use super::{Action, Arguments, CommandError, Debugger, ParseError, lockup};
use crate::answer::Answer;
use crate::answer::occasion::{EndName, OccasionLine, OccasionName};
use wire_protocol::limits;
use wire_protocol::packet::{Occasion, OccasionRule, OccasionText};

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Names of all, for whoever typed another.
const NAMES: &str = "panic, oops, warn, double-fault, triple-fault, reboot, power-off, hung-task, soft-lockup, hard-lockup, \
                     module-load, module-unload, create, exit, signal, process, int3 or gp";

/// What is to be otherwise; only that is shown, or all if there is nothing.
struct Change(Vec<OccasionRule>);

pub(super) fn list(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Change(Vec::new())))
}

pub(super) fn reset(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Reset))
}

/// What the kernel tells of, or what takes a breakpoint.
enum What {
    Told(Occasion),
    Found(OccasionName),
}

fn what(arguments: &mut Arguments<'_>) -> Result<What, ParseError> {
    let word = arguments.required_word("what it is about")?;
    if let Some(name) = lockup::named(word) {
        return Ok(What::Found(name));
    }
    let named = |occasion: &Occasion| OccasionName::from(*occasion).is_called(word);
    let found = Occasion::ALL.into_iter().find(named);
    found.map(What::Told).ok_or_else(|| ParseError::BadWord {
        word: word.to_owned(),
        expected: NAMES,
    })
}

pub(super) fn enable(mut arguments: Arguments<'_>) -> Parsed {
    let what = what(&mut arguments)?;
    let name = arguments.word().unwrap_or_default();
    arguments.end()?;
    let (of, has_name) = match what {
        What::Told(occasion) => (OccasionName::from(occasion), occasion.has_name()),
        What::Found(of) => (of, false),
    };
    if !name.is_empty() && !has_name {
        return Err(ParseError::Unfit {
            option: of.names()[0],
            why: "has no name that it could be for alone",
        });
    }
    match what {
        What::Told(occasion) => rule(occasion, true, name),
        What::Found(of) => Ok(Box::new(lockup::Change(of, true))),
    }
}

pub(super) fn disable(mut arguments: Arguments<'_>) -> Parsed {
    let what = what(&mut arguments)?;
    arguments.end()?;
    match what {
        What::Told(occasion) => rule(occasion, false, ""),
        What::Found(of) => Ok(Box::new(lockup::Change(of, false))),
    }
}

/// Bytes of a thread's name.
const TASK_NAME_BYTES: usize = 15;

/// A name as the kernel has it: that of a module without hyphens, that of a thread cut.
fn as_kept(occasion: Occasion, name: &str) -> String {
    match occasion {
        Occasion::ModuleLoad | Occasion::ModuleUnload => name.replace('-', "_"),
        _ => {
            let len = name.floor_char_boundary(TASK_NAME_BYTES);
            name[..len].to_owned()
        }
    }
}

fn rule(occasion: Occasion, stops: bool, name: &str) -> Parsed {
    let name = as_kept(occasion, name);
    if name.len() > limits::OCCASION_TEXT_BYTES {
        return Err(ParseError::Unfit {
            option: "the name",
            why: "is longer than any that the kernel has",
        });
    }
    Ok(Box::new(Change(vec![OccasionRule {
        occasion,
        stops,
        name: OccasionText::new(name.as_bytes()),
    }])))
}

impl Action for Change {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let is_shown = |occasion: Occasion| {
            self.0.is_empty() || self.0.iter().any(|change| change.occasion == occasion)
        };
        let rules = debugger.session.occasions(&self.0)?;
        let shown = rules.iter().filter(|rule| is_shown(rule.occasion));
        let occasions = shown.map(|rule| OccasionLine {
            name: rule.occasion.into(),
            halts: rule.stops,
            only: (!rule.name.is_empty())
                .then(|| String::from_utf8_lossy(rule.name.as_bytes()).into_owned()),
        });
        let mut occasions: Vec<_> = occasions.collect();
        if self.0.is_empty() {
            occasions.extend(lockup::lines(debugger)?);
        }
        Ok(Answer::Occasions { occasions })
    }
}

/// All as it was at first.
struct Reset;

impl Action for Reset {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.forget_lockups()?;
        let all = Occasion::ALL.map(OccasionRule::at_first);
        debugger.session.occasions(&all)?;
        Change(Vec::new()).run(debugger)
    }
}

struct Crash;

pub(super) fn crash(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Crash))
}

impl Action for Crash {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.crash()?;
        debugger.back_up();
        debugger.session.go()?;
        debugger.has_just_gone = true;
        Ok(Answer::Done {})
    }
}

struct Restart;

pub(super) fn restart(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Restart))
}

impl Action for Restart {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.back_up();
        debugger.session.restart()?;
        Ok(Answer::Ends {
            end: EndName::Restarts,
        })
    }
}
