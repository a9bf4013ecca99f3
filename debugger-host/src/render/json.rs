//! Values for programs: one document per line. The shapes are those of [`crate::answer`];
//! [`schema`] writes them down.

use crate::answer::{Answer, FORM_VERSION, Message, News, Problem, Report, Response, Warning};
use crate::command::Command;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

/// One line.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
enum Document<'d> {
    /// A command did what it was asked for.
    Answer {
        /// Of the form.
        version: u32,
        /// The command's name.
        command: &'d str,
        /// What was met on the way.
        warnings: &'d [Warning],
        /// What a script printed that the command ran.
        messages: &'d [Message],
        /// What it found out or did.
        answer: &'d Answer,
    },
    /// A command was not carried out, or not to its end.
    Error {
        /// Of the form.
        version: u32,
        /// The command's name; empty if there is none of that name.
        command: &'d str,
        /// What was met on the way.
        warnings: &'d [Warning],
        /// What a script printed that the command ran.
        messages: &'d [Message],
        /// Why.
        error: &'d Problem,
    },
    /// Something happened by itself.
    News {
        /// Of the form.
        version: u32,
        /// What.
        news: &'d News,
    },
    /// A script runs this command next.
    Next {
        /// Of the form.
        version: u32,
        /// The operating core of a halted debuggee; null while it runs.
        core: Option<u16>,
        /// The command, as it stands in the script.
        line: &'d str,
    },
}

const VERSION: u32 = FORM_VERSION;

fn line(document: &Document<'_>) -> String {
    serde_json::to_string(document).unwrap_or_else(|error| {
        // Every type of an answer has a form; a test makes each.
        json!({ "type": "unwritable", "version": VERSION, "why": error.to_string() }).to_string()
    })
}

/// The documents of a report.
#[must_use]
pub fn lines(report: &Report<'_>) -> Vec<String> {
    match report {
        Report::Response(response) => vec![response_line(response)],
        Report::News(news) => news
            .iter()
            .map(|news| {
                line(&Document::News {
                    version: VERSION,
                    news,
                })
            })
            .collect(),
        Report::Next { core, line: text } => vec![line(&Document::Next {
            version: VERSION,
            core: *core,
            line: text,
        })],
    }
}

fn response_line(response: &Response) -> String {
    let Response {
        command,
        warnings,
        messages,
        result,
    } = response;
    line(&match result {
        Ok(answer) => Document::Answer {
            version: VERSION,
            command,
            warnings,
            messages,
            answer,
        },
        Err(error) => Document::Error {
            version: VERSION,
            command,
            warnings,
            messages,
            error,
        },
    })
}

/// The document that says why a session did not begin. `message` is what the program ends with.
#[must_use]
pub fn refused(message: &str) -> String {
    let error = Problem {
        kind: "not-connected".to_owned(),
        code: None,
        fields: Vec::new(),
        message: message.to_owned(),
    };
    line(&Document::Error {
        version: VERSION,
        command: "",
        warnings: &[],
        messages: &[],
        error: &error,
    })
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
}

/// The schema of every document of a session.
#[must_use]
pub fn schema() -> Schema {
    let mut schema = generator().into_root_schema_for::<Document<'static>>();
    pin_version(&mut schema);
    schema
}

/// The schema of the documents that `.json COMMAND` gives: its own answers, errors, and what may
/// come meanwhile.
#[must_use]
pub fn schema_of(command: &Command) -> Schema {
    let mut schema = schema();
    if !command.answers.contains(&"*") {
        keep_answers(&mut schema, command.answers);
    }
    let title = format!("`{}`", command.names[0]);
    schema.insert("title".to_owned(), title.into());
    schema
}

/// `version` is this one.
fn pin_version(schema: &mut Schema) {
    if let Some(Value::Array(documents)) = schema.get_mut("oneOf") {
        for document in documents {
            if let Some(version) = document.pointer_mut("/properties/version") {
                *version = json!({
                    "description": "Counts changes of the JSON form.",
                    "const": VERSION
                });
            }
        }
    }
}

/// Leaves only the answers whose kinds are listed.
fn keep_answers(schema: &mut Schema, kinds: &[&str]) {
    if let Some(answers) = schema
        .get_mut("$defs")
        .and_then(|definitions| definitions.pointer_mut("/Answer/oneOf"))
        .and_then(Value::as_array_mut)
    {
        answers.retain(|answer| {
            answer
                .pointer("/properties/kind/const")
                .and_then(Value::as_str)
                .is_some_and(|kind| kinds.contains(&kind))
        });
    }
}
