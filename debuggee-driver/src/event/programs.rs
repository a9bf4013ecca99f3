//! The programs of an event: verified when it is added, kept in its event object, run from there.
//!
//! An event object is a header, the condition's buffer, and the actions: the script, the machine code, the
//! locals that the scripts have on each core, and the scripts as they run. Written with every core halted;
//! afterwards only the locals change, those of a core by that core.

use crate::pool::budget::{EVENT_HEADER_BYTES, ObjectSizes};
use crate::port::PhysicalMemory;
use wire_protocol::address::{CoreId, Extent, GuestPhysical};
use wire_protocol::bytecode::program::Layout;
use wire_protocol::bytecode::{Comparison, Count, Verified};
use wire_protocol::event::{Condition, ConditionKind, PoolClass, ProgramSizes, Programs};
use wire_protocol::limits;
use wire_protocol::refusal::{EventRefusal, ProgramPart, Refusal};

/// Machine code and locals start at a multiple of this.
const ALIGN_BYTES: u32 = 16;

/// Zeroes written at a time.
const ZEROES: [u8; 256] = [0; 256];

/// What a script needs beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Script {
    layout: Layout,
    /// What it compares, if that is all it does.
    comparison: Option<Comparison>,
    /// What it counts, if that is all it does.
    count: Option<Count>,
    /// Locals on one core, rounded up.
    locals_bytes: u32,
    decoded: DecodedSize,
}

/// Bytes of a script as it runs.
#[derive(Clone, Copy, Debug, Default)]
struct DecodedSize {
    /// While it is decoded.
    needed_bytes: u32,
    /// Afterwards.
    kept_bytes: u32,
}

/// What programs need of an event object.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    condition: Option<Script>,
    script: Option<Script>,
    condition_bytes: u32,
    /// Script, machine code and locals.
    action_bytes: u32,
    /// The scripts as they run.
    decoded_bytes: u32,
    cores: u32,
}

/// Why a program does not fit a regular event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// Which.
    part: ProgramPart,
    /// What a regular event holds of it.
    regular_bytes: u32,
    /// What it needs.
    asked_bytes: u32,
}

impl TooBig {
    /// The refusal when there is no big event, made from that of the pool.
    #[must_use]
    pub const fn without_big_event(&self, exhausted: Refusal) -> Refusal {
        match exhausted {
            Refusal::PoolExhausted {
                reserved,
                object_bytes,
                arena_left_bytes,
                possible,
                refill_ms,
                ..
            } => Refusal::Event(EventRefusal::NoBigEvent {
                part: self.part,
                regular_bytes: self.regular_bytes,
                asked_bytes: self.asked_bytes,
                reserved,
                object_bytes,
                arena_left_bytes,
                possible,
                refill_ms,
            }),
            other => other,
        }
    }
}

fn round_up(bytes: u32) -> u32 {
    bytes
        .checked_next_multiple_of(ALIGN_BYTES)
        .unwrap_or(u32::MAX)
}

fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn verify(bytes: &[u8], part: ProgramPart) -> Result<Option<Script>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let verified = Verified::new(bytes).map_err(|bad| {
        Refusal::Event(EventRefusal::BadProgram {
            part,
            at: bad.at,
            reason: bad.reason,
        })
    })?;
    let program = verified.program();
    let locals_bytes = u32::try_from(program.local_bytes()).unwrap_or(u32::MAX);
    let (needed, kept) = verified.decoded_bytes();
    let [needed_bytes, kept_bytes] =
        [needed, kept].map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    Ok(Some(Script {
        decoded: DecodedSize {
            needed_bytes,
            kept_bytes,
        },
        layout: program.layout(),
        comparison: Comparison::of(program),
        count: Count::of(&verified),
        locals_bytes: round_up(locals_bytes),
    }))
}

