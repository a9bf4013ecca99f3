//! What a refusal means: what was not done, why, and what to do. One line each. Called by [`crate::session`] for its
//! errors, and by [`crate::recording`].

mod pool;

use crate::size::count;
use crate::types::register::spelling;
use pool::Pool;
use wire_protocol::event::PoolClass;
use wire_protocol::refusal::{
    BranchObstacle, DetourObstacle, EventRefusal, ProcessorFeature, ProgramPart, Refusal,
};

/// One line, beginning with the number that users look up.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    format!("{:08x}: {}", refusal.code(), words(refusal))
}

const fn why_no_detour(obstacle: DetourObstacle) -> &'static str {
    match obstacle {
        DetourObstacle::Processor => {
            "this processor cannot change EPT views without a VM exit (VMFUNC)"
        }
        DetourObstacle::NotKernel => "only the kernel's code takes detours",
        DetourObstacle::EntryCode => {
            "this is code of the kernel's entry or the debugger's own, which must run undisturbed"
        }
        DetourObstacle::TooShort => {
            "the instruction is shorter than the five bytes of a jump, as none at the start of a \
             traceable function is"
        }
        DetourObstacle::Instruction => "the instruction cannot be carried out elsewhere",
        DetourObstacle::PageEnd => "the instruction goes on on the next page",
        DetourObstacle::OutOfReach => "a jump from there does not reach the driver",
        DetourObstacle::NoPlace => {
            "every place for one was given away, and they are free again only when the driver is \
             loaded anew"
        }
    }
}

const fn why_no_branches(obstacle: BranchObstacle) -> &'static str {
    match obstacle {
        BranchObstacle::Processor => {
            "this processor announces no last-branch records; `!trace` follows a program at the price \
             of a VM exit for each instruction"
        }
        BranchObstacle::Model => {
            "where this model of processor has its last-branch records is not known here"
        }
        BranchObstacle::Exits => {
            "this processor cannot keep the debugger's own branches out of its last-branch records"
        }
        BranchObstacle::Guest => {
            "the guest uses the last-branch records itself (`perf record -b`, say); end that first"
        }
        BranchObstacle::Filter => {
            "this processor cannot leave out just these; `!lbr filter` without a word records all"
        }
    }
}

