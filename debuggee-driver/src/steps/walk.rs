//! Steps of a thread: what one of its instructions led to, found out from values alone.
//!
//! The core that runs the thread executes single instructions. What the thread does not do itself (the handler of an
//! interrupt or a fault, a system call, other threads), and calls that are stepped over, run freely: the thread is awaited
//! where it will come back.

use crate::guest::instruction::Instruction;
use wire_protocol::address::CoreId;
use wire_protocol::packet::{StepEnd, Until, Walk};

/// Whose steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// One that has a number.
    Numbered(u32),
    /// The idle thread of a core.
    Idle(CoreId),
}

impl Thread {
    /// The one that `core` runs, whose number is `tid`.
    pub const fn of(core: CoreId, tid: u32) -> Self {
        match tid {
            0 => Self::Idle(core),
            tid => Self::Numbered(tid),
        }
    }
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its next instruction.
    pub rip: u64,
    /// Its stack pointer.
    pub rsp: u64,
}

/// Where a thread will come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// At this instruction.
    pub address: u64,
    /// With the stack pointer here or above: deeper in a recursion it does not count.
    pub least_rsp: u64,
    /// It has taken a step then.
    pub ends_step: bool,
}

/// What an instruction led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The thread has taken a step.
    Step,
    /// It is on the way back from somewhere.
    Away(Awaited),
}

/// The words that the delivery of an interrupt or an exception pushes, and an error code before them.
pub const FRAME_WORDS: usize = 6;

/// A call that leads no farther ahead than this finds out where it stands, or hides where a jump leads: nobody returns
/// behind it.
const NEAR_CALL_BYTES: u64 = 32;

/// Steps that were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// How.
    pub walk: Walk,
    /// Of whom.
    pub thread: Thread,
    /// Its stack pointer before the first one.
    began_rsp: u64,
    /// Where it stood before the instruction that it executes now.
    before: Place,
    /// It is away.
    pub awaited: Option<Awaited>,
    /// It has come to its end, and is to be halted.
    pub ended: Option<StepEnd>,
}

impl Walker {
    /// Before the first step.
    pub const fn new(walk: Walk, thread: Thread, at: Place) -> Self {
        Self {
            walk,
            thread,
            began_rsp: at.rsp,
            before: at,
            awaited: None,
            ended: None,
        }
    }

    /// Where the thread stood before the instruction that it executes now.
    pub const fn before(&self) -> Place {
        self.before
    }

    /// It goes on from here.
    pub const fn goes_on(&mut self, at: Place) {
        self.before = at;
        self.awaited = None;
    }

    /// The core stands at `now`, and runs `running`. `executed` stood where the thread was before; `stack` is what is on
    /// top of the stack now.
    pub fn turn(
        &self,
        now: Place,
        running: Option<Thread>,
        executed: Option<&Instruction>,
        stack: &[u64; FRAME_WORDS],
    ) -> Turn {
        let before = self.before;
        let away = |address, least_rsp, ends_step| {
            Turn::Away(Awaited {
                address,
                least_rsp,
                ends_step,
            })
        };
        if running.is_some_and(|running| running != self.thread) {
            // It goes on right here when it is given a core again, whichever that is.
            return away(now.rip, 0, true);
        }
        let Some(executed) = executed else {
            return Turn::Step;
        };
        let next = before.rip.wrapping_add(u64::from(executed.len));
        if now.rip == before.rip && executed.is_repeated_string() && self.walk.is_over {
            return away(next, 0, true);
        }
        if now.rip == next || now.rip == before.rip {
            return Turn::Step;
        }
        if let Some(returns_to) = returns_to(before, next, stack) {
            // The kernel's WARN goes on behind it.
            let returns_to = match executed.is_ud2() {
                true => next,
                false => returns_to,
            };
            return away(returns_to, before.rsp, returns_to == next);
        }
        if executed.is_syscall() {
            return away(next, before.rsp, true);
        }
        let leads_away = now.rip.wrapping_sub(next) > NEAR_CALL_BYTES;
        if self.walk.is_over && executed.is_call() && leads_away {
            return away(next, before.rsp, true);
        }
        Turn::Step
    }

