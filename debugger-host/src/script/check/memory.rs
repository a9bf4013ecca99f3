//! Things with an address: variables, members, elements, what a pointer points at.

use super::super::problem::{Position, Problem};
use super::super::tree::{Expression, ExpressionKind as E, Unary};
use super::super::types::Type;
use super::super::value::{Base, Place, Value, ValueKind};
use super::arithmetic::{add, scaled};
use super::convert::not_a;
use super::{Checked, Checker};

/// An expression that is either a place or nothing but a value.
pub(super) enum Operand {
    /// It has an address.
    Place(Place, Type),
    /// It has none.
    Value(Value),
}

impl Checker<'_> {
    /// What an expression that must have an address stands for.
    pub(super) fn place(&mut self, expression: &Expression) -> Checked<(Place, Type)> {
        match self.operand(expression)? {
            Operand::Place(place, of) => Ok((place, of)),
            Operand::Value(value) => Err(no_place(&value)),
        }
    }

    /// Where a place is, as a value of that type.
    pub(super) fn address(&self, at: Position, place: Place, of: Type) -> Value {
        match (place.base, place.offset) {
            (Base::Memory(address), offset) => {
                let offset = ValueKind::Constant(u64::from(offset));
                add(at, *address, Value::new(at, Type::Untyped, offset), of)
            }
            (base, offset) => Value::new(at, of, ValueKind::Address(Place { base, offset })),
        }
    }

    /// `&x` and `reference(x)`.
    pub(super) fn address_of(&mut self, at: Position, operand: &Expression) -> Checked<Value> {
        let (place, of) = self.place(operand)?;
        Ok(self.address(at, place, Type::pointer(of)))
    }

    /// `*p`
    pub(super) fn target(&mut self, at: Position, pointer: Value) -> Checked<Operand> {
        let of = match &pointer.of {
            Type::Pointer(target) => match self.complete(target) {
                Type::Void => Type::Untyped,
                other => other,
            },
            Type::Untyped => Type::Untyped,
            other if other.is_integer() => Type::Untyped,
            other => return Err(not_a(at, "an address", other)),
        };
        Ok(self.at_address(pointer, of))
    }

    fn at_address(&self, address: Value, of: Type) -> Operand {
        // `*&x` is x.
        if let ValueKind::Address(place) = address.kind {
            return Operand::Place(place, of);
        }
        let place = Place {
            base: Base::Memory(Box::new(address)),
            offset: 0,
        };
        Operand::Place(place, of)
    }

    /// `x.name`
    pub(super) fn member(
        &mut self,
        at: Position,
        whole: &Expression,
        name: &str,
    ) -> Checked<Operand> {
        match self.operand(whole)? {
            Operand::Place(place, of) => self.member_of(at, place, &of, name),
            Operand::Value(value) => Err(match &value.of {
                Type::Pointer(_) => not_a(at, "a struct", &value.of).help("`->` follows a pointer"),
                of => not_a(at, "a struct", of)
                    .help("a global variable has an operator before its `.`"),
            }),
        }
    }

    /// `x->name`
    pub(super) fn arrow(
        &mut self,
        at: Position,
        pointer: &Expression,
        name: &str,
    ) -> Checked<Operand> {
        let pointer = self.value(pointer)?;
        if !matches!(pointer.of, Type::Pointer(_)) {
            return Err(not_a(at, "a pointer to a struct", &pointer.of)
                .help("cast it, `((struct S *) x)->name`"));
        }
        match self.target(at, pointer)? {
            Operand::Place(place, of) => self.member_of(at, place, &of, name),
            Operand::Value(value) => Err(no_place(&value)),
        }
    }

    fn member_of(&self, at: Position, place: Place, of: &Type, name: &str) -> Checked<Operand> {
        let of = self.complete(of);
        let structure = match &of {
            Type::Struct(structure) => structure,
            Type::Incomplete(_) => {
                return Err(
                    Problem::new(at, format!("the members of `{of}` are not known"))
                        .help("define the struct in the script"),
                );
            }
            Type::Pointer(_) => {
                return Err(not_a(at, "a struct", &of).help("`->` follows a pointer"));
            }
            _ => return Err(not_a(at, "a struct", &of)),
        };
        let Some(member) = structure.member(name) else {
            let names = structure.members.iter().map(|member| member.name.as_str());
            return Err(super::call::unknown(
                at,
                &format!("`{of}` has no member `{name}`"),
                name,
                names,
            ));
        };
        let place = Place {
            base: place.base,
            offset: place.offset.saturating_add(member.offset),
        };
        Ok(Operand::Place(place, member.of.clone()))
    }

    /// `x[i]`
    pub(super) fn element(
        &mut self,
        at: Position,
        whole: &Expression,
        index: &Expression,
    ) -> Checked<Operand> {
        let array = self.operand(whole)?;
        let index = self.value(index)?;
        if !index.of.is_integer() {
            return Err(not_a(index.at, "a whole number", &index.of));
        }
        match array {
            Operand::Place(place, Type::Array(element, count)) => {
                let size = element.size().unwrap_or(1);
                let element = (*element).clone();
                if let Some(number) = index.constant() {
                    if number >= u64::from(count) {
                        return Err(Problem::new(
                            index.at,
                            format!("there is no element {number:x}, only 0 to {:x}", count - 1),
                        ));
                    }
                    let skip = u32::try_from(number).unwrap_or(0).saturating_mul(size);
                    let place = Place {
                        base: place.base,
                        offset: place.offset.saturating_add(skip),
                    };
                    return Ok(Operand::Place(place, element));
                }
                let start = self.address(at, place, Type::Untyped);
                let address = add(at, start, scaled(index, size), Type::Untyped);
                Ok(self.at_address(address, element))
            }
            other => {
                let pointer = self.loaded(whole.at, other)?;
                let Type::Pointer(target) = pointer.of.clone() else {
                    return Err(not_a(at, "an array or a pointer", &pointer.of).help(match &whole.kind {
                        E::Global(name) => format!("declare it first, `long .{name}[40];`"),
                        E::Name(name) => format!(
                            "declare it first, `long {name}[40];`, or as a pointer, `long *{name};`"
                        ),
                        _ => "cast it, `((long *) x)[0]`, or use `poi`".to_owned(),
                    }));
                };
                let Some(size) = self.target_size(at, &pointer.of)? else {
                    return Err(not_a(at, "a pointer", &pointer.of));
                };
                let address = add(at, pointer, scaled(index, size), Type::Untyped);
                let of = match self.complete(&target) {
                    Type::Void => Type::Untyped,
                    other => other,
                };
                Ok(self.at_address(address, of))
            }
        }
    }

    /// What an operand holds; an array is the address of its first element.
    pub(super) fn loaded(&mut self, at: Position, operand: Operand) -> Checked<Value> {
        match operand {
            Operand::Value(value) => Ok(value),
            Operand::Place(place, Type::Array(element, _)) => {
                Ok(self.address(at, place, Type::Pointer(element)))
            }
            Operand::Place(place, of) => match self.complete(&of) {
                of if of.is_scalar() || matches!(of, Type::Struct(_)) => {
                    Ok(Value::new(at, of.clone(), ValueKind::Read(place, of)))
                }
                of => Err(not_a(at, "a value", &of)),
            },
        }
    }

    /// `sizeof x`
    pub(super) fn size_of(&mut self, at: Position, operand: &Expression) -> Checked<Value> {
        let of = match &operand.kind {
            E::Text(bytes) => return Ok(size(at, bytes.len() as u64 + 1)),
            E::Wide(bytes) => return Ok(size(at, bytes.len() as u64 + 2)),
            E::Unary(Unary::Target, _) | E::Index(..) | E::Member(..) | E::Arrow(..) => {
                self.place(operand)?.1
            }
            _ => match self.operand(operand)? {
                Operand::Place(_, of) => of,
                Operand::Value(value) => value.of,
            },
        };
        self.size_of_type(at, &of)
    }

    /// `sizeof (type)`
    pub(super) fn size_of_type(&mut self, at: Position, of: &Type) -> Checked<Value> {
        let of = self.complete(of);
        match of.size() {
            Some(bytes) => Ok(size(at, u64::from(bytes))),
            None => Err(Problem::new(at, format!("the size of `{of}` is not known"))),
        }
    }
}

/// What `sizeof` gives: unsigned, as in C.
fn size(at: Position, bytes: u64) -> Value {
    Value {
        is_literal: true,
        ..Value::new(at, Type::Untyped, ValueKind::Constant(bytes))
    }
}

fn no_place(value: &Value) -> Problem {
    match value.kind {
        ValueKind::Register(_) => Problem::new(value.at, "a register has no address")
            .help("copy it into a variable first"),
        _ => Problem::new(value.at, "this is a value and has no address")
            .help("name a variable, a member, an element, or what a pointer points at"),
    }
}
