//! The JSON form of every command, validated by its schema, against the made-up debuggee.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::answer::FORM_VERSION;
use debugger_host::command::problem::shapes;
use debugger_host::command::{COMMANDS, find, parse};
use debugger_host::render::json::{schema, schema_of};
use fake::Debuggee;
use fake::host::Host;
use fake::sessions::{FOLDER, Step, carry_out, files, steps};
use jsonschema::Validator;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

fn validator(schema: schemars::Schema) -> Validator {
    jsonschema::draft202012::new(&schema.to_value()).expect("a schema")
}

fn assert_valid(validator: &Validator, document: &Value, of: &str) {
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{of}: {document}: {errors:?}");
}

fn documents(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("`{line}` is no JSON: {error}"))
        })
        .collect()
}

fn text_of<'v>(document: &'v Value, pointer: &str) -> &'v str {
    document
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {document}"))
}

/// The list has this kind of problem with these fields.
fn assert_listed(problem: &Value) {
    let kind = text_of(problem, "/kind");
    let fields = problem["fields"].as_array().expect("a list");
    let fields: Vec<&str> = fields.iter().map(|field| text_of(field, "/name")).collect();
    let is_listed = shapes().into_iter().any(|(name, parts)| {
        let rest = fields.strip_prefix(parts);
        let is_about = |rest: &[&str]| matches!(rest, [] | ["argument" | "option"]);
        name == kind && rest.is_some_and(is_about)
    });
    assert!(is_listed, "{problem}");
}

/// Name of the row that a line's command has.
fn row(line: &str) -> Option<&'static str> {
    let (name, rest) = parse::split(line);
    let name = match name {
        ".json" => parse::split(rest).0,
        name => name,
    };
    find(name).map(|row| row.names[0])
}

#[test]
fn every_command_answers_as_its_schema_says() {
    let of_session = validator(schema());
    let of_commands: BTreeMap<&str, Validator> = COMMANDS
        .iter()
        .map(|row| (row.names[0], validator(schema_of(row))))
        .collect();
    let mut answered = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for file in files("sessions") {
        let debuggee = Debuggee::start();
        let folder = debuggee.socket.parent().expect("it is in a folder");
        let folder = folder.to_str().expect("a plain name").to_owned();
        let (mut host, _) = Host::connect(&debuggee);
        for step in steps(&fs::read_to_string(&file).expect("readable")) {
            let Step::Command { text, printed } = step else {
                if let Step::Order { line, text } = step {
                    carry_out(&debuggee, &line, &text);
                }
                continue;
            };
            let line = match text.starts_with(".json") {
                true => text,
                false => format!(".json {text}"),
            };
            let (answer, is_good) = host.run(&line.replace(FOLDER, &folder));
            assert_eq!(
                is_good,
                !printed.ends_with("(failed)\n"),
                "{line}: {answer}"
            );
            // What the debuggee said before the command is for people.
            let answer: String = answer
                .lines()
                .skip_while(|line| !line.starts_with('{'))
                .map(|line| format!("{line}\n"))
                .collect();
            let documents = documents(&answer);
            for document in &documents {
                assert_valid(&of_session, document, &line);
            }
            let last = documents
                .iter()
                .rfind(|document| text_of(document, "/type") != "news")
                .unwrap_or_else(|| panic!("{line}: no answer"));
            if !is_good {
                assert_listed(&last["error"]);
            }
            let kind = text_of(last, "/type");
            assert_eq!(kind, if is_good { "answer" } else { "error" }, "{line}");
            assert_eq!(
                text_of(last, "/command"),
                row(&line).unwrap_or(""),
                "{line}"
            );
            if let Some(row) = row(&line) {
                assert_valid(&of_commands[row], last, &line);
                if is_good {
                    answered.insert(row);
                    kinds.insert(text_of(last, "/answer/kind").to_owned());
                }
            }
        }
    }
    for row in COMMANDS.iter().filter(|row| row.names[0] != ".json") {
        assert!(
            answered.contains(row.names[0]),
            "no `.json {}`",
            row.names[0]
        );
        for kind in row.answers {
            assert!(kinds.contains(*kind), "no session has the answer `{kind}`");
        }
    }
}

/// Kinds of answers that the schema has.
fn kinds(schema: &Value) -> BTreeSet<String> {
    schema
        .pointer("/$defs/Answer/oneOf")
        .and_then(Value::as_array)
        .expect("answers")
        .iter()
        .map(|answer| text_of(answer, "/properties/kind/const").to_owned())
        .collect()
}

#[test]
fn every_command_has_a_schema() {
    let all = kinds(&schema().to_value());
    let mut used = BTreeSet::from(["connected".to_owned()]);
    for row in COMMANDS.iter().filter(|row| row.names[0] != ".json") {
        assert!(!row.answers.is_empty(), "`{}` has no schema", row.names[0]);
        let of_row = kinds(&schema_of(row).to_value());
        let listed: BTreeSet<String> = row.answers.iter().map(|kind| (*kind).to_owned()).collect();
        assert_eq!(of_row, listed, "{}", row.names[0]);
        used.extend(listed);
    }
    assert_eq!(used, all, "every kind of answer is a command's");
}

