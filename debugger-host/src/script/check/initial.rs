//! Declarations with their initial values.

use super::super::problem::{Position, Problem};
use super::super::tree::{Expression, ExpressionKind as E, Initial, Variable};
use super::super::types::{INT, LONG, Type};
use super::super::value::{Action, Base, Line, Place, Target, Value, ValueKind};
use super::{Checked, Checker};
use wire_protocol::bytecode::op::Op;

/// Bytes of an initial value that is put down piece by piece instead of copied.
const PIECEWISE: u32 = 16;

/// An initial value: bytes that are known, and values that are not.
struct Image {
    bytes: Vec<u8>,
    computed: Vec<(u32, Type, Value)>,
}

impl Checker<'_> {
    /// A declared variable; what is done for its initial value.
    pub(super) fn declaration(&mut self, variable: &Variable) -> Checked<Vec<Action>> {
        let elements = variable.initial.as_ref().and_then(elements);
        let of = self.type_with(&variable.type_name, elements)?;
        let of = self.complete(&of);
        let at = variable.at;
        // The initial value does not see the variable itself, as it has no value yet.
        let scalar = match &variable.initial {
            Some(Initial::Value(value)) if of.is_scalar() => Some(self.value(value)?),
            _ => None,
        };
        let base = if let Some(name) = variable.name.strip_prefix('.') {
            if variable.is_static {
                return Err(Problem::new(at, "a global variable is static anyway")
                    .help("leave out `static`"));
            }
            if variable.is_const {
                self.unwritable.insert(name.to_owned());
            }
            Base::Global(self.global(at, name, Some(of.clone()))?.offset)
        } else {
            self.look_at_shadow(at, &variable.name);
            let number = self.declare(at, &variable.name, of.clone())?;
            if variable.is_const {
                self.frame.unwritable.insert(number);
            }
            if variable.is_static {
                let index = self.statics.len();
                self.statics.push(of.clone());
                self.frame.statics.insert(number, index);
                Base::Static(index)
            } else {
                Base::Variable(number)
            }
        };
        let is_static = matches!(base, Base::Static(_));
        let place = Place { base, offset: 0 };
        let actions = self.initial_actions(variable, scalar, &of, place)?;
        if is_static && !actions.is_empty() {
            return Ok(vec![self.once(at, actions)]);
        }
        Ok(actions)
    }

    /// What is done the first time that a run comes here.
    fn once(&mut self, at: Position, actions: Vec<Action>) -> Action {
        let index = self.statics.len();
        self.statics.push(LONG);
        let place = Place {
            base: Base::Static(index),
            offset: 0,
        };
        let done = Value::new(at, LONG, ValueKind::Read(place.clone(), LONG));
        let one = Value::new(at, LONG, ValueKind::Constant(1));
        let note = Action::Write(LONG, vec![(LONG, Target::Place(place))], one);
        let lines = std::iter::once(note).chain(actions);
        let lines = lines.map(|action| Line { at, action }).collect();
        Action::If(
            vec![(Value::unary(Op::IsZero, done, INT), lines)],
            Vec::new(),
        )
    }

    fn initial_actions(
        &mut self,
        variable: &Variable,
        scalar: Option<Value>,
        of: &Type,
        place: Place,
    ) -> Checked<Vec<Action>> {
        let at = variable.at;
        let Some(initial) = &variable.initial else {
            return Ok(Vec::new());
        };
        if let Some(value) = scalar {
            let value = self.convert_to_store(value, of)?;
            let target = vec![(of.clone(), Target::Place(place))];
            return Ok(vec![Action::Write(of.clone(), target, value)]);
        }
        if let (Type::Struct(_), Initial::Value(value)) = (of, initial) {
            return Ok(vec![self.copied(at, place, of, value)?]);
        }
        let Some(size) = of.size() else {
            return Err(Problem::new(at, format!("`{of}` has no size")));
        };
        let mut image = Image {
            bytes: vec![0; size as usize],
            computed: Vec::new(),
        };
        self.fill(&mut image, 0, of, initial)?;
        Ok(image.actions(at, &place))
    }

    /// Warns of a variable that has a symbol's name.
    fn look_at_shadow(&mut self, at: Position, name: &str) {
        if let Some(address) = self.hidden(name) {
            self.warn(
                Problem::new(at, format!("`{name}` hides the symbol at {address:x}")).help(
                    format!("choose another name; `nt!{name}` is the symbol all the same"),
                ),
            );
        }
    }

    /// Copies a structure or part of one.
    pub(super) fn copied(
        &mut self,
        at: Position,
        to: Place,
        of: &Type,
        from: &Expression,
    ) -> Checked<Action> {
        let (from, source) = self.place(from)?;
        let source = self.complete(&source);
        if source != *of {
            return Err(Problem::new(at, format!("`{source}` cannot become `{of}`")));
        }
        let address = self.address(at, from, Type::Untyped);
        Ok(Action::Copy(to, address, of.size().unwrap_or(0)))
    }

    fn fill(
        &mut self,
        image: &mut Image,
        offset: u32,
        of: &Type,
        initial: &Initial,
    ) -> Checked<()> {
        match (of, initial) {
            (Type::Array(element, count), Initial::Value(value)) => {
                self.fill_text(image, offset, element, *count, value)
            }
            (Type::Array(element, count), Initial::List(at, list)) => {
                if list.len() as u64 > u64::from(*count) {
                    return Err(too_many(*at, list.len(), *count as usize));
                }
                let size = element.size().unwrap_or(0);
                for (index, initial) in list.iter().enumerate() {
                    let skip = u32::try_from(index).unwrap_or(0).saturating_mul(size);
                    self.fill(image, offset.saturating_add(skip), element, initial)?;
                }
                Ok(())
            }
            (Type::Struct(structure), Initial::List(at, list)) => {
                // Of a union the first member gets a value.
                let room = if structure.is_union {
                    1
                } else {
                    structure.members.len()
                };
                if list.len() > room {
                    return Err(too_many(*at, list.len(), room));
                }
                for (member, initial) in structure.members.iter().zip(list) {
                    let place = offset.saturating_add(member.offset);
                    let of = self.complete(&member.of);
                    self.fill(image, place, &of, initial)?;
                }
                Ok(())
            }
            (of, Initial::List(at, list)) => match &list[..] {
                [one] => self.fill(image, offset, of, one),
                _ => Err(too_many(*at, list.len(), 1)),
            },
            (Type::Struct(_), Initial::Value(value)) => Err(Problem::new(
                value.at,
                format!("the initial value of `{of}` must stand in `{{ }}`"),
            )),
            (of, Initial::Value(value)) => {
                let value = self.value(value)?;
                let value = self.convert_to_store(value, of)?;
                image.put(offset, of, value);
                Ok(())
            }
        }
    }

    /// A string as the initial value of an array.
    fn fill_text(
        &mut self,
        image: &mut Image,
        offset: u32,
        element: &Type,
        count: u32,
        value: &Expression,
    ) -> Checked<()> {
        let (bytes, unit) = match &value.kind {
            E::Text(bytes) => (bytes, 1),
            E::Wide(bytes) => (bytes, 2),
            _ => {
                return Err(
                    Problem::new(value.at, "an array begins with a list or a string")
                        .help("write `{ … }`"),
                );
            }
        };
        let room = count.saturating_mul(unit) as usize;
        if element.size() != Some(unit) || bytes.len() > room {
            return Err(Problem::new(
                value.at,
                format!("this string does not fit in `{element}[{count:x}]`"),
            ));
        }
        let from = offset as usize;
        if let Some(part) = image.bytes.get_mut(from..from + bytes.len()) {
            part.copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl Image {
    fn put(&mut self, offset: u32, of: &Type, value: Value) {
        let Some(mut number) = value.constant() else {
            self.computed.push((offset, of.clone(), value));
            return;
        };
        if *of == Type::Float {
            number = u64::from((f64::from_bits(number) as f32).to_bits());
        }
        let size = of.size().unwrap_or(0) as usize;
        let from = offset as usize;
        if let Some(part) = self.bytes.get_mut(from..from + size) {
            for (to, byte) in part.iter_mut().zip(number.to_le_bytes()) {
                *to = byte;
            }
        }
    }

    fn actions(self, at: Position, place: &Place) -> Vec<Action> {
        let mut actions = Vec::new();
        let at_offset = |offset: u32| Place {
            base: place.base.clone(),
            offset: place.offset.saturating_add(offset),
        };
        let size = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if size <= PIECEWISE {
            for (index, piece) in self.bytes.chunks(8).enumerate() {
                let mut offset = 8 * index as u32;
                let mut rest = piece;
                while !rest.is_empty() {
                    let len = [8, 4, 2, 1].into_iter().find(|len| rest.len() >= *len);
                    let (now, later) = rest.split_at(len.unwrap_or(1).min(rest.len()));
                    actions.push(put_bytes(at, at_offset(offset), now));
                    offset += now.len() as u32;
                    rest = later;
                }
            }
        } else {
            let bytes = Value::new(at, Type::Untyped, ValueKind::Text(self.bytes));
            actions.push(Action::Copy(at_offset(0), bytes, size));
        }
        for (offset, of, value) in self.computed {
            let target = vec![(of.clone(), Target::Place(at_offset(offset)))];
            actions.push(Action::Write(of, target, value));
        }
        actions
    }
}

fn put_bytes(at: Position, place: Place, bytes: &[u8]) -> Action {
    let number = bytes
        .iter()
        .rev()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let of = Type::Integer {
        bytes: bytes.len() as u8,
        signed: false,
    };
    let value = Value::new(at, of.clone(), ValueKind::Constant(number));
    Action::Write(of.clone(), vec![(of, Target::Place(place))], value)
}

/// How many elements an array without a bound has.
fn elements(initial: &Initial) -> Option<u32> {
    let count = match initial {
        Initial::List(_, list) => list.len(),
        Initial::Value(value) => match &value.kind {
            E::Text(bytes) => bytes.len() + 1,
            E::Wide(bytes) => bytes.len() / 2 + 1,
            _ => return None,
        },
    };
    u32::try_from(count).ok().filter(|count| *count > 0)
}

fn too_many(at: Position, found: usize, limit: usize) -> Problem {
    Problem::new(
        at,
        format!("{found} values stand here, and there is room for {limit}"),
    )
}
