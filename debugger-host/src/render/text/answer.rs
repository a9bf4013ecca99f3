//! What a command answers, as text.

use super::code::code;
use super::dump::dump;
use super::{
    address, branch, event, help, name, news, occasion, register, session_file, status, step, task,
    value,
};
use crate::answer::{Address, Answer, Change, Count, Failure, Mapping, Module};
use crate::size::bytes;

/// The text of an answer, without the end of its last line; `None` for one without words.
#[must_use]
pub fn answer(answer: &Answer) -> Option<String> {
    Some(match answer {
        Answer::Done {} | Answer::ScriptRan { .. } | Answer::Cleared {} => return None,
        Answer::Leaving { is_halted } => {
            return is_halted
                .then(|| "the debuggee stays halted; connect again to go on with it".to_owned());
        }
        Answer::Connected {
            status: of,
            halt,
            events,
            pools,
        } => {
            let events = events.as_deref().filter(|events| !events.is_empty());
            let parts = [
                Some(status::connected(of)),
                halt.as_deref().map(news::halt),
                events.map(|events| event::events(events, "no events", false)),
                pools.as_ref().map(event::pools),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        Answer::Closed { line, runs, events } => status::closed(line, *runs, *events),
        Answer::Status {
            status: of,
            messages,
        } => status::status(of, messages.as_ref()),
        Answer::SessionSaved {
            path,
            events,
            unknown,
        } => session_file::saved(path, *events, unknown),
        Answer::SessionLoaded {
            path,
            set,
            there,
            other_kernel,
            failed,
        } => session_file::loaded(path, *set, *there, other_kernel.as_deref(), failed),
        Answer::Tasks {
            are_threads,
            tasks,
            damage,
        } => task::list(tasks, *are_threads, *damage),
        Answer::CurrentTask {
            core,
            task: of,
            context,
        } => task::current(*core, of.as_ref(), context.as_ref()),
        Answer::TaskContext {
            task: of,
            has_memory,
            at,
        } => task::context(of, *has_memory, at.as_ref()),
        Answer::TaskRuns { core, task: of } => task::runs(*core, of),
        Answer::Switching {
            id,
            to,
            is_thread,
            method,
            at,
        } => task::switching(*id, (to, *is_thread), *method, at),
        Answer::LastEvent { halt } => news::halt(halt),
        Answer::Occasions { occasions } => occasion::lines(occasions),
        Answer::Ends { end } => occasion::end(*end).to_owned(),
        Answer::HaltedAlready {} => "the debuggee is halted already".to_owned(),
        Answer::OperatingCore { core } => format!("operating core {core:x}"),
        Answer::Cores { cores } => status::cores(cores),
        Answer::Registers {
            is_all,
            registers,
            changed,
            ..
        } if *is_all => register::all(registers, changed.as_deref()),
        Answer::Registers {
            registers,
            flags,
            changed,
            ..
        } => register::general(registers, flags, changed.as_deref()),
        Answer::Register {
            name,
            bits,
            value,
            flags,
            ..
        } => {
            let digits = bits.div_ceil(4) as usize;
            match flags {
                Some(flags) => format!("{name}={value:016x} {}", register::flags(flags)),
                None => format!("{name}={value:0digits$x}", value = value.0),
            }
        }
        Answer::Memory {
            address,
            len_bytes,
            unit,
            bytes,
            ..
        } => dump(address.0, &bytes.0, *len_bytes as usize, *unit),
        Answer::Physical {
            virtual_address,
            physical_address,
            page_bytes,
        } => format!(
            "virtual {virtual_address:016x} is physical {physical_address:x} ({} page)",
            bytes(page_bytes.0)
        ),
        Answer::Branches { cores } => branch::branches(cores),
        Answer::Stepped {
            is_thread,
            count,
            trace: _,
            lines,
            registers,
            shows_registers,
            halt,
        } => step::stepped(*is_thread, *count, lines, registers, *shows_registers, halt),
        Answer::Virtual {
            physical_address,
            mappings,
        } => lines(mappings, |mapping| match mapping {
            Mapping::DirectMap { at, page_bytes } => format!(
                "physical {physical_address:x} is virtual {:016x} (direct map, {} page)",
                at.address,
                bytes(page_bytes.0)
            ),
            Mapping::KernelImage { at } => format!(
                "physical {physical_address:x} is virtual {} (kernel image)",
                address(at)
            ),
        }),
        Answer::MemoryWritten {
            path,
            bytes,
            missing,
        } => {
            let bytes = status::counted(*bytes, "byte", "s");
            let end = missing
                .as_ref()
                .map(|at| format!("; there is no memory at {:x}", at.0));
            format!("{bytes} written to {path}{}", end.unwrap_or_default())
        }
        Answer::Digest { digest } => format!("{digest:016x}"),
        Answer::Code { instructions } => code(instructions),
        Answer::Symbols { symbols } => lines(symbols, |at| {
            let symbol = at.symbol.as_ref().map_or_else(String::new, name);
            format!("{:016x} {symbol}", at.address)
        }),
        Answer::Modules { modules } if modules.is_empty() => return None,
        Answer::Modules { modules } => lines(modules, module),
        Answer::Nearest { at, next } => {
            let mut text = near(at);
            if let Some(next) = next {
                text.push('\n');
                text.push_str(&near(next));
            }
            text
        }
        Answer::Value { value: of, failure } => warned(failure.as_ref(), &value::value(of)),
        Answer::Float { bits, failure, .. } => {
            warned(failure.as_ref(), &f64::from_bits(bits.0).to_string())
        }
        Answer::Formats {
            value: of,
            octal,
            binary,
            characters,
            failure,
            ..
        } => warned(
            failure.as_ref(),
            &value::formats(of, octal, binary, characters),
        ),
        Answer::Ran { failure } => return failure.as_ref().map(|why| format!("warning: {why}")),
        Answer::EventAdded {
            id,
            event: new,
            free,
            low,
        } => event::added(*id, new, free.as_deref(), low),
        Answer::Events {
            events,
            is_of_last_halt,
        } => event::events(events, "no events", *is_of_last_halt),
        Answer::Breakpoints {
            breakpoints,
            is_of_last_halt,
        } => event::events(breakpoints, "no breakpoints", *is_of_last_halt),
        Answer::EventsChanged {
            change,
            id,
            are_breakpoints,
            count,
            free,
        } => {
            let kind = event::kind(*are_breakpoints);
            let done = match change {
                Change::Enabled => "enabled",
                Change::Disabled => "disabled",
                Change::Cleared => "cleared",
            };
            let what = match id {
                Some(id) => format!("{kind} {id:x}"),
                None if *count == 1 => format!("1 {kind}"),
                None => format!("{count} {kind}s"),
            };
            format!("{what} {done}{}", event::free_counts(free))
        }
        Answer::ShortCircuit { is_on: true } => {
            "what this stop is about does not take effect".to_owned()
        }
        Answer::ShortCircuit { is_on: false } => "what this stop is about takes effect".to_owned(),
        Answer::Flushed {
            dropped,
            lost: Count(0),
        } => format!("{dropped} messages dropped"),
        Answer::Flushed { dropped, lost } => {
            format!("{dropped} messages dropped; {lost} had found no room before")
        }
        Answer::Reserved {
            class,
            ready,
            queued,
            free,
            arena_left_bytes,
        } => event::reserved(*class, *ready, *queued, *free, arena_left_bytes.0),
        Answer::Pools { pools } => event::pools(pools),
        Answer::NothingToPrepare {} => {
            "no event needs preparation; what the processor cannot do is said when it is added"
                .to_owned()
        }
        Answer::Outputs { outputs } => status::outputs(outputs),
        Answer::OutputCreated { name, target } => format!(
            "output {name}: {}; `output open {name}` opens it",
            status::target(target)
        ),
        Answer::OutputOpened { name } => format!("output {name} is open"),
        Answer::OutputClosed { name } => format!("output {name} is closed"),
        Answer::Commands { commands } => help::commands(commands),
        Answer::Command { command } => help::command(command),
        Answer::Options { options, details } => {
            format!("{}\n{details}", help::options(options))
        }
        Answer::Lines { rules } => help::rules(rules),
    })
}

fn lines<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text behind the failure that did not end a script.
fn warned(failure: Option<&Failure>, text: &str) -> String {
    match failure {
        Some(why) => format!("warning: {why}\n{text}"),
        None => text.to_owned(),
    }
}

fn near(at: &Address) -> String {
    let symbol = at.symbol.as_ref().map_or_else(String::new, name);
    format!("({:016x}) {symbol}", at.address)
}

/// A line of `lm`.
fn module(module: &Module) -> String {
    let end = module
        .end
        .map_or_else(|| " ".repeat(16), |end| format!("{end:016x}"));
    let symbols = module
        .symbols
        .map_or_else(String::new, |count| format!(" {count} symbols"));
    let line = format!("{:016x} {end} {:<24}{symbols}", module.base, module.name);
    line.trim_end().to_owned()
}