fn words(refusal: &Refusal) -> String {
    match *refusal {
        Refusal::ProcessNotFound { pid } => format!(
            "no process {pid:x} (0n{pid}) can be found, or its address space cannot be walked; \
             `pid` takes the number of a live process, in hexadecimal"
        ),
        Refusal::PoolExhausted {
            class,
            reserved,
            in_use,
            needed,
            most,
            object_bytes,
            arena_left_bytes,
            possible,
            refill_ms,
        } => {
            let pool = Pool {
                class,
                reserved,
                object_bytes,
                arena_left_bytes,
                possible,
                refill_ms,
            };
            pool.lacks(in_use, needed, most)
        }
        Refusal::CoreNotHeld { core } => format!(
            "core {core} is not held, so nothing was applied; `g` and `pause` gather the cores anew"
        ),
        Refusal::NotPresent { address } => format!(
            "nothing is mapped at {address:016x} in the address space of this core; \
             another core (`~ N`) may be in a process that has it"
        ),
        Refusal::PhysicalOutOfRange { address, limit } => format!(
            "no memory at physical address {address:x}; physical addresses end at {limit:x}"
        ),
        Refusal::DebuggerMemory { address } => format!(
            "physical address {address:x} belongs to the debugger itself, which cannot be read, \
             written or hooked"
        ),
        Refusal::CoreAway { core } => format!(
            "core {core} is not held, so there is nothing to look at; `g` and `pause` gather the \
             cores anew"
        ),
        Refusal::CoreDied { core } => format!(
            "core {core} has died and executes nothing any more; choose another core, or leave it \
             out where all are meant"
        ),
        Refusal::NoSuchEvent { event } => {
            format!("there is no event {event}; `events` lists them")
        }
        Refusal::NoSuchCore { core, count } => format!(
            "there is no core {core}: the debuggee has {count}, from 0 to {:x}",
            count.saturating_sub(1)
        ),
        Refusal::ReadOnlyRegister { register } => {
            format!("register {} can only be read", spelling(register))
        }
        Refusal::BadRegisterValue { register, value } => format!(
            "the processor would not accept {value:x} in {}; nothing was changed",
            spelling(register)
        ),
        Refusal::TooLong {
            limit_bytes,
            asked_bytes,
        } => format!("{asked_bytes:x} bytes are more than one request may name ({limit_bytes:x})"),
        Refusal::NoBranches { obstacle } => {
            format!("no branches can be recorded: {}", why_no_branches(obstacle))
        }
        Refusal::NotHalted => "the debuggee is running; `pause` halts it".into(),
        Refusal::ProtocolVersion { ours } => format!(
            "the driver speaks version {ours} of the protocol, this program version {}; \
             use a program and a driver of one release",
            wire_protocol::packet::PROTOCOL_VERSION
        ),
        Refusal::UnknownRequest { kind } => {
            format!("the driver does not know request {kind:02x}; it is older than this program")
        }
        Refusal::Malformed => "the driver could not read the request; use a program and a driver \
                               of one release"
            .into(),
        Refusal::ArenaTooSmall {
            class,
            asked,
            possible,
            room,
        } => {
            let name = class.name();
            let prealloc = match possible {
                0 => String::new(),
                _ => format!("; `prealloc {name} {possible:x}`"),
            };
            let now = match possible {
                0 => "nothing".to_owned(),
                _ => possible.to_string(),
            };
            if asked > room {
                format!(
                    "there cannot be {asked} objects of {name} more: {room} can, of which the arena \
                     can give {now} now{prealloc}"
                )
            } else {
                let or = if possible == 0 { ";" } else { ", or" };
                format!(
                    "the arena has no room for {asked} objects of {name}: it can give {now} \
                     now{prealloc}{or} load the driver with a larger arena"
                )
            }
        }
        Refusal::ValueOutOfRange { value, least, most } => {
            format!("{value:x} is out of range: it must be from {least:x} to {most:x}")
        }
        Refusal::AnswerLost => {
            "the driver could not put its answer into a message; what was asked \
                                for may have been done"
                .into()
        }
        Refusal::NotWholePages { address, len_bytes } => format!(
            "only whole pages can be digested: address and length must be multiples of 1000, and \
             {address:x} and {len_bytes:x} are not both"
        ),
        Refusal::GlobalLength {
            has_bytes,
            asked_bytes,
        } => format!(
            "a global variable of this name has {has_bytes} bytes already and the script wants \
             {asked_bytes}; globals live until the driver is unloaded: choose another name"
        ),
        Refusal::GlobalsFull {
            free_bytes,
            free_names,
            asked_bytes,
        } => format!(
            "a global variable of {asked_bytes} bytes finds {free_bytes} bytes and room for \
             {free_names} names; globals live until the driver is unloaded: use what there is"
        ),
        Refusal::Event(ref refusal) => of_event(refusal),
    }
}

