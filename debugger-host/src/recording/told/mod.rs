//! What each message holds, field by field with its name: a field or a kind that is added does not compile before it is
//! told here. Used by [`super::describe`], by [`super::compare`], and for the parts of refusals by [`crate::command`].

mod event;
mod message;
mod packet;
mod refusal;

pub use refusal::{EVENT_REFUSALS, REFUSALS};

use super::value::{Parts, Value};
use crate::types::register::spelling;
use wire_protocol::address::{Address, CoreId, EventId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::packet::{Item, List};
use wire_protocol::register::{Register, RegisterSet};

/// What can be told.
pub trait Told {
    /// As a value.
    fn told(&self) -> Value;
}

/// A field in its own form, or in that of its type.
macro_rules! part {
    ($field:ident) => {
        $crate::recording::told::Told::told($field)
    };
    ($field:ident $form:ident) => {
        $form($field)
    };
}

/// Tells a structure by its fields, or an enum by its variants with theirs. A form behind a field says how it is told.
macro_rules! told {
    (struct $name:ident $(<$life:lifetime>)? {
        $($field:ident $(: $form:ident)?),* $(,)?
    }) => {
        impl $crate::recording::told::Told for $name $(<$life>)? {
            fn told(&self) -> $crate::recording::value::Value {
                let Self { $($field),* } = self;
                $crate::recording::value::Value::Parts(vec![
                    $((
                        stringify!($field).to_owned(),
                        $crate::recording::told::part!($field $($form)?),
                    )),*
                ])
            }
        }
    };
    (enum $name:ident $(<$life:lifetime>)? {
        $($variant:ident $({ $($field:ident $(: $form:ident)?),* $(,)? })? $(($inner:ident))?,)*
    } $(by { $($pattern:pat => $value:expr,)* })?) => {
        impl $crate::recording::told::Told for $name $(<$life>)? {
            fn told(&self) -> $crate::recording::value::Value {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($inner))? => {
                        $crate::recording::told::kind(
                            stringify!($variant),
                            vec![$($((
                                stringify!($field).to_owned(),
                                $crate::recording::told::part!($field $($form)?),
                            )),*)?],
                            vec![$($crate::recording::told::inside(
                                stringify!($inner),
                                $crate::recording::told::Told::told($inner),
                            ))?],
                        )
                    })*
                    $($($pattern => $value,)*)?
                }
            }
        }
    };
}

/// Tells values without fields by their names.
macro_rules! words {
    ($($name:ident),* $(,)?) => {
        $(impl $crate::recording::told::Told for $name {
            fn told(&self) -> $crate::recording::value::Value {
                $crate::recording::value::Value::Word($crate::types::kebab(&format!("{self:?}")))
            }
        })*
    };
}

/// Tells sets of flags by the names of those that are there.
macro_rules! flags {
    ($($name:ident),* $(,)?) => {
        $(impl $crate::recording::told::Told for $name {
            fn told(&self) -> $crate::recording::value::Value {
                let known = self.iter_names().map(|(name, _)| name);
                let unknown = self.bits() & !Self::all().bits();
                $crate::recording::told::flags_of(known, unknown.into())
            }
        })*
    };
}

use {flags, part, told, words};

fn kind(name: &'static str, fields: Parts, inner: Vec<Parts>) -> Value {
    let inner = inner.into_iter().flatten();
    Value::Kind(name, fields.into_iter().chain(inner).collect())
}

/// What is in a variant: its parts, or itself under a name.
fn inside(name: &str, value: Value) -> Parts {
    match value {
        Value::Parts(parts) => parts,
        value => vec![(name.to_owned(), value)],
    }
}

fn flags_of<'n>(known: impl Iterator<Item = &'n str>, unknown: u32) -> Value {
    let known = known.map(|name| Value::Word(name.to_ascii_lowercase().replace('_', "-")));
    let unknown = (unknown != 0).then_some(Value::Number(unknown));
    Value::List(known.chain(unknown).collect())
}

/// Something that is counted, or a length.
fn counted(number: &(impl Copy + TryInto<u64>)) -> Value {
    Value::Count((*number).try_into().unwrap_or(u64::MAX))
}

/// A virtual address that is a plain number in its message.
const fn addressed(number: &u64) -> Value {
    Value::Address(*number)
}

/// Tells types by an expression each.
macro_rules! plain {
    ($($type:ty: $value:ident => $told:expr;)*) => {
        $(impl Told for $type {
            fn told(&self) -> Value {
                let $value = self;
                $told
            }
        })*
    };
}

plain! {
    bool: flag => Value::Flag(*flag);
    u8: number => Value::Number((*number).into());
    u16: number => Value::Number((*number).into());
    u32: number => Value::Number(*number);
    u64: number => Value::Hex(*number);
    &str: text => Value::Text((*text).to_owned());
    String: text => Value::Text(text.clone());
    &[u8]: bytes => Value::Bytes(bytes.to_vec());
    Vec<u8>: bytes => Value::Bytes(bytes.clone());
    GuestVirtual: address => Value::Address(address.0);
    GuestPhysical: address => Value::Hex(address.0);
    CoreId: core => Value::Number(core.0.into());
    EventId: event => Value::Number(event.0);
    Register: register => Value::Word(spelling(*register));
    RegisterSet: set => Value::List(set.iter().map(|register| register.told()).collect());
}

impl<T: Told> Told for Option<T> {
    fn told(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, Told::told)
    }
}

impl<'a, T: Item<'a> + Told> Told for List<'a, T> {
    fn told(&self) -> Value {
        Value::List(self.iter().map(|item| item.told()).collect())
    }
}

impl<A: Address + Told> Told for Extent<A> {
    fn told(&self) -> Value {
        Value::Parts(vec![
            ("start".to_owned(), self.start().told()),
            ("len_bytes".to_owned(), counted(&self.len_bytes())),
        ])
    }
}
