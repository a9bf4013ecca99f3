//! Options that the event commands share. Called by [`super::trigger`]; help and documentation
//! come from the same table.

use super::source::Source;
use crate::command::{Arguments, ParseError};
use crate::expression::Expression;
use crate::types::near::nearest;
use crate::types::{number, register};
use wire_protocol::event::Stage;

/// An option of the table.
pub(in crate::command) struct EventOption {
    /// The word that begins it.
    pub(in crate::command) name: &'static str,
    /// How it is written.
    pub(in crate::command) syntax: &'static str,
    /// One line.
    pub(in crate::command) summary: &'static str,
}

/// Sinks of one event.
const OUTPUT_LIMIT: usize = 5;

/// Every option, in the order of the help.
pub(in crate::command) static OPTIONS: &[EventOption] = &[
    EventOption {
        name: "pid",
        syntax: "pid P|all",
        summary: "only in the process P: its number, or its name if no other one has it",
    },
    EventOption {
        name: "tid",
        syntax: "tid T|all",
        summary: "only in the thread of number T",
    },
    EventOption {
        name: "core",
        syntax: "core C|all",
        summary: "only on core C",
    },
    EventOption {
        name: "stage",
        syntax: "stage pre|post|all",
        summary: "before what is watched takes effect (pre, the default), after it, or both times",
    },
    EventOption {
        name: "sc",
        syntax: "sc on|off",
        summary: "short-circuit: what is watched does not take effect (stage pre alone)",
    },
    EventOption {
        name: "imm",
        syntax: "imm yes|no",
        summary: "send each message at once (the default), or when a batch is full or at a halt",
    },
    EventOption {
        name: "buffer",
        syntax: "buffer BYTES",
        summary: "scratch memory, shared by all cores: $buffer in scripts, rcx in code",
    },
    EventOption {
        name: "condition",
        syntax: "condition {EXPRESSION|HEX BYTES}",
        summary: "go on only if the expression, or what machine code leaves in rax, is not 0",
    },
    EventOption {
        name: "script",
        syntax: "script {STATEMENTS} | script {file:PATH}",
        summary: "run a script",
    },
    EventOption {
        name: "code",
        syntax: "code {HEX BYTES}",
        summary: "run machine code: rcx = buffer, rdx = saved registers, r8 = $context",
    },
    EventOption {
        name: "asm",
        syntax: "asm condition|code {INSTRUCTION; …}",
        summary: "the same as text: rcx = saved registers and rdx = $context in a condition",
    },
    EventOption {
        name: "output",
        syntax: "output {NAME, …}",
        summary: "messages go to these sinks, not to the screen (at most 5; not with imm no)",
    },
    EventOption {
        name: "force",
        syntax: "force",
        summary: "hook an address at which no instruction starts, whatever comes of it",
    },
    EventOption {
        name: "passes",
        syntax: "passes N",
        summary: "of breakpoints: act from the Nth pass on; those before are counted",
    },
    EventOption {
        name: "once",
        syntax: "once",
        summary: "of breakpoints: clear it when it has halted",
    },
];

/// The two that only breakpoints have.
const OF_BREAKPOINTS: [&str; 2] = ["passes", "once"];

/// What is said of all of them.
pub(in crate::command) const OPTIONS_DETAILS: &str = "In any order, each at most once. With neither script nor code the debuggee halts (break).\n\
     Machine code runs in VMX-root on a stack of its own; a missing `ret` is added. Saved registers\n\
     stand in the order rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15, eight bytes each. Code\n\
     that raises an exception, or does not end, disables its event.";

/// A process as typed.
pub(super) enum Process {
    /// Its number.
    Number(Expression),
    /// Its name.
    Name(String),
}

/// Options as typed.
pub(super) struct Options {
    pub(super) pid: Option<Process>,
    pub(super) tid: Option<Expression>,
    pub(super) core: Option<Expression>,
    pub(super) stage: Stage,
    pub(super) short_circuit: bool,
    pub(super) immediate: bool,
    pub(super) buffer: Option<Expression>,
    pub(super) condition: Option<Source>,
    pub(super) script: Option<Source>,
    pub(super) code: Option<Source>,
    pub(super) output: Vec<String>,
    pub(super) is_forced: bool,
    pub(super) passes: Option<Expression>,
    pub(super) is_once: bool,
}

/// Whether an option comes next.
pub(super) fn begins_here(arguments: &Arguments<'_>) -> bool {
    find(arguments.clone().name().unwrap_or_default()).is_some()
}

fn find(word: &str) -> Option<&'static EventOption> {
    OPTIONS
        .iter()
        .find(|option| option.name.eq_ignore_ascii_case(word))
}

