//! Running, halting, and choosing a core.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use crate::render;
use std::time::Duration;
use wire_protocol::address::CoreId;
use wire_protocol::packet::CoreState;

type Parsed = Result<Box<dyn Action>, ParseError>;

struct Go;

pub(super) fn go(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Go))
}

impl Action for Go {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        Ok(debugger.session.go()?)
    }
}

struct Pause;

pub(super) fn pause(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Pause))
}

impl Action for Pause {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        if debugger.session.halt().is_some() {
            debugger.out.line("the debuggee is halted already");
            return Ok(());
        }
        debugger.session.break_in()?;
        debugger.show_news();
        Ok(())
    }
}

struct Wait(Option<Expression>);

pub(super) fn wait(mut arguments: Arguments<'_>) -> Parsed {
    let seconds = if arguments.is_empty() {
        None
    } else {
        Some(arguments.expression("SECONDS")?)
    };
    arguments.end()?;
    Ok(Box::new(Wait(seconds)))
}

impl Action for Wait {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let limit = match &self.0 {
            Some(seconds) => Some(Duration::from_secs(debugger.value(seconds)?.min(1 << 32))),
            None => debugger.session.patience().limit(),
        };
        debugger.session.wait_for_halt(limit)?;
        debugger.show_news();
        Ok(())
    }
}

struct Core(Option<Expression>);

pub(super) fn core(mut arguments: Arguments<'_>) -> Parsed {
    let number = if arguments.is_empty() {
        None
    } else {
        Some(arguments.expression("N")?)
    };
    arguments.end()?;
    Ok(Box::new(Core(number)))
}

impl Action for Core {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        if let Some(number) = &self.0 {
            let number = debugger.value(number)?;
            let core = CoreId(u16::try_from(number).unwrap_or(u16::MAX));
            debugger.session.set_core(core)?;
            debugger.out.line(format!("operating core {core}"));
            return Ok(());
        }
        let operating = debugger.session.core();
        for (number, state) in debugger.session.cores()?.into_iter().enumerate() {
            let mark = match debugger.session.halt() {
                Some(_) if number == usize::from(operating.0) => '*',
                _ => ' ',
            };
            let state = match state {
                CoreState::Halted { rip } => {
                    format!("halted   {}", render::address(rip.0, &debugger.symbols))
                }
                CoreState::WaitForSipi => "waits for a start-up IPI".into(),
                CoreState::Missing => "did not check in".into(),
                CoreState::Offline => "not under the hypervisor".into(),
            };
            debugger.out.line(format!("{mark}{number:2x}  {state}"));
        }
        Ok(())
    }
}
