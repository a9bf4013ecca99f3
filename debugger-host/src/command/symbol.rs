//! Names, modules, and code with names in it.

use super::memory::{bounded, length_and_process};
use super::{Action, Arguments, CommandError, Continuation, Debugger, ParseError};
use crate::answer::{Address, Answer, Hex, Module, Name};
use crate::disasm::{INSTRUCTION_BYTES, disassemble};
use crate::expression::Expression;
use crate::symbol::resolve::KERNEL;
use wire_protocol::register::Register;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Bytes that `u` shows when no length is given.
const CODE_BYTES: u64 = 0x40;

struct Unassemble {
    address: Option<Expression>,
    len: Option<Expression>,
    pid: Option<Expression>,
}

pub(super) fn unassemble(mut arguments: Arguments<'_>) -> Parsed {
    let mut ahead = arguments.clone();
    let address = if ahead.is_empty() || ahead.keyword("l") || ahead.keyword("pid") {
        None
    } else {
        Some(arguments.expression("the address")?)
    };
    let (len, pid) = length_and_process(&mut arguments)?;
    arguments.end()?;
    Ok(Box::new(Unassemble { address, len, pid }))
}

impl Action for Unassemble {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = match &self.address {
            Some(address) => debugger.value(address)?,
            None => match debugger.context() {
                Some(context) => {
                    let rip = context.register(Register::Rip);
                    rip.ok_or_else(|| context.not_saved("rip"))?
                }
                None => debugger.session.register(Register::Rip)?,
            },
        };
        let len = bounded(debugger, self.len.as_ref(), CODE_BYTES)?;
        // Code of the kernel without a name may be that of a module or a BPF program.
        if address >> 63 == 1 && debugger.symbols.place(address).is_none() {
            debugger.refresh_modules()?;
        }
        let space = debugger.space_of(self.pid.as_ref())?;
        // The last instruction may end behind the length.
        let bytes =
            debugger
                .session
                .memory(space, address, len as usize + INSTRUCTION_BYTES - 1)?;
        let mut lines = disassemble(&bytes, address, &debugger.symbols);
        lines.retain(|line| line.at.address.0.wrapping_sub(address) < len);
        if let Some(last) = lines.last() {
            debugger.continuation = Some(Continuation {
                command: "u".into(),
                address: last.at.address.0.wrapping_add(last.bytes.0.len() as u64),
                len,
            });
        }
        Ok(Answer::Code {
            instructions: lines,
        })
    }
}

/// A symbol.
fn named(module: &str, address: u64, name: &str) -> Address {
    Address {
        address: Hex(address),
        symbol: Some(Name {
            module: module.to_owned(),
            name: Some(name.to_owned()),
            offset: Hex(0),
        }),
    }
}

struct Search(String);

pub(super) fn search(mut arguments: Arguments<'_>) -> Parsed {
    let pattern = arguments.required_word("the pattern")?.to_owned();
    arguments.end()?;
    Ok(Box::new(Search(pattern)))
}

impl Action for Search {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if let Some((module, _)) = self.0.split_once('!')
            && ![KERNEL, "nt", "kernel"]
                .iter()
                .any(|k| k.eq_ignore_ascii_case(module))
        {
            if module.contains(['*', '?']) {
                debugger.refresh_modules()?;
            } else {
                debugger.read_module_symbols(module)?;
            }
        } else if debugger.symbols.kernel().is_none() {
            return Err(CommandError::NoSymbols);
        }
        let symbols: Vec<Address> = debugger
            .symbols
            .matching(&self.0)
            .into_iter()
            .map(|(module, address, symbol)| named(&module, address, &symbol.name))
            .collect();
        if symbols.is_empty() {
            return Err(CommandError::NoMatch {
                pattern: self.0.clone(),
            });
        }
        Ok(Answer::Symbols { symbols })
    }
}

struct Modules(Option<String>);

pub(super) fn modules(mut arguments: Arguments<'_>) -> Parsed {
    let part = if arguments.keyword("m") {
        Some(arguments.required_word("the name")?.to_owned())
    } else {
        None
    };
    arguments.end()?;
    Ok(Box::new(Modules(part)))
}

impl Action for Modules {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.refresh_modules()?;
        let base = debugger.session.identity().kernel_base.0;
        let end = debugger.symbols.find("vmlinux!_end");
        let symbols = debugger
            .symbols
            .kernel()
            .map_or(0, crate::symbol::table::Table::len);
        let wanted = |name: &str| {
            self.0
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
        };
        let kernel = Module {
            name: KERNEL.to_owned(),
            base: Hex(base),
            end: end.map(Hex),
            symbols: u32::try_from(symbols).ok(),
        };
        let others = debugger.symbols.modules().iter().map(|module| Module {
            name: module.name.clone(),
            base: Hex(module.base),
            end: Some(Hex(module.base.wrapping_add(module.size))),
            symbols: module
                .table
                .as_ref()
                .and_then(|table| u32::try_from(table.len()).ok()),
        });
        Ok(Answer::Modules {
            modules: std::iter::once(kernel)
                .chain(others)
                .filter(|module| wanted(&module.name))
                .collect(),
        })
    }
}

struct Nearest(Expression);

pub(super) fn nearest(mut arguments: Arguments<'_>) -> Parsed {
    let address = arguments.expression("the address")?;
    arguments.end()?;
    Ok(Box::new(Nearest(address)))
}

impl Action for Nearest {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = debugger.value(&self.0)?;
        if debugger.symbols.place(address).is_none() && debugger.session.halt().is_some() {
            debugger.refresh_modules()?;
        }
        if let Some(module) = debugger.symbols.module_at(address) {
            let name = module.name.clone();
            debugger.read_module_symbols(&name)?;
        }
        let place = debugger
            .symbols
            .place(address)
            .ok_or(CommandError::NoPlace { address })?;
        let kernel = debugger.symbols.kernel().filter(|_| place.module == KERNEL);
        let next = kernel.and_then(|kernel| {
            let next = kernel.following(address)?;
            Some(named(KERNEL, kernel.address_of(next), &next.name))
        });
        Ok(Answer::Nearest {
            at: Address {
                address: Hex(address),
                symbol: Some(place.into()),
            },
            next,
        })
    }
}
