//! Errors as values: their kind, their number, their parts. Made by [`crate::command`], which
//! knows all of them.

use super::{Count, Hex};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::borrow::Cow;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Which, for programs: words with hyphens.
    pub kind: String,
    /// The number that users look up, if the debuggee refused.
    pub code: Option<Hex>,
    /// Its parts. Which there are depends on the kind.
    pub fields: Vec<Field>,
    /// One line for people, made of the fields.
    pub message: String,
}

/// A part of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: Scalar,
}

/// Value of a part: text, a small number or count, a value of 64 bits, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A small number or a count.
    Number(Count),
    /// A value of 64 bits or an address.
    Hex(Hex),
    /// There is none.
    Nothing(()),
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<Count>();
        json_schema!({
            "description": "Text, a value of 64 bits as `Hex` writes it, a count, or nothing.",
            "anyOf": [{ "type": "string" }, number, { "type": "null" }]
        })
    }
}