/// That `word` is no option, with the nearest one,
/// or one of `others` that could stand there, too.
pub(super) fn unknown(word: &str, others: &[(&'static str, u32)]) -> ParseError {
    let names = OPTIONS.iter().map(|option| option.name);
    let names = names.chain(others.iter().map(|(name, _)| *name));
    let similar = nearest(&word.to_ascii_lowercase(), names).map(str::to_owned);
    ParseError::UnknownOption {
        option: word.to_owned(),
        similar,
    }
}

/// The number of an option. The next option's name is none.
fn counted(arguments: &mut Arguments<'_>, option: &'static str) -> Result<Expression, ParseError> {
    if begins_here(arguments) {
        return Err(arguments.missing(match option {
            "pid" => "the process behind `pid`",
            "tid" => "the thread behind `tid`",
            "core" => "the core behind `core`",
            "passes" => "the number of the pass behind `passes`",
            _ => "the number of bytes behind `buffer`",
        }));
    }
    arguments.number(option)
}

/// A process: what can be a number is one, any other word a name. A register is neither.
fn process(arguments: &mut Arguments<'_>) -> Result<Process, ParseError> {
    let mut ahead = arguments.clone();
    let word = ahead.word().unwrap_or_default();
    let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && !word.contains(['(', '!', '{'])
        && number::parse(word).is_err()
        && register::part(&word.to_ascii_lowercase()).is_none();
    if !is_name || begins_here(arguments) {
        return counted(arguments, "pid").map(Process::Number);
    }
    *arguments = ahead;
    Ok(Process::Name(word.to_owned()))
}

/// One of two or three words.
fn choose<T: Copy>(
    arguments: &mut Arguments<'_>,
    expected: &'static str,
    choices: &[(&str, T)],
) -> Result<T, ParseError> {
    let word = arguments.required_word(expected)?;
    choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, choice)| *choice)
        .ok_or_else(|| ParseError::BadWord {
            word: word.to_owned(),
            expected,
        })
}

impl Options {
    /// Reads options until the command ends.
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Self, ParseError> {
        let mut options = Self {
            pid: None,
            tid: None,
            core: None,
            stage: Stage::Pre,
            short_circuit: false,
            immediate: true,
            buffer: None,
            condition: None,
            script: None,
            code: None,
            output: Vec::new(),
            is_forced: false,
            passes: None,
            is_once: false,
        };
        let mut seen = Vec::new();
        while !arguments.is_empty() {
            let Some(word) = arguments.name() else {
                arguments.end()?;
                break;
            };
            let option = find(word).ok_or_else(|| unknown(word, &[]))?.name;
            let slot = match option {
                "asm" => choose(
                    arguments,
                    "condition or code",
                    &[("condition", "condition"), ("code", "code")],
                )?,
                other => other,
            };
            if seen.contains(&slot) {
                return Err(ParseError::Twice { option: slot });
            }
            seen.push(slot);
            options.take(option, slot, arguments)?;
        }
        options.fit_together()?;
        Ok(options)
    }

    fn take(
        &mut self,
        option: &str,
        slot: &'static str,
        arguments: &mut Arguments<'_>,
    ) -> Result<(), ParseError> {
        match slot {
            "pid" if !arguments.keyword("all") => self.pid = Some(process(arguments)?),
            "tid" if !arguments.keyword("all") => self.tid = Some(counted(arguments, slot)?),
            "passes" => self.passes = Some(counted(arguments, slot)?),
            "once" => self.is_once = true,
            "core" if !arguments.keyword("all") => self.core = Some(counted(arguments, slot)?),
            "buffer" => self.buffer = Some(counted(arguments, slot)?),
            "stage" => {
                let stages = [
                    ("pre", Stage::Pre),
                    ("post", Stage::Post),
                    ("all", Stage::All),
                ];
                self.stage = choose(arguments, "pre, post or all", &stages)?;
            }
            "sc" => {
                let choices = [("on", true), ("off", false)];
                self.short_circuit = choose(arguments, "on or off", &choices)?;
            }
            "imm" => {
                let choices = [("yes", true), ("no", false)];
                self.immediate = choose(arguments, "yes or no", &choices)?;
            }
            "script" => {
                let text = arguments.required_block("the block of `script`")?;
                self.script = Some(Source::script(text)?);
            }
            "condition" => {
                let text = arguments.required_block("the block of `condition`")?;
                self.condition = Some(match option {
                    "asm" => Source::assembly(text)?,
                    _ => Source::condition(text)?,
                });
            }
            "code" => {
                let text = arguments.required_block("the block of `code`")?;
                self.code = Some(match option {
                    "asm" => Source::assembly(text)?,
                    _ => Source::bytes(text)?,
                });
            }
            "force" => self.is_forced = true,
            "output" => self.output = sinks(arguments.required_block("the block of `output`")?)?,
            _ => {}
        }
        Ok(())
    }

    /// The first option that only breakpoints have.
    pub(super) fn of_breakpoints(&self) -> Option<&'static str> {
        let given = [self.passes.is_some(), self.is_once];
        let found = OF_BREAKPOINTS.into_iter().zip(given);
        found
            .filter(|(_, is_given)| *is_given)
            .map(|(name, _)| name)
            .next()
    }

    fn fit_together(&self) -> Result<(), ParseError> {
        if self.short_circuit && self.stage.has_post() {
            return Err(ParseError::Exclusive {
                one: "sc on",
                other: if self.stage == Stage::All {
                    "stage all"
                } else {
                    "stage post"
                },
                help: "what is skipped has no time after it; leave the stage at `pre`",
            });
        }
        if !self.immediate && !self.output.is_empty() {
            return Err(ParseError::Exclusive {
                one: "imm no",
                other: "output",
                help: "sinks get each message at once; leave out `imm no`",
            });
        }
        Ok(())
    }
}

fn sinks(text: &str) -> Result<Vec<String>, ParseError> {
    let names: Vec<String> = text
        .split([',', ' ', '\t', '\n', '\r'])
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    match names.len() {
        0 => Err(ParseError::BadBlock {
            option: "output",
            why: "it names no sink; `output` lists them".to_owned(),
        }),
        count if count > OUTPUT_LIMIT => Err(ParseError::TooManyOutputs {
            count,
            limit: OUTPUT_LIMIT,
        }),
        _ => match names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name))
        {
            Some((_, name)) => Err(ParseError::OutputTwice { name: name.clone() }),
            None => Ok(names),
        },
    }
}
