//! `t`, `p`, `gu` and their relatives: steps of the thread that the operating core runs.

use super::step::{count_of, detail_for, shown};
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::Answer;
use crate::expression::Expression;
use wire_protocol::address::GuestVirtual;
use wire_protocol::limits;
use wire_protocol::packet::{StepDetail, StepOrder, Until, Walk};

/// Where it is to end.
enum End {
    /// After so many steps.
    Count(Option<Expression>),
    /// At an address.
    Address(Expression),
    /// What the name of the command says, after so many steps at most.
    Named(Until, Option<Expression>),
}

struct Steps {
    is_over: bool,
    shows_registers: bool,
    is_frozen: bool,
    end: End,
}

/// `p`, `pr`, `t`, `tr`, `pa`, `ta`, `pc`, `tc`, `pt`, `tt`, `gu`, by their names.
pub(super) fn walk(mut arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    const FROZEN: &str = "freeze";
    let name = arguments.name;
    let mut is_frozen = arguments.keyword(FROZEN);
    let mut number = |what| match is_frozen || arguments.is_empty() {
        true => Ok(None),
        false => arguments.number(what).map(Some),
    };
    let end = match name {
        "pa" | "ta" => End::Address(arguments.expression("the address")?),
        "pc" | "tc" => End::Named(Until::Call, None),
        "pt" | "tt" => End::Named(Until::Return, None),
        "gu" => End::Named(Until::Returned, number("MAX")?),
        _ => End::Count(number("COUNT")?),
    };
    is_frozen |= arguments.keyword(FROZEN);
    arguments.end()?;
    Ok(Box::new(Steps {
        is_over: !name.starts_with('t'),
        shows_registers: name.ends_with('r'),
        is_frozen,
        end,
    }))
}

impl Action for Steps {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let (until, count, detail) = match &self.end {
            End::Count(count) => {
                let count = count_of(debugger, "COUNT", count.as_ref(), 1, self.shows_registers)?;
                (Until::Count, count, detail_for(count, self.shows_registers))
            }
            End::Address(address) => {
                let address = debugger.value(address)?;
                // Where no instruction starts it would never come to.
                debugger.lead_bytes(address, false)?;
                let until = Until::Address(GuestVirtual(address));
                (until, limits::STEPS, StepDetail::Addresses)
            }
            End::Named(until, most) => {
                let most = count_of(debugger, "MAX", most.as_ref(), limits::STEPS, false)?;
                (*until, most, StepDetail::Addresses)
            }
        };
        let order = StepOrder {
            core: debugger.session.core(),
            count,
            detail,
            walk: Some(Walk {
                is_over: self.is_over,
                is_frozen: self.is_frozen,
                until,
            }),
        };
        debugger.back_up();
        let stepped = debugger.session.step(order)?;
        Ok(shown(debugger, stepped, self.shows_registers, true))
    }
}