/// Refusals that only events and their programs meet.
fn of_event(refusal: &EventRefusal) -> String {
    match *refusal {
        EventRefusal::ConditionTooBig {
            limit_bytes,
            asked_bytes,
        } => format!(
            "the condition takes {} bytes and a big event holds {}; make it smaller, or load the \
             driver with a larger big_condition_bytes",
            count(asked_bytes),
            count(limit_bytes)
        ),
        EventRefusal::ActionTooBig {
            limit_bytes,
            asked_bytes,
        } => format!(
            "the actions take {} bytes, with all that they need to run, and a big event holds \
             {}; make them smaller, or load the driver with a larger big_action_bytes",
            count(asked_bytes),
            count(limit_bytes)
        ),
        EventRefusal::NoBigEvent {
            part,
            regular_bytes,
            asked_bytes,
            reserved,
            object_bytes,
            arena_left_bytes,
            possible,
            refill_ms,
        } => {
            let what = match part {
                ProgramPart::Condition => "the condition takes",
                ProgramPart::Action => "the actions take",
            };
            format!(
                "{what} {} bytes and a regular event holds {}; {}",
                count(asked_bytes),
                count(regular_bytes),
                Pool {
                    class: PoolClass::BigEvent,
                    reserved,
                    object_bytes,
                    arena_left_bytes,
                    possible,
                    refill_ms,
                }
                .is_empty()
            )
        }
        EventRefusal::BufferOverMessage {
            limit_bytes,
            asked_bytes,
            most_bytes,
        } => format!(
            "a buffer of {} bytes is longer than the longest message of the line, {} bytes; \
             `buffer {most_bytes:x}` is the most that there can be",
            count(asked_bytes),
            count(limit_bytes)
        ),
        EventRefusal::BufferTooBig {
            limit_bytes,
            asked_bytes,
        } => format!(
            "a buffer of {} bytes was asked for and a big safe buffer has {}; `buffer \
             {limit_bytes:x}`, or load the driver with a larger big_safe_buffer_bytes",
            count(asked_bytes),
            count(limit_bytes)
        ),
        EventRefusal::BadProgram { part, at, reason } => {
            let what = match part {
                ProgramPart::Condition => "the condition",
                ProgramPart::Action => "the script",
            };
            format!(
                "the driver does not run {what}: {} (offset {at:x} of its code); use a program \
                 and a driver of one release",
                reason.text()
            )
        }
        EventRefusal::OptionDoesNotFit { option } => format!(
            "option `{}` does not fit this event, or its other options",
            option.name()
        ),
        EventRefusal::OwnPort { port } => format!(
            "port {port:x} belongs to the line between the two machines and cannot be watched"
        ),
        EventRefusal::OwnMsr { msr } => {
            format!("MSR {msr:x} is the debugger's own here and cannot be watched")
        }
        EventRefusal::NoFeature { feature } => {
            let what = match feature {
                ProcessorFeature::ModeBasedExecute => "tell user from kernel execution in EPT",
                ProcessorFeature::AcknowledgeInterrupt => "take an interrupt from the guest",
            };
            format!("the debuggee's processor cannot {what}, which this event needs")
        }
        EventRefusal::ClearIncomplete { core, event } => format!(
            "core {core} is not held, so event {event} could not be cleared and is still listed; `g` and \
             `pause` gather the cores anew, then `events c {event}` tries again"
        ),
        EventRefusal::NotRam { address } => format!(
            "physical address {address:x} belongs to a device, so there is no code to hook; `!monitor` can watch it"
        ),
        EventRefusal::NoDetour { obstacle } => format!(
            "no detour there: {}; `!epthook` watches the same instruction, at the price of a VM \
             exit for each hit",
            why_no_detour(obstacle)
        ),
        EventRefusal::PageTaken { event } => format!(
            "event {event} is in the way: breakpoints (`!epthook`) and detours (`!epthook2`) cannot \
             share a page, nor two detours an instruction; `events c {event}` clears it"
        ),
        EventRefusal::TooManyHooksOnPage { limit } => format!(
            "this page has {limit} hooks already, the most there can be; `events c N` clears one"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pool_names_the_command_that_helps() {
        let text = refusal(&Refusal::PoolExhausted {
            class: PoolClass::RegularEvent,
            reserved: 20,
            in_use: 20,
            needed: 1,
            most: 2048,
            object_bytes: 9000,
            arena_left_bytes: 655_360,
            possible: 1,
            refill_ms: 1000,
        });
        assert_eq!(
            text,
            "c0000042: no regular event left: all 20 are in use and the arena's last 640 KiB are kept \
             for prealloc; run `prealloc regular-event 1`, or `g` and break in when it is refilled, \
             every 1000 ms"
        );
        assert!(text.contains("`prealloc regular-event 1`"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn an_empty_arena_does_not_suggest_prealloc() {
        let text = refusal(&Refusal::PoolExhausted {
            class: PoolClass::EptHook,
            reserved: 0,
            in_use: 0,
            needed: 1,
            most: 2048,
            object_bytes: 9000,
            arena_left_bytes: 100,
            possible: 0,
            refill_ms: 0,
        });
        assert!(!text.contains("prealloc") && !text.contains('`'), "{text}");
        assert!(text.contains("none is reserved"), "{text}");
    }

    #[test]
    fn what_cannot_be_reserved_is_told_with_what_can() {
        let told = |asked, possible, room| {
            let class = PoolClass::BigEvent;
            refusal(&Refusal::ArenaTooSmall {
                class,
                asked,
                possible,
                room,
            })
        };
        assert_eq!(
            told(300, 20, 254),
            "c0000108: there cannot be 300 objects of big-event more: 254 can, of which the arena \
             can give 20 now; `prealloc big-event 14`"
        );
        assert_eq!(
            told(200, 20, 254),
            "c0000108: the arena has no room for 200 objects of big-event: it can give 20 now; \
             `prealloc big-event 14`, or load the driver with a larger arena"
        );
        assert_eq!(
            told(1, 0, 254),
            "c0000108: the arena has no room for 1 objects of big-event: it can give nothing now; \
             load the driver with a larger arena"
        );
        assert_eq!(
            told(1, 0, 0),
            "c0000108: there cannot be 1 objects of big-event more: 0 can, of which the arena can \
             give nothing now"
        );
    }

    #[test]
    fn every_limit_of_programs_and_buffers_is_told_with_what_was_asked_and_what_helps() {
        let (limit_bytes, asked_bytes) = (0x1000, 0x2345);
        let big = |part| EventRefusal::NoBigEvent {
            part,
            regular_bytes: limit_bytes,
            asked_bytes,
            reserved: 0,
            object_bytes: 90_000,
            arena_left_bytes: 1 << 20,
            possible: 1,
            refill_ms: 0,
        };
        for (refused, code, help) in [
            (
                EventRefusal::ConditionTooBig {
                    limit_bytes,
                    asked_bytes,
                },
                "c0000041",
                "big_condition_bytes",
            ),
            (
                big(ProgramPart::Condition),
                "c0000043",
                "`prealloc big-event 1`",
            ),
            (
                big(ProgramPart::Action),
                "c0000046",
                "`prealloc big-event 1`",
            ),
            (
                EventRefusal::ActionTooBig {
                    limit_bytes,
                    asked_bytes,
                },
                "c0000047",
                "big_action_bytes",
            ),
            (
                EventRefusal::BufferOverMessage {
                    limit_bytes,
                    asked_bytes,
                    most_bytes: 0x800,
                },
                "c0000048",
                "`buffer 800`",
            ),
            (
                EventRefusal::BufferTooBig {
                    limit_bytes,
                    asked_bytes,
                },
                "c000004b",
                "big_safe_buffer_bytes",
            ),
        ] {
            let text = refusal(&refused.into());
            assert!(text.starts_with(code), "{text}");
            assert!(text.contains("1000 (0n4096)"), "{text}");
            assert!(text.contains("2345 (0n9029)"), "{text}");
            assert!(text.contains(help), "{text}");
        }
    }

    #[test]
    fn empty_classes_have_their_own_numbers_and_remedies() {
        for (class, code, help) in [
            (
                PoolClass::RegularSafeBuffer,
                "c0000049",
                "regular-safe-buffer 1",
            ),
            (PoolClass::BigSafeBuffer, "c000004a", "big-safe-buffer 1"),
            (PoolClass::EptHook2, "c0000023", "epthook2 1"),
            (PoolClass::Monitor, "c0000023", "monitor 1"),
        ] {
            let text = refusal(&Refusal::PoolExhausted {
                class,
                reserved: 0,
                in_use: 0,
                needed: 1,
                most: 256,
                object_bytes: 4096,
                arena_left_bytes: 1 << 20,
                possible: 1,
                refill_ms: 0,
            });
            assert!(text.starts_with(code) && text.contains(help), "{text}");
        }
    }
}
