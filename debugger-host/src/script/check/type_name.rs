//! Types as they are written, to types.

use super::super::problem::{Position, Problem};
use super::super::tree::{Base, Expression, NewType, TypeName, Variable};
use super::super::types::{DEPTH_LIMIT, SIZE_LIMIT, STANDARD, Struct, Type};
use super::{Checked, Checker};
use std::collections::HashSet;
use std::rc::Rc;

impl Checker<'_> {
    /// Takes in the types that a script makes.
    pub(super) fn new_types(&mut self, types: &[NewType]) -> Checked<()> {
        for new in types {
            match new {
                NewType::Alias(alias) => {
                    let of = self.type_of(&alias.type_name)?;
                    if self.aliases.insert(alias.name.clone(), of).is_some() {
                        let name = &alias.name;
                        return Err(Problem::new(
                            alias.at,
                            format!("there is a type `{name}` already"),
                        ));
                    }
                }
                NewType::Enum(constants) => self.constants(constants)?,
                NewType::Struct(at, name, members) | NewType::Union(at, name, members) => {
                    let is_union = matches!(new, NewType::Union(..));
                    let kind = if is_union { "union" } else { "struct" };
                    if self.structs.contains_key(name) {
                        return Err(Problem::new(
                            *at,
                            format!("there is a `{kind} {name}` already"),
                        ));
                    }
                    let members = self.members(members)?;
                    let of = Struct::new(name.clone(), members, is_union).ok_or_else(|| {
                        Problem::new(
                            *at,
                            format!("`{kind} {name}` has more than {SIZE_LIMIT:x} bytes"),
                        )
                    })?;
                    if of.size == 0 {
                        return Err(Problem::new(*at, format!("`{kind} {name}` has no members")));
                    }
                    self.structs.insert(name.clone(), Rc::new(of));
                }
            }
        }
        Ok(())
    }

    /// Names of numbers; one without a number of its own is one more than that before it.
    fn constants(&mut self, constants: &[(Position, String, Option<Expression>)]) -> Checked<()> {
        let mut next = 0_i64;
        for (at, name, value) in constants {
            if let Some(value) = value {
                let value = self.value(value)?;
                let known = value.constant().filter(|_| value.of.is_integer());
                let known = known.and_then(|known| i32::try_from(known.cast_signed()).ok());
                next = i64::from(known.ok_or_else(|| {
                    Problem::new(
                        value.at,
                        format!("`{name}` must be an `int` that is known before the script runs"),
                    )
                })?);
            }
            if i32::try_from(next).is_err() {
                return Err(Problem::new(*at, format!("`{name}` does not fit in `int`")));
            }
            if self.constants.insert(name.clone(), next).is_some() {
                return Err(Problem::new(
                    *at,
                    format!("there is a constant `{name}` already"),
                ));
            }
            next += 1;
        }
        Ok(())
    }

    fn members(&mut self, members: &[Variable]) -> Checked<Vec<(String, Type)>> {
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for member in members {
            if !names.insert(&member.name) {
                let name = &member.name;
                return Err(Problem::new(
                    member.at,
                    format!("there is a member `{name}` already"),
                ));
            }
            let of = self.type_of(&member.type_name)?;
            if of.size().is_none() {
                return Err(Problem::new(
                    member.at,
                    format!("`{of}` cannot be a member, as its size is not known"),
                )
                .help("define it before, or make the member a pointer"));
            }
            all.push((member.name.clone(), of));
        }
        Ok(all)
    }

    /// A type as it is written.
    pub(super) fn type_of(&mut self, name: &TypeName) -> Checked<Type> {
        self.type_with(name, None)
    }

    /// The same; `[]` has as many elements as there are initial values.
    pub(super) fn type_with(&mut self, name: &TypeName, elements: Option<u32>) -> Checked<Type> {
        let mut of = match &name.base {
            Base::Void => Type::Void,
            Base::Bool => Type::Bool,
            Base::Integer { bytes, signed } => Type::Integer {
                bytes: *bytes,
                signed: *signed,
            },
            Base::Float => Type::Float,
            Base::Double => Type::Double,
            Base::Struct(name) => match self.structs.get(name) {
                Some(known) => Type::Struct(Rc::clone(known)),
                None => Type::Incomplete(name.clone()),
            },
            Base::Named(alias) => match self.aliases.get(alias) {
                Some(known) => known.clone(),
                None => match STANDARD.into_iter().find(|(name, _)| name == alias) {
                    Some((_, standard)) => standard,
                    None => {
                        return Err(Problem::new(name.at, format!("there is no type `{alias}`")));
                    }
                },
            },
        };
        for _ in 0..name.pointers {
            of = Type::pointer(of);
        }
        let outermost = name.bounds.len().saturating_sub(1);
        for (index, bound) in name.bounds.iter().rev().enumerate() {
            let count = match bound {
                Some(bound) => self.bound(bound)?,
                None => elements.filter(|_| index == outermost).ok_or_else(|| {
                    Problem::new(name.at, "an array needs a number of elements in `[ ]`")
                })?,
            };
            of = Type::Array(Rc::new(of), count);
            if of.size().is_none() {
                return Err(Problem::new(
                    name.at,
                    format!(
                        "an array cannot be `{of}`: its size is not known, or more than {SIZE_LIMIT:x} bytes"
                    ),
                ));
            }
        }
        if of.depth() >= DEPTH_LIMIT {
            return Err(Problem::new(
                name.at,
                format!("more than {DEPTH_LIMIT} types within each other"),
            )
            .help("make a pointer `void *`"));
        }
        Ok(of)
    }

    fn bound(&mut self, bound: &Expression) -> Checked<u32> {
        let value = self.value(bound)?;
        let Some(count) = value.constant().filter(|_| value.of.is_integer()) else {
            return Err(Problem::new(
                bound.at,
                "the number of elements must be known before the script runs",
            )
            .help("write a number"));
        };
        match u32::try_from(count) {
            Ok(count) if count > 0 && count <= SIZE_LIMIT => Ok(count),
            _ => Err(Problem::new(
                bound.at,
                format!("an array cannot have {count:x} elements"),
            )),
        }
    }

    /// The structure behind `struct name`, also if it was not yet known where the type stands.
    pub(super) fn complete(&self, of: &Type) -> Type {
        match of {
            Type::Incomplete(name) => match self.structs.get(name) {
                Some(known) => Type::Struct(Rc::clone(known)),
                None => of.clone(),
            },
            other => other.clone(),
        }
    }
}
