//! How numbers and bytes stand in JSON. Used by all answers.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A value of 64 bits or an address: in JSON a string such as `"0xffffffff81000000"`, since many
/// readers of JSON round numbers above 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(pub u64);

impl fmt::LowerHex for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value of 64 bits or an address, in hexadecimal, without leading zeroes.",
            "type": "string",
            "pattern": "^0x(0|[1-9a-f][0-9a-f]{0,15})$"
        })
    }
}

/// What counts something: in JSON a number. What is above 2^53 - 1 is told as that, which every
/// reader can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl Count {
    /// The most that JSON has.
    const LIMIT: u64 = (1 << 53) - 1;
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.min(Self::LIMIT))
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A count. More than 2^53 - 1 is told as 2^53 - 1.",
            "type": "integer",
            "minimum": 0,
            "maximum": Self::LIMIT
        })
    }
}

/// Bytes in the order of their addresses: in JSON a string of two digits for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes in the order of their addresses, two hexadecimal digits each.",
            "type": "string",
            "pattern": "^([0-9a-f]{2})*$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_so_that_every_reader_has_them_whole() {
        let json = |value: &dyn erased::Json| value.json();
        assert_eq!(json(&Hex(0)), "\"0x0\"");
        assert_eq!(json(&Hex(u64::MAX)), "\"0xffffffffffffffff\"");
        assert_eq!(json(&Count(7)), "7");
        assert_eq!(json(&Count(u64::MAX)), "9007199254740991");
        assert_eq!(json(&Bytes(vec![0, 0xc3])), "\"00c3\"");
    }

    mod erased {
        pub(super) trait Json {
            fn json(&self) -> String;
        }

        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> String {
                serde_json::to_string(self).expect("it has a form")
            }
        }
    }
}