impl Needs {
    /// Verifies the programs and adds up what they need with that many cores.
    ///
    /// # Errors
    /// [`EventRefusal::BadProgram`]
    pub fn of(programs: &Programs<'_>, cores: u16) -> Result<Self, Refusal> {
        let condition = match programs.condition {
            Condition::Script(bytes) => verify(bytes, ProgramPart::Condition)?,
            Condition::Always | Condition::Code(_) => None,
        };
        let script = verify(programs.script, ProgramPart::Action)?;
        let cores = u32::from(cores);
        let locals = [condition, script]
            .into_iter()
            .flatten()
            .fold(0_u32, |sum, script| sum.saturating_add(script.locals_bytes));
        Ok(Self {
            condition,
            script,
            decoded_bytes: [condition, script]
                .into_iter()
                .flatten()
                .fold(0, |sum, it| sum.saturating_add(it.decoded.needed_bytes)),
            condition_bytes: len_of(programs.condition.bytes()),
            action_bytes: round_up(len_of(programs.script))
                .saturating_add(round_up(len_of(programs.code)))
                .saturating_add(locals.saturating_mul(cores)),
            cores,
        })
    }

    /// The class of event object, and why it is not a regular one.
    ///
    /// # Errors
    /// Not even a big event can hold them.
    pub const fn class(&self, sizes: &ObjectSizes) -> Result<(PoolClass, Option<TooBig>), Refusal> {
        if self.condition_bytes > sizes.big_condition_bytes {
            return Err(Refusal::Event(EventRefusal::ConditionTooBig {
                limit_bytes: sizes.big_condition_bytes,
                asked_bytes: self.condition_bytes,
            }));
        }
        if self.action_bytes > sizes.big_action_bytes {
            return Err(Refusal::Event(EventRefusal::ActionTooBig {
                limit_bytes: sizes.big_action_bytes,
                asked_bytes: self.action_bytes,
            }));
        }
        let with_decoded_bytes = self.action_bytes.saturating_add(self.decoded_bytes);
        let big_room_bytes = sizes.room(PoolClass::BigEvent);
        if with_decoded_bytes > big_room_bytes {
            return Err(Refusal::Event(EventRefusal::ActionTooBig {
                limit_bytes: big_room_bytes,
                asked_bytes: with_decoded_bytes,
            }));
        }
        let regular_room_bytes = sizes.room(PoolClass::RegularEvent);
        let too_big = if self.condition_bytes > sizes.regular_condition_bytes {
            TooBig {
                part: ProgramPart::Condition,
                regular_bytes: sizes.regular_condition_bytes,
                asked_bytes: self.condition_bytes,
            }
        } else if self.action_bytes > sizes.regular_action_bytes {
            TooBig {
                part: ProgramPart::Action,
                regular_bytes: sizes.regular_action_bytes,
                asked_bytes: self.action_bytes,
            }
        } else if with_decoded_bytes > regular_room_bytes {
            TooBig {
                part: if self.action_bytes == 0 {
                    ProgramPart::Condition
                } else {
                    ProgramPart::Action
                },
                regular_bytes: regular_room_bytes,
                asked_bytes: with_decoded_bytes,
            }
        } else {
            return Ok((PoolClass::RegularEvent, None));
        };
        Ok((PoolClass::BigEvent, Some(too_big)))
    }
}

/// The class of a safe buffer of so many bytes; `None` if none is asked for.
///
/// # Errors
/// There can be none of that size.
pub const fn buffer_class(
    asked_bytes: u32,
    sizes: &ObjectSizes,
) -> Result<Option<PoolClass>, Refusal> {
    let message_bytes = limits::MESSAGE_BYTES as u32;
    let (regular, big) = (sizes.regular_safe_buffer_bytes, sizes.big_safe_buffer_bytes);
    let largest_bytes = if regular > big { regular } else { big };
    if asked_bytes > message_bytes {
        return Err(Refusal::Event(EventRefusal::BufferOverMessage {
            limit_bytes: message_bytes,
            asked_bytes,
            most_bytes: if largest_bytes < message_bytes {
                largest_bytes
            } else {
                message_bytes
            },
        }));
    }
    if asked_bytes > largest_bytes {
        return Err(Refusal::Event(EventRefusal::BufferTooBig {
            limit_bytes: largest_bytes,
            asked_bytes,
        }));
    }
    Ok(if asked_bytes == 0 {
        None
    } else if asked_bytes <= sizes.regular_safe_buffer_bytes {
        Some(PoolClass::RegularSafeBuffer)
    } else {
        Some(PoolClass::BigSafeBuffer)
    })
}

/// Bytes of an object.
const fn part(at: u64, len_bytes: u32) -> Extent<GuestPhysical> {
    Extent::in_memory(GuestPhysical(at), len_bytes)
}

