//! The reference of what `standstill show --json` says of messages, in `docs/recording-content.md`: made anew with
//! `STANDSTILL_RECORD=1`.
#![allow(missing_docs, reason = "a test")]
#![allow(
    unexpected_cfgs,
    reason = "features of the wire crate, whose tests have the module, too"
)]

#[path = "../../wire-protocol/tests/support/mod.rs"]
mod support;

use debugger_host::recording::told::Told;
use debugger_host::recording::value::Value;
use debugger_host::types::kebab;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use support::values;
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::Reply;

/// Of the kernel.
const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
/// Draws of each direction, and of refusals: far more than it takes until every kind of everything was there.
const DRAWS: usize = 1500;
const REFUSALS: usize = 12_000;

const ABOUT: &str = "\
# What recordings say of messages

`content` of a message in `standstill show FILE --json`, by the message's kind. Generated from what both ends can say;
within a version of the protocol no name and no form changes. Every part is always there.

A *count* and a *number* are numbers of JSON, *hex* a string such as `\"0xffffffff81000000\"`, *bytes* a string with two digits
for each. A part that is one of several kinds is an object whose `type` is one of the words in braces; what only that kind has
stands behind it. `[]` are the items of a list.
";

/// Forms that were seen, by path.
type Forms = BTreeMap<String, BTreeSet<String>>;

fn is_refusal(value: &Value) -> bool {
    matches!(value, Value::Kind(_, parts) if parts.iter().any(|(name, _)| name == "code"))
}

fn see(path: &str, value: &Value, forms: &mut Forms) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let form = match value {
        Value::Nothing => "null",
        Value::Flag(_) => "true or false",
        Value::Count(_) => "count",
        Value::Number(_) => "number",
        Value::Hex(_) | Value::Address(_) => "hex",
        Value::Text(_) => "text",
        Value::Word(_) => "word",
        Value::Bytes(_) => "bytes",
        // All of them are those of `Refused`.
        Value::Read(_, value) if is_refusal(value) && path != "refusal" => "a refusal",
        Value::Read(_, value) => return see(path, value, forms),
        Value::List(items) => {
            for item in items {
                see(&format!("{path}[]"), item, forms);
            }
            "list"
        }
        Value::Parts(parts) => {
            for (name, value) in parts {
                see(&below(name), value, forms);
            }
            return;
        }
        Value::Kind(name, parts) => {
            let path = format!("{path}{{{}}}", kebab(name));
            forms.entry(path.clone()).or_default();
            for (name, value) in parts {
                see(&format!("{path}.{name}"), value, forms);
            }
            return;
        }
    };
    forms
        .entry(path.to_owned())
        .or_default()
        .insert(form.to_owned());
}

/// What was seen of each kind of message.
fn kinds() -> BTreeMap<&'static str, BTreeMap<&'static str, Forms>> {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<_, BTreeMap<_, Forms>>::new();
    let mut note = |of: &'static str, value: Value| {
        let forms = seen.entry(of).or_default().entry(value.kind()).or_default();
        see("", &Value::Parts(value.into_parts()), forms);
    };
    macro_rules! draw {
        ($of:literal, $draws:expr, $strategy:expr) => {
            let strategy = $strategy;
            for _ in 0..$draws {
                let value = strategy.new_tree(&mut runner).expect("a value").current();
                note($of, value.told());
            }
        };
    }
    draw!("Requests", DRAWS, values::request(BASE));
    draw!("Replies", DRAWS, values::reply(BASE));
    draw!(
        "Replies",
        REFUSALS,
        values::refusal().prop_map(Reply::Refused)
    );
    draw!("Notices", DRAWS, values::notice(BASE));
    seen
}

fn reference() -> String {
    let mut out = ABOUT.to_owned();
    for (of, kinds) in kinds() {
        out.push_str(&format!("\n## {of}\n"));
        for (kind, forms) in kinds {
            out.push_str(&format!("\n### {kind}\n\n"));
            if forms.is_empty() {
                out.push_str("Nothing.\n");
            }
            for (path, forms) in forms {
                let forms: Vec<_> = forms.into_iter().collect();
                match forms.as_slice() {
                    [] => out.push_str(&format!("- `{path}`\n")),
                    forms => out.push_str(&format!("- `{path}`: {}\n", forms.join(" or "))),
                }
            }
        }
    }
    out
}

#[test]
fn the_document_has_every_part_of_every_message() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recording-content.md");
    let now = reference();
    if std::env::var_os("STANDSTILL_RECORD").is_some() {
        fs::write(&path, now).expect("writable");
        return;
    }
    let written = fs::read_to_string(&path).expect("readable");
    for (written, now) in written.lines().zip(now.lines()) {
        assert_eq!(written, now);
    }
    assert_eq!(written, now);
}
