//! `output`: the sinks that messages of events can go to. Called by the command table.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::{Answer, Count, status};
use crate::sink::Target;

type Parsed = Result<Box<dyn Action>, ParseError>;

enum Output {
    List,
    Create(String, Target),
    Open(String),
    Close(String),
}

pub(super) fn output(mut arguments: Arguments<'_>) -> Parsed {
    let Some(word) = arguments.word() else {
        return Ok(Box::new(Output::List));
    };
    let action = word.to_ascii_lowercase();
    let output = match action.as_str() {
        "create" => create(&mut arguments)?,
        "open" => Output::Open(name(&mut arguments)?),
        "close" => Output::Close(name(&mut arguments)?),
        _ => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "create, open or close",
            });
        }
    };
    arguments.end()?;
    Ok(Box::new(output))
}

fn name(arguments: &mut Arguments<'_>) -> Result<String, ParseError> {
    let name = arguments.required_word("the name")?;
    if name.contains([',', '{', '}']) {
        return Err(ParseError::BadWord {
            word: name.to_owned(),
            expected: "a name, which has no comma and no braces",
        });
    }
    Ok(name.to_owned())
}

fn create(arguments: &mut Arguments<'_>) -> Result<Output, ParseError> {
    let name = name(arguments)?;
    let kind = arguments.required_word("file, tcp or namedpipe")?;
    let kind = kind.to_ascii_lowercase();
    if !["file", "tcp", "namedpipe"].contains(&kind.as_str()) {
        return Err(ParseError::BadWord {
            word: kind,
            expected: "file, tcp or namedpipe",
        });
    }
    let to = arguments.path("what it leads to")?;
    Ok(Output::Create(
        name,
        match kind.as_str() {
            "file" => Target::File(to.into()),
            "tcp" => Target::Tcp(to.to_owned()),
            _ => Target::Pipe(to.into()),
        },
    ))
}

impl Action for Output {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        Ok(match self {
            Self::List => list(debugger),
            Self::Create(name, target) => {
                debugger.sinks.create(name, target.clone())?;
                Answer::OutputCreated {
                    name: name.clone(),
                    target: target_of(target),
                }
            }
            Self::Open(name) => {
                debugger.sinks.open(name)?;
                Answer::OutputOpened { name: name.clone() }
            }
            Self::Close(name) => {
                debugger.sinks.close(name)?;
                Answer::OutputClosed { name: name.clone() }
            }
        })
    }
}

fn target_of(target: &Target) -> status::Target {
    let text = |path: &std::path::Path| path.display().to_string();
    match target {
        Target::File(path) => status::Target::File { path: text(path) },
        Target::Tcp(address) => status::Target::Tcp {
            address: address.clone(),
        },
        Target::Pipe(path) => status::Target::Namedpipe { path: text(path) },
    }
}

fn list(debugger: &Debugger) -> Answer {
    let outputs = debugger.sinks.list().into_iter();
    Answer::Outputs {
        outputs: outputs
            .map(|sink| status::Output {
                target: target_of(&sink.target),
                name: sink.name,
                is_open: sink.is_open,
                failure: sink.failure,
                messages: Count(sink.messages),
                bytes: Count(sink.bytes),
            })
            .collect(),
    }
}