/// A script in an event object, as a core runs it.
#[derive(Clone, Copy, Debug)]
pub struct StoredScript<'s> {
    /// Its bytes.
    pub program: Extent<GuestPhysical>,
    /// Where its parts are, as the verifier found them.
    pub layout: &'s Layout,
    /// What of it runs.
    pub decoded: Extent<GuestPhysical>,
    /// The core's locals.
    pub locals: Extent<GuestPhysical>,
}

/// What decides, in an event object.
#[derive(Clone, Copy, Debug)]
pub enum StoredCondition<'s> {
    /// Always.
    Always,
    /// A script.
    Script(StoredScript<'s>),
    /// Machine code.
    Code(Extent<GuestPhysical>),
}

/// Where the programs of an installed event are. Small, as there is one in every record: the rest
/// follows from [`ProgramSizes`].
#[derive(Clone, Copy, Debug)]
pub struct StoredPrograms {
    /// The event object.
    object: u64,
    /// The safe buffer; 0 if there is none.
    buffer_at: u64,
    /// From the object's start to the actions' buffer.
    action_offset: u32,
    buffer_bytes: u32,
    condition_layout: Layout,
    script_layout: Layout,
    condition_locals_bytes: u16,
    script_locals_bytes: u16,
    cores: u16,
    /// From the object's start to the condition as it runs; the script follows it.
    decoded_offset: u32,
    condition_decoded_bytes: u32,
    script_decoded_bytes: u32,
    /// The locals of all cores.
    locals_at: u64,
    /// What the condition compares, if it is a script and that is all it does.
    comparison: Option<Comparison>,
    /// What the script counts, if that is all it does.
    count: Option<Count>,
}

impl StoredPrograms {
    /// Writes programs into an event object at `object`, which holds what [`Needs::class`] said,
    /// and clears locals and buffer.
    pub fn write(
        mem: &mut impl PhysicalMemory,
        object: u64,
        action_offset: u32,
        programs: &Programs<'_>,
        needs: &Needs,
        buffer: Option<Extent<GuestPhysical>>,
    ) -> Self {
        let layout = |script: Option<Script>| script.map_or(Layout::default(), |it| it.layout);
        // A program has at most 16 KiB of locals.
        let locals = |script: Option<Script>| script.map_or(0, |it| it.locals_bytes as u16);
        let kept = |script: Option<Script>| script.map_or(0, |it| it.decoded.kept_bytes);
        let buffer = buffer.unwrap_or_default();
        let mut stored = Self {
            object,
            buffer_at: buffer.start().0,
            action_offset,
            buffer_bytes: buffer.len_bytes() as u32,
            condition_layout: layout(needs.condition),
            script_layout: layout(needs.script),
            condition_locals_bytes: locals(needs.condition),
            script_locals_bytes: locals(needs.script),
            cores: needs.cores as u16,
            decoded_offset: action_offset.saturating_add(needs.action_bytes),
            condition_decoded_bytes: kept(needs.condition),
            script_decoded_bytes: kept(needs.script),
            locals_at: 0,
            comparison: needs.condition.and_then(|it| it.comparison),
            count: needs.script.and_then(|it| it.count),
        };
        let sizes = programs.sizes();
        let [.., code] = stored.parts(&sizes);
        stored.locals_at = code.start().0 + u64::from(round_up(sizes.code_bytes));
        let bytes = [programs.condition.bytes(), programs.script, programs.code];
        for (to, from) in stored.parts(&sizes).iter().zip(bytes) {
            if !from.is_empty() {
                mem.write(to.start().0, from);
            }
        }
        let [condition_at, script_at] = stored.decoded().map(|it| it.start().0);
        if let Condition::Script(condition) = programs.condition {
            decode(mem, condition_at, condition, needs.condition);
        }
        decode(mem, script_at, programs.script, needs.script);
        clear(mem, stored.locals_at, stored.all_locals_bytes());
        clear(mem, buffer.start().0, buffer.len_bytes());
        stored
    }

