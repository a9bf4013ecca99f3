//! Last-branch records: what the processor keeps of the branches that were taken last.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::branch::{Branch, CoreBranches};
use crate::answer::{Address, Answer};
use crate::expression::Expression;
use wire_protocol::address::CoreId;
use wire_protocol::branch::BranchOrder;
use wire_protocol::branch::filter::NAMES;

type Parsed = Result<Box<dyn Action>, ParseError>;

struct Change(BranchOrder, u16);

pub(super) fn change(mut arguments: Arguments<'_>) -> Parsed {
    let word = arguments.required_word("what to do")?;
    let order = match word {
        "enable" => BranchOrder::Enable,
        "disable" => BranchOrder::Disable,
        "flush" => BranchOrder::Flush,
        "filter" => BranchOrder::Filter,
        _ => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "enable, disable, flush or filter",
            });
        }
    };
    let mut filter = 0;
    while order == BranchOrder::Filter
        && let Some(word) = arguments.word()
    {
        let Some((_, bits)) = NAMES.iter().find(|(name, _)| *name == word) else {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "kernel, user, jcc, rel_call, ind_call, return, ind_jmp, rel_jmp, far, \
                           other_branches or call_stack",
            });
        };
        filter |= bits;
    }
    arguments.end()?;
    Ok(Box::new(Change(order, filter)))
}

impl Action for Change {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.change_branches(self.0, self.1)?;
        Ok(Answer::Done {})
    }
}

struct Dump(Option<Expression>);

pub(super) fn dump(mut arguments: Arguments<'_>) -> Parsed {
    let core = if arguments.keyword("core") {
        Some(arguments.number("the core")?)
    } else {
        None
    };
    arguments.end()?;
    Ok(Box::new(Dump(core)))
}

impl Action for Dump {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let count = debugger.session.identity().cores;
        let all = match &self.0 {
            None => 0..count,
            Some(core) => {
                let value = debugger.value(core)?;
                let core = u16::try_from(value).ok().filter(|core| *core < count);
                let core = core.ok_or(CommandError::OutOfRange {
                    what: "the core",
                    value,
                    least: 0,
                    most: u64::from(count.saturating_sub(1)),
                })?;
                core..core + 1
            }
        };
        let mut cores = Vec::new();
        for core in all {
            let (is_on, branches) = debugger.session.branches(CoreId(core))?;
            let branches = branches.iter().map(|branch| Branch {
                from: Address::new(branch.from, &debugger.symbols),
                to: Address::new(branch.to, &debugger.symbols),
                what: branch.notes.kind.map(|kind| kind.name().to_owned()),
                is_mispredicted: branch.notes.mispredicted,
                cycles: branch.notes.cycles,
            });
            cores.push(CoreBranches {
                core,
                is_on,
                branches: branches.collect(),
            });
        }
        Ok(Answer::Branches { cores })
    }
}