/// Every object of a schema, with its place.
fn objects<'v>(value: &'v Value, place: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(map) => {
            if map.get("type").and_then(Value::as_str) == Some("object")
                || map.contains_key("properties")
            {
                found.push((place.to_owned(), value));
            }
            for (key, inner) in map {
                objects(inner, &format!("{place}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                objects(inner, &format!("{place}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn schemas_forbid_unknown_keys() {
    let schema = schema().to_value();
    let mut found = Vec::new();
    objects(&schema, "", &mut found);
    assert!(found.len() > 60, "{}", found.len());
    for (place, object) in found {
        assert_eq!(
            object.get("additionalProperties"),
            Some(&Value::Bool(false)),
            "{place}"
        );
        let properties = object["properties"].as_object().map_or(0, |map| map.len());
        let required = object["required"].as_array().map_or(0, Vec::len);
        assert_eq!(properties, required, "{place}: every key is always there");
    }
    let valid: Value = serde_json::json!({
        "type": "answer", "version": FORM_VERSION, "command": "g", "warnings": [], "messages": [],
        "answer": { "kind": "done" }
    });
    let of_g = validator(schema_of(find("g").expect("a row")));
    assert_valid(&of_g, &valid, "g");
    for (pointer, key) in [("", "more"), ("/answer", "more")] {
        let mut wrong = valid.clone();
        let object = wrong.pointer_mut(pointer).and_then(Value::as_object_mut);
        object
            .expect("an object")
            .insert(key.to_owned(), Value::Null);
        assert!(!of_g.is_valid(&wrong), "{wrong}");
    }
    for (pointer, value) in [
        ("/version", Value::from(FORM_VERSION + 1)),
        ("/answer/kind", Value::from("cleared")),
        ("/warnings", Value::Null),
    ] {
        let mut wrong = valid.clone();
        *wrong.pointer_mut(pointer).expect("it is there") = value;
        assert!(!of_g.is_valid(&wrong), "{wrong}");
    }
}

/// What a whole session prints on standard output.
fn session(debuggee: &Debuggee, arguments: &[&str], input: &str) -> (String, bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .args(["connect", "--json", "--symbols"])
        .arg(debuggee.symbols())
        .arg("--socket")
        .arg(&debuggee.socket)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).expect("it listens");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    (text, output.status.success())
}

#[test]
fn a_whole_session_is_a_document_per_line() {
    let debuggee = Debuggee::start();
    let of_session = validator(schema());
    let input = "pause\n!epthook vfs_read script { printf(\"%x\\n\", @rax); }\n? {\n print(@rip);\n}\n\
                 // nothing\nfrobnicate\nr rax\n";
    let (text, is_good) = session(&debuggee, &["--break-in"], input);
    assert!(is_good, "{text}");
    let documents = documents(&text);
    let mut seen = Vec::new();
    for document in &documents {
        assert_valid(&of_session, document, "session");
        let kind = text_of(document, "/type");
        seen.push(match kind {
            "news" => text_of(document, "/news/kind").to_owned(),
            "answer" => text_of(document, "/answer/kind").to_owned(),
            _ => text_of(document, "/error/kind").to_owned(),
        });
    }
    assert_eq!(
        seen,
        [
            "connected",
            "halted",
            "done",
            "halted-already",
            "event-added",
            "ran",
            "unknown-command",
            "register"
        ]
    );
    assert_eq!(
        documents[1].pointer("/news/halt/at/symbol/name"),
        Some(&Value::from("do_sys_openat2"))
    );
    assert_eq!(
        documents[5].pointer("/messages/0/content/text"),
        Some(&Value::from("ffffffff91001000\n"))
    );
    assert_eq!(documents[7]["answer"]["value"], "0x1000");
}

#[test]
fn a_script_of_a_json_session_tells_each_command() {
    let debuggee = Debuggee::start();
    let file = debuggee.file("two.ds", "pause\n!cpuid 1\n!tsc output { none }\nr rax\n");
    let path = file.to_str().expect("a plain name");
    let (text, is_good) = session(&debuggee, &["--script", path, "--keep-going"], "");
    assert!(!is_good);
    let of_session = validator(schema());
    let documents = documents(&text);
    let types: Vec<&str> = documents
        .iter()
        .map(|document| {
            assert_valid(&of_session, document, "script");
            text_of(document, "/type")
        })
        .collect();
    assert_eq!(
        types,
        [
            "answer", "next", "news", "answer", "next", "answer", "next", "error", "next", "answer"
        ]
    );
}

#[test]
fn a_long_wait_is_told_while_it_lasts() {
    let debuggee = Debuggee::start();
    // Break-ins are repeated five times a second.
    debuggee.controls.deaf_for.store(30, Ordering::Relaxed);
    let (text, is_good) = session(&debuggee, &[], "pause\n");
    assert!(is_good, "{text}");
    let documents = documents(&text);
    let waiting = &documents[1];
    assert_valid(&validator(schema()), waiting, "pause");
    assert_eq!(text_of(waiting, "/news/kind"), "waiting");
    assert_eq!(waiting["news"]["request"], Value::Null);
    assert_eq!(text_of(&documents[2], "/news/kind"), "halted");
}

#[test]
fn what_keeps_a_session_from_beginning_is_a_document_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .args(["connect", "--json", "--socket", "/"])
        .output()
        .expect("the program starts");
    assert!(!output.status.success());
    let documents = documents(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert_valid(&validator(schema()), &documents[0], "connect");
    assert_eq!(text_of(&documents[0], "/error/kind"), "not-connected");
}

#[test]
fn the_program_prints_its_schemas() {
    for (arguments, expected) in [
        (vec!["schema"], schema()),
        (vec!["schema", "r"], schema_of(find("r").expect("a row"))),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_standstill"))
            .args(&arguments)
            .output()
            .expect("the program starts");
        let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(printed, expected.to_value(), "{arguments:?}");
    }
}