    /// The bytes of condition, script and code; of what there is not, the length is 0.
    #[must_use]
    pub fn parts(&self, sizes: &ProgramSizes) -> [Extent<GuestPhysical>; 3] {
        let script_at = self.object + u64::from(self.action_offset);
        let code_at = script_at + u64::from(round_up(sizes.script_bytes));
        [
            (
                self.object + u64::from(EVENT_HEADER_BYTES),
                sizes.condition_bytes,
            ),
            (script_at, sizes.script_bytes),
            (code_at, sizes.code_bytes),
        ]
        .map(|(at, len_bytes)| part(at, len_bytes))
    }

    /// Condition and script as they run.
    fn decoded(&self) -> [Extent<GuestPhysical>; 2] {
        let condition_at = self.object + u64::from(self.decoded_offset);
        let script_at = condition_at + u64::from(self.condition_decoded_bytes);
        [
            part(condition_at, self.condition_decoded_bytes),
            part(script_at, self.script_decoded_bytes),
        ]
    }

    /// What the condition compares, if that is all it does: it need not be run.
    #[must_use]
    #[inline]
    pub const fn comparison(&self) -> Option<&Comparison> {
        self.comparison.as_ref()
    }

    /// What the script counts, if that is all it does: it need not be run.
    #[must_use]
    #[inline]
    pub const fn count(&self) -> Option<&Count> {
        self.count.as_ref()
    }

    /// What decides, for a core.
    #[must_use]
    pub fn condition(&self, sizes: &ProgramSizes, core: CoreId) -> StoredCondition<'_> {
        let [program, ..] = self.parts(sizes);
        match sizes.condition {
            ConditionKind::Always => StoredCondition::Always,
            ConditionKind::Code => StoredCondition::Code(program),
            ConditionKind::Script => StoredCondition::Script(StoredScript {
                program,
                layout: &self.condition_layout,
                decoded: self.decoded()[0],
                locals: self.locals(self.locals_at, self.condition_locals_bytes, core),
            }),
        }
    }

    /// The script, for a core.
    #[must_use]
    pub fn script(&self, sizes: &ProgramSizes, core: CoreId) -> Option<StoredScript<'_>> {
        let [_, program, _] = self.parts(sizes);
        let of_conditions = u64::from(self.condition_locals_bytes) * u64::from(self.cores);
        let locals_at = self.locals_at + of_conditions;
        (!program.is_empty()).then_some(StoredScript {
            program,
            layout: &self.script_layout,
            decoded: self.decoded()[1],
            locals: self.locals(locals_at, self.script_locals_bytes, core),
        })
    }

    /// The machine code.
    #[must_use]
    pub fn code(&self, sizes: &ProgramSizes) -> Option<Extent<GuestPhysical>> {
        let [_, _, code] = self.parts(sizes);
        (!code.is_empty()).then_some(code)
    }

    /// The safe buffer, as long as was asked for.
    #[must_use]
    pub fn buffer(&self) -> Option<Extent<GuestPhysical>> {
        (self.buffer_bytes != 0).then(|| part(self.buffer_at, self.buffer_bytes))
    }

    /// Those of a core that there is not are empty.
    fn locals(&self, first_at: u64, len_bytes: u16, core: CoreId) -> Extent<GuestPhysical> {
        let len_bytes = if core.0 < self.cores { len_bytes } else { 0 };
        let at = first_at + u64::from(len_bytes) * u64::from(core.0);
        part(at, u32::from(len_bytes))
    }

    fn all_locals_bytes(&self) -> u64 {
        (u64::from(self.condition_locals_bytes) + u64::from(self.script_locals_bytes))
            * u64::from(self.cores)
    }
}

/// Decodes a program that [`Needs::of`] verified into its object, which has room for it.
fn decode(mem: &mut impl PhysicalMemory, at: u64, bytes: &[u8], script: Option<Script>) {
    let (Some(script), Ok(verified)) = (script, Verified::new(bytes)) else {
        return;
    };
    let room = script.decoded.needed_bytes as usize;
    mem.with_bytes_mut(at, room, |memory| verified.decode_into(memory));
}

fn clear(mem: &mut impl PhysicalMemory, at: u64, len_bytes: u64) {
    let mut done = 0;
    while done < len_bytes {
        let len = (len_bytes - done).min(ZEROES.len() as u64);
        mem.write(at + done, ZEROES.get(..len as usize).unwrap_or_default());
        done += len;
    }
}
