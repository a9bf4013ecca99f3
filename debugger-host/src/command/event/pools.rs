//! Pools of pre-allocated objects. Called by the command table.

use super::Parsed;
use crate::answer::{Answer, Count};
use crate::command::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use wire_protocol::event::PoolClass;

struct Prealloc {
    class: PoolClass,
    count: Expression,
}

pub(in crate::command) fn prealloc(mut arguments: Arguments<'_>) -> Parsed {
    let word = arguments.required_word("the class")?;
    let class = PoolClass::ALL
        .into_iter()
        .find(|class| class.name().eq_ignore_ascii_case(word))
        .ok_or_else(|| ParseError::BadWord {
            word: word.to_owned(),
            expected: "one of regular-event, big-event, regular-safe-buffer, big-safe-buffer, \
                       epthook, epthook2, monitor, thread-interception",
        })?;
    let count = arguments.number("the count")?;
    arguments.end()?;
    Ok(Box::new(Prealloc { class, count }))
}

impl Action for Prealloc {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let limit = wire_protocol::limits::PREALLOC_COUNT;
        let value = debugger.value(&self.count)?;
        let count = u32::try_from(value)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(CommandError::TooBig {
                what: "the count",
                value,
                limit: u64::from(limit),
            })?;
        let carved = debugger.session.prealloc(self.class, count)?;
        debugger.kept.reserve(self.class.name(), count);
        Ok(Answer::Reserved {
            class: self.class.into(),
            ready: carved.ready,
            queued: carved.queued,
            free: carved.free,
            arena_left_bytes: Count(carved.arena_left_bytes),
        })
    }
}

struct ShowPools;

pub(in crate::command) fn pools(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(ShowPools))
}

impl Action for ShowPools {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let pools = debugger.session.pools()?;
        Ok(Answer::Pools {
            pools: (&pools).into(),
        })
    }
}

pub(in crate::command) fn test(mut arguments: Arguments<'_>) -> Parsed {
    let word = arguments.required_word("pool")?;
    if !word.eq_ignore_ascii_case("pool") {
        return Err(ParseError::BadWord {
            word: word.to_owned(),
            expected: "pool",
        });
    }
    pools(arguments)
}

struct Preactivate;

pub(in crate::command) fn preactivate(mut arguments: Arguments<'_>) -> Parsed {
    let word = arguments.required_word("mode")?;
    if !word.eq_ignore_ascii_case("mode") {
        return Err(ParseError::BadWord {
            word: word.to_owned(),
            expected: "mode",
        });
    }
    arguments.end()?;
    Ok(Box::new(Preactivate))
}

impl Action for Preactivate {
    fn run(&self, _: &mut Debugger) -> Result<Answer, CommandError> {
        Ok(Answer::NothingToPrepare {})
    }
}
