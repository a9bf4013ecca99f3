//! `switch`: one value, compared with numbers.

use super::super::problem::{Position, Problem};
use super::super::tree::{Case, Expression};
use super::super::value::{self, Action, Base, Line, Place, Slot, Target, Value, ValueKind};
use super::convert::not_a;
use super::{Checked, Checker};
use std::collections::{HashMap, HashSet};
use wire_protocol::bytecode::op::Op;

use super::super::types::INT;

impl Checker<'_> {
    /// The value is kept in a variable without a name. Of the parts, the first that it equals runs, and
    /// all behind it up to a `break`.
    pub(super) fn switch(
        &mut self,
        at: Position,
        selected: &Expression,
        cases: &[Case],
        lines: &mut Vec<Line>,
    ) -> Checked<()> {
        let selected = self.value(selected)?;
        self.need_value(&selected)?;
        if !selected.of.is_integer() {
            return Err(not_a(selected.at, "a whole number", &selected.of));
        }
        let of = selected.of.promoted();
        let selected = self.convert(selected, &of)?;
        let place = Place {
            base: Base::Variable(self.frame.slots.len()),
            offset: 0,
        };
        self.frame.slots.push(Slot {
            name: "the value of `switch`".to_owned(),
            of: of.clone(),
        });
        let target = vec![(of.clone(), Target::Place(place.clone()))];
        lines.push(Line {
            at,
            action: Action::Write(of.clone(), target, selected),
        });
        self.frame.scopes.push(HashMap::new());
        self.frame.breakable += 1;
        let checked = self.cases(
            cases,
            &Value::new(at, of.clone(), ValueKind::Read(place, of)),
        );
        self.frame.breakable -= 1;
        self.frame.scopes.pop();
        lines.push(Line {
            at,
            action: Action::Switch(checked?),
        });
        Ok(())
    }

    fn cases(&mut self, cases: &[Case], selected: &Value) -> Checked<Vec<value::Case>> {
        let mut known = HashSet::new();
        let mut checked = Vec::new();
        for case in cases {
            let mut conditions = Vec::new();
            for number in &case.numbers {
                let value = self.value(number)?;
                if value.constant().is_none() || !value.of.is_integer() {
                    return Err(Problem::new(
                        value.at,
                        "what follows `case` must be known before the script runs",
                    )
                    .help("write a number, or `if` and `elsif`"));
                }
                let at = value.at;
                let value = self.convert(value, &selected.of)?;
                if !known.insert(value.constant()) {
                    return Err(Problem::new(
                        at,
                        "there is a `case` with this number already",
                    ));
                }
                let equal = Value::binary(at, Op::Eq, selected.clone(), value, INT);
                conditions.push(equal);
            }
            checked.push(value::Case {
                conditions,
                is_default: case.is_default,
                body: self.statements(&case.body)?,
            });
        }
        Ok(checked)
    }
}
