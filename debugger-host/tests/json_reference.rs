//! docs/json.md has every shape of the JSON form. With `STANDSTILL_RECORD` set its reference is
//! written anew.
#![allow(missing_docs, reason = "a test")]

use debugger_host::command::COMMANDS;
use debugger_host::command::problem::shapes;
use debugger_host::render::json::schema;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Where the reference begins.
const BEGIN: &str = "## Reference\n";

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Name of a type, as the reference has it.
fn type_name(value: &Value) -> String {
    if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    if let Some(constant) = value.get("const") {
        return format!("`{constant}`");
    }
    let many = value.get("anyOf").and_then(Value::as_array);
    if let Some(many) = many {
        return many.iter().map(type_name).collect::<Vec<_>>().join(" or ");
    }
    match value.get("type") {
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(" or ")
        }
        Some(Value::String(name)) if name == "array" => {
            format!("list of {}", type_name(&value["items"]))
        }
        Some(Value::String(name)) => name.clone(),
        _ => panic!("no type in {value}"),
    }
}

/// A line for each key, `kind` and `type` left out.
fn keys(out: &mut String, object: &Value, indent: &str) {
    let none = Map::new();
    let properties = object["properties"].as_object().unwrap_or(&none);
    for (name, value) in properties {
        let is_tag = ["kind", "type"].contains(&name.as_str()) && value.get("const").is_some();
        if !is_tag {
            let what = text(value, "description").replace('\n', " ");
            let of = type_name(value);
            let _ = match what.as_str() {
                "" => writeln!(out, "{indent}- `{name}`: {of}"),
                what => writeln!(out, "{indent}- `{name}`: {of}. {what}"),
            };
        }
    }
}

fn definition(out: &mut String, name: &str, value: &Value) {
    let _ = writeln!(out, "\n### {name}\n");
    let what = text(value, "description").replace('\n', " ");
    if !what.is_empty() {
        let _ = writeln!(out, "{what}\n");
    }
    let variants = value.get("oneOf").and_then(Value::as_array);
    let Some(variants) = variants else {
        if value.get("properties").is_some() {
            keys(out, value, "");
        } else if let Some(pattern) = value.get("pattern") {
            let _ = writeln!(out, "A string: `{}`", pattern.as_str().unwrap_or_default());
        } else {
            let _ = writeln!(out, "Type: {}", type_name(value));
        }
        return;
    };
    for variant in variants {
        let tag = ["kind", "type"]
            .iter()
            .find_map(|tag| Some((tag, variant.pointer(&format!("/properties/{tag}/const"))?)));
        let what = text(variant, "description").replace('\n', " ");
        match tag {
            Some((tag, value)) => {
                let _ = writeln!(out, "- `\"{tag}\": {value}`: {what}");
                keys(out, variant, "  ");
            }
            None => {
                let value = variant.get("const").cloned().unwrap_or_default();
                let _ = writeln!(out, "- `{value}`: {what}");
            }
        }
    }
}

fn reference() -> String {
    let schema = schema().to_value();
    let mut out = String::from(
        "\nGenerated from the types (`debugger-host/src/answer/`); `standstill schema` prints the same\n\
         for programs. Every key is always there.\n",
    );
    definition(&mut out, "Document", &schema);
    out.push_str("\n### Answers of the commands\n\n");
    for row in COMMANDS.iter() {
        let kinds: Vec<String> = match row.answers {
            ["*"] => vec!["that of the command behind it".to_owned()],
            kinds => kinds.iter().map(|kind| format!("`{kind}`")).collect(),
        };
        let _ = writeln!(out, "- `{}`: {}", row.names[0], kinds.join(", "));
    }
    out.push_str("\n### Kinds of problems\n\nEach with its fields.\n\n");
    for (kind, fields) in shapes() {
        let fields: Vec<String> = fields.iter().map(|name| format!("`{name}`")).collect();
        let _ = match fields.as_slice() {
            [] => writeln!(out, "- `{kind}`"),
            fields => writeln!(out, "- `{kind}`: {}", fields.join(", ")),
        };
    }
    let none = Map::new();
    for (name, value) in schema["$defs"].as_object().unwrap_or(&none) {
        definition(&mut out, name, value);
    }
    out
}

#[test]
fn the_document_has_every_shape() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let document = fs::read_to_string(&path).expect("readable");
    let (prose, written) = document.split_once(BEGIN).expect("a reference");
    let now = reference();
    if std::env::var_os("STANDSTILL_RECORD").is_some() {
        fs::write(&path, format!("{prose}{BEGIN}{now}")).expect("writable");
        return;
    }
    for (written, now) in written.lines().zip(now.lines()) {
        assert_eq!(written, now);
    }
    assert_eq!(written, now);
}