    /// Whether a step that led to `now` is the last one, whatever their number. `executed` was its instruction, unless the
    /// thread was away; `next` is the one that comes.
    pub fn ends(
        &self,
        now: Place,
        executed: Option<&Instruction>,
        next: Option<&Instruction>,
    ) -> bool {
        match self.walk.until {
            Until::Count => false,
            Until::Call => next.is_some_and(Instruction::is_call),
            Until::Return => next.is_some_and(Instruction::is_return),
            Until::Address(address) => now.rip == address.0,
            Until::Returned => executed.is_some_and(|executed| {
                executed.is_return() && (executed.leaves_mode() || now.rsp > self.began_rsp)
            }),
        }
    }
}

/// Where a handler that was entered returns to, if one was: the processor pushed where the thread was, and its stack.
fn returns_to(before: Place, next: u64, stack: &[u64; FRAME_WORDS]) -> Option<u64> {
    /// RFLAGS has this bit always.
    const ALWAYS: u64 = 2;
    let is_frame = |words: &[u64]| match *words {
        [rip, cs, flags, rsp, ss] => {
            (rip == before.rip || rip == next)
                && rsp == before.rsp
                && (1..0x1_0000).contains(&cs)
                && ss < 0x1_0000
                && flags & ALWAYS != 0
        }
        _ => false,
    };
    let frame = stack.windows(FRAME_WORDS - 1).find(|words| is_frame(words));
    frame.and_then(|words| words.first().copied())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::guest::instruction::decode;
    use wire_protocol::address::GuestVirtual;

    const AT: Place = Place {
        rip: 0x1000,
        rsp: 0x8000,
    };
    const ME: Thread = Thread::Numbered(7);
    const NOTHING: [u64; FRAME_WORDS] = [0; FRAME_WORDS];
    const CALL: &[u8] = &[0xe8, 0, 1, 0, 0];
    const PUSH: &[u8] = &[0x55];
    const RET: &[u8] = &[0xc3];

    fn walker(is_over: bool, until: Until) -> Walker {
        let walk = Walk {
            is_over,
            is_frozen: false,
            until,
        };
        Walker::new(walk, ME, AT)
    }

    fn place(rip: u64, rsp: u64) -> Place {
        Place { rip, rsp }
    }

    fn turn(is_over: bool, code: &[u8], now: Place, stack: &[u64; FRAME_WORDS]) -> Turn {
        let instruction = decode(code);
        walker(is_over, Until::Count).turn(now, Some(ME), instruction.as_ref(), stack)
    }

    fn away(address: u64, least_rsp: u64, ends_step: bool) -> Turn {
        Turn::Away(Awaited {
            address,
            least_rsp,
            ends_step,
        })
    }

    #[test]
    fn a_call_is_stepped_into_or_over() {
        let inside = place(0x1105, 0x7ff8);
        assert_eq!(turn(false, CALL, inside, &NOTHING), Turn::Step);
        assert_eq!(
            turn(true, CALL, inside, &NOTHING),
            away(0x1005, 0x8000, true)
        );
        // What only finds out where it stands returns to nobody.
        let near = place(0x1010, 0x7ff8);
        assert_eq!(turn(true, CALL, near, &NOTHING), Turn::Step);
        assert_eq!(
            turn(true, PUSH, place(0x1001, 0x7ff8), &NOTHING),
            Turn::Step
        );
    }

    #[test]
    fn handlers_are_awaited_where_they_return_to() {
        let stack = |error: Option<u64>, rip| {
            let frame = [rip, 0x10, 0x246, AT.rsp, 0x18];
            let mut stack = [0; FRAME_WORDS];
            let at = usize::from(error.is_some());
            stack[..at].fill(error.unwrap_or(0));
            stack[at..at + 5].copy_from_slice(&frame);
            stack
        };
        let handler = place(0xffff_ffff_8100_0000, 0xffff_c900_0000_0fd8);
        for is_over in [false, true] {
            // A fault, which leads to the same instruction again.
            let fault = stack(Some(2), 0x1000);
            assert_eq!(
                turn(is_over, PUSH, handler, &fault),
                away(0x1000, 0x8000, false)
            );
            // An interrupt in its place, and one that ends a HLT.
            assert_eq!(
                turn(is_over, PUSH, handler, &stack(None, 0x1000)),
                away(0x1000, 0x8000, false)
            );
            assert_eq!(
                turn(is_over, &[0xf4], handler, &stack(None, 0x1001)),
                away(0x1001, 0x8000, true)
            );
            // INT3 is over when its handler is.
            assert_eq!(
                turn(is_over, &[0xcc], handler, &stack(None, 0x1001)),
                away(0x1001, 0x8000, true)
            );
        }
        // A jump table that happens to have the address on its stack.
        let mut other = stack(None, 0x1000);
        other[3] = 0x8008;
        assert_eq!(turn(false, &[0xff, 0xe0], handler, &other), Turn::Step);
    }

    #[test]
    fn a_system_call_is_awaited_behind_it_and_another_thread_where_this_one_was_left() {
        let entry = place(0xffff_ffff_8180_0000, 0x8000);
        assert_eq!(
            turn(false, &[0x0f, 0x05], entry, &NOTHING),
            away(0x1002, 0x8000, true)
        );
        let walker = walker(true, Until::Count);
        let push = decode(PUSH);
        let other = Some(Thread::Numbered(8));
        let now = place(0x1001, 0x9000);
        assert_eq!(
            walker.turn(now, other, push.as_ref(), &NOTHING),
            away(0x1001, 0, true)
        );
        let idle = Some(Thread::of(CoreId(1), 0));
        assert!(matches!(
            walker.turn(now, idle, None, &NOTHING),
            Turn::Away(_)
        ));
        // Nobody can tell.
        assert_eq!(walker.turn(now, None, None, &NOTHING), Turn::Step);
    }

    #[test]
    fn a_repeated_instruction_is_one_step_over_and_many_in() {
        let rep = &[0xf3, 0xa4];
        assert_eq!(turn(false, rep, AT, &NOTHING), Turn::Step);
        assert_eq!(turn(true, rep, AT, &NOTHING), away(0x1002, 0, true));
        assert_eq!(turn(true, rep, place(0x1002, 0x8000), &NOTHING), Turn::Step);
    }

    #[test]
    fn it_ends_where_it_should() {
        let ends = |until, now, executed: &[u8], next: &[u8]| {
            let walker = walker(true, until);
            walker.ends(now, decode(executed).as_ref(), decode(next).as_ref())
        };
        let above = place(0x2000, 0x8008);
        assert!(!ends(Until::Count, above, RET, CALL));
        assert!(ends(Until::Call, above, PUSH, CALL));
        assert!(!ends(Until::Call, above, PUSH, RET));
        assert!(ends(Until::Return, above, PUSH, RET));
        let to = |address| Until::Address(GuestVirtual(address));
        assert!(ends(to(0x2000), above, PUSH, PUSH));
        assert!(!ends(to(0x2001), above, PUSH, PUSH));
        assert!(ends(Until::Returned, above, RET, PUSH));
        assert!(!ends(Until::Returned, above, PUSH, PUSH));
        // The RET that a hidden jump is made of.
        assert!(!ends(Until::Returned, AT, RET, PUSH));
        // Out of a handler, to a stack that is anywhere.
        assert!(ends(Until::Returned, place(0, 0x10), &[0x48, 0xcf], PUSH));
        assert!(ends(
            Until::Returned,
            place(0, 0x10),
            &[0x48, 0x0f, 0x07],
            PUSH
        ));
    }
}
