//! The tables of `docs/wire-format.md` say what the code does, and so do those of the dissector.

use super::kind::{NoticeKind, ReplyKind, RequestKind};
use super::{FailureCause, PROTOCOL_VERSION, refusal};
use crate::bytecode::program::Reason;
use crate::event::{PoolClass, Standing};
use crate::refusal::{BranchObstacle, DetourObstacle, EventOption, ProcessorFeature, ProgramPart};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::format;
use std::string::String;
use std::vec::Vec;

const DOCUMENT: &str = include_str!("../../../docs/wire-format.md");

const DISSECTOR: &str = include_str!("../../../debugger-host/wireshark/standstill.lua");

/// The rows of a table of the dissector: `[0x10] = "Go",`.
fn dissected(name: &str) -> BTreeSet<(String, String)> {
    let head = format!("local {name} = {{");
    let mut lines = DISSECTOR.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some(), "the dissector has no {name}");
    lines
        .take_while(|line| *line != "}")
        .map(|line| {
            let row = line.trim().strip_prefix('[').and_then(|row| {
                let (number, name) = row.strip_suffix("\",")?.split_once("] = \"")?;
                let number = number.strip_prefix("0x").unwrap_or(number);
                Some((String::from(number), String::from(name)))
            });
            row.unwrap_or_else(|| panic!("`{line}` is no row"))
        })
        .collect()
}

/// The first cells of the rows of the table whose head begins so, with their second cells.
fn table(first: &str, second: &str) -> BTreeSet<(String, String)> {
    let head = format!("| {first} | {second} |");
    let mut lines = DOCUMENT.lines().skip_while(|line| !line.starts_with(&head));
    assert!(lines.next().is_some(), "no table begins with {head}");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let mut cell = || String::from(cells.next().unwrap_or_default());
            (cell(), cell())
        })
        .collect()
}

fn kinds(rows: &[(u8, &str)]) -> BTreeSet<(String, String)> {
    rows.iter()
        .map(|(number, name)| (format!("{number:02x}"), String::from(*name)))
        .collect()
}

fn numbered<T: Debug>(values: &[T]) -> BTreeSet<(String, String)> {
    let row = |(number, value): (usize, &T)| (format!("{number}"), format!("{value:?}"));
    values.iter().enumerate().map(row).collect()
}

fn in_order<T: Debug>(byte: &str, values: &[T]) -> (String, String) {
    let names: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    (String::from(byte), names.join(", "))
}

#[test]
fn kinds_of_messages_are_those_of_the_code() {
    assert_eq!(table("kind", "request"), kinds(RequestKind::ROWS));
    assert_eq!(table("kind", "reply"), kinds(ReplyKind::ROWS));
    assert_eq!(table("kind", "notice"), kinds(NoticeKind::ROWS));
    assert_eq!(dissected("REQUESTS"), kinds(RequestKind::ROWS));
    assert_eq!(dissected("REPLIES"), kinds(ReplyKind::ROWS));
    assert_eq!(dissected("NOTICES"), kinds(NoticeKind::ROWS));
}

#[test]
fn refusals_are_those_of_the_code() {
    let rows = refusal::rows().map(|(number, name)| (format!("{number}"), String::from(name)));
    let rows: BTreeSet<_> = rows.collect();
    assert_eq!(table("number", "refusal"), rows);
    assert_eq!(dissected("REFUSALS"), rows);
}

#[test]
fn the_dissector_knows_what_the_document_has() {
    assert_eq!(dissected("TRIGGERS"), table("number", "trigger"));
    assert_eq!(dissected("POOL_CLASSES"), table("number", "pool class"));
    assert_eq!(dissected("FAILURES"), table("cause", "failure"));
    for (number, fields) in dissected("REFUSAL_FIELDS") {
        let begins = format!("\n| {number} | ");
        let has_it = |rest: &str| rest.split(" | ").nth(1) == Some(&fields);
        assert!(
            DOCUMENT.split(&*begins).skip(1).any(has_it),
            "refusal {number}: {fields}"
        );
    }
}

#[test]
fn closed_sets_are_those_of_the_code() {
    assert_eq!(table("number", "pool class"), numbered(&PoolClass::ALL));
    assert_eq!(table("cause", "failure"), numbered(&FailureCause::ALL));
    let sets = table("byte", "in order");
    for set in [
        in_order("standing", &Standing::ALL),
        in_order("part", &ProgramPart::ALL),
        in_order("option", &EventOption::ALL),
        in_order("feature", &ProcessorFeature::ALL),
        in_order("obstacle", &DetourObstacle::ALL),
        in_order("branch obstacle", &BranchObstacle::ALL),
        in_order("reason", Reason::ALL),
    ] {
        assert!(sets.contains(&set), "{set:?}");
    }
}

#[test]
fn the_version_is_that_of_the_code() {
    assert!(DOCUMENT.contains(&format!("This is version **{PROTOCOL_VERSION}**")));
    let versions: BTreeSet<String> = (1..=PROTOCOL_VERSION).map(|it| format!("{it}")).collect();
    let told = table("version", "since then")
        .into_iter()
        .map(|(version, _)| version);
    assert_eq!(told.collect::<BTreeSet<_>>(), versions);
}
