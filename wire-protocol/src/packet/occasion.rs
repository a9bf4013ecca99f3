//! Occasions on which the machine halts by itself: what becomes of the guest's kernel and its processes. The host chooses which.

use crate::address::GuestVirtual;
use crate::closed::closed_set;
use crate::codec::{EncodeError, Parsed, Writer, boolean, difference, one_of, reject, run, varint};
use crate::limits;
use crate::packet::list::{Item, List};

closed_set! {
    /// What the guest comes to.
    pub enum Occasion {
        /// The kernel has panicked.
        Panic,
        /// The kernel met a fault or a failed check of its own, and ends what runs.
        Oops,
        /// The kernel warns of something that must not be.
        Warning,
        /// An exception while the one before was being delivered.
        DoubleFault,
        /// A core's guest cannot go on: [`crate::packet::StopCause::CoreDied`].
        TripleFault,
        /// The machine is about to be started anew.
        Restart,
        /// The machine is about to be switched off.
        PowerOff,
        /// A task waits for too long.
        HungTask,
        /// A module is there, and nothing of it has run.
        ModuleLoad,
        /// A module is about to go.
        ModuleUnload,
        /// A process or thread was made, and has not run.
        TaskCreate,
        /// A process or thread ends.
        TaskExit,
        /// A signal kills a process.
        SignalDeath,
        /// A program begins.
        Program,
        /// An INT3 that nobody wants.
        Int3,
        /// A general-protection fault of the kernel that it does not expect.
        GeneralProtection,
    }
}

impl Occasion {
    /// Whether it halts the machine if nobody said anything else.
    #[must_use]
    pub const fn stops_at_first(self) -> bool {
        matches!(
            self,
            Self::Panic | Self::Oops | Self::DoubleFault | Self::TripleFault | Self::Restart
        )
    }

    /// Whether it can be halted at for one name alone.
    #[must_use]
    pub const fn has_name(self) -> bool {
        matches!(
            self,
            Self::ModuleLoad
                | Self::ModuleUnload
                | Self::TaskCreate
                | Self::TaskExit
                | Self::SignalDeath
                | Self::Program
        )
    }
}

/// A short text of the guest's, NUL-padded: bytes, most often text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OccasionText {
    bytes: [u8; limits::OCCASION_TEXT_BYTES],
}

impl Default for OccasionText {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl OccasionText {
    /// No text.
    pub const EMPTY: Self = Self {
        bytes: [0; limits::OCCASION_TEXT_BYTES],
    };

    /// What stands before the first NUL, as far as there is room.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        let mut it = Self::EMPTY;
        let text = raw.iter().take_while(|byte| **byte != 0);
        for (to, from) in it.bytes.iter_mut().zip(text) {
            *to = *from;
        }
        it
    }

    /// The text, without its padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.bytes.iter().take_while(|byte| **byte != 0).count();
        self.bytes.get(..len).unwrap_or_default()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.run(self.as_bytes(), limits::OCCASION_TEXT_BYTES)
    }

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (rest, bytes) = run(limits::OCCASION_TEXT_BYTES)(input)?;
        if bytes.contains(&0) {
            return reject(input);
        }
        Ok((rest, Self::new(bytes)))
    }
}

/// An occasion that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Which.
    pub occasion: Occasion,
    /// The instruction that it is about, or the first one of what begins; 0 if there is none.
    pub place: GuestVirtual,
    /// Error code, number of a signal or of a task, exit code.
    pub number: u64,
    /// What the kernel says, or whose name it is.
    pub text: OccasionText,
}

pub(crate) fn write_came(came: &Came, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.byte(came.occasion.to_wire())?;
    out.difference(came.place.0, base)?;
    out.varint(came.number)?;
    came.text.write(out)
}

pub(crate) fn parse_came(base: u64, input: &[u8]) -> Parsed<'_, Came> {
    let (rest, occasion) = one_of(Occasion::from_wire, input)?;
    let (rest, place) = difference(base)(rest)?;
    let (rest, number) = varint(rest)?;
    let (rest, text) = OccasionText::parse(rest)?;
    let place = GuestVirtual(place);
    Ok((
        rest,
        Came {
            occasion,
            place,
            number,
            text,
        },
    ))
}

/// Whether an occasion halts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OccasionRule {
    /// Which.
    pub occasion: Occasion,
    /// It does.
    pub stops: bool,
    /// For this name alone; empty for all.
    pub name: OccasionText,
}

impl OccasionRule {
    /// What holds if nobody said anything.
    #[must_use]
    pub const fn at_first(occasion: Occasion) -> Self {
        Self {
            occasion,
            stops: occasion.stops_at_first(),
            name: OccasionText::EMPTY,
        }
    }

    /// Whether the machine halts at this because of it.
    #[must_use]
    pub fn is_for(&self, came: &Came) -> bool {
        self.stops
            && self.occasion == came.occasion
            && (self.name.is_empty() || self.name == came.text)
    }
}

/// Rules, still encoded.
pub type OccasionRules<'a> = List<'a, OccasionRule>;

impl<'a> Item<'a> for OccasionRule {
    const LIMIT: usize = Occasion::COUNT;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, occasion) = one_of(Occasion::from_wire, input)?;
        let (rest, stops) = boolean(rest)?;
        let (rest, name) = OccasionText::parse(rest)?;
        let has_name = stops && occasion.has_name();
        if !name.is_empty() && !has_name {
            return reject(input);
        }
        let rule = Self {
            occasion,
            stops,
            name,
        };
        Ok((rest, rule))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.byte(self.occasion.to_wire())?;
        out.byte(u8::from(self.stops))?;
        self.name.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{BASE, reply_is_malformed, request_body, request_is_malformed};
    use crate::packet::{Reply, Request};

    fn rule(occasion: Occasion, stops: bool, name: &[u8]) -> OccasionRule {
        OccasionRule {
            occasion,
            stops,
            name: OccasionText::new(name),
        }
    }

    #[test]
    fn rules_say_which_whether_and_for_whom() {
        let mut scratch = [0; 64];
        let rules = [
            rule(Occasion::Panic, false, b""),
            rule(Occasion::Program, true, b"sh"),
        ];
        let rules = OccasionRules::encode_into(rules, BASE, &mut scratch).unwrap();
        let body = request_body(Request::Occasions { rules });
        assert_eq!(body, [2, 0, 0, 0, 13, 1, 2, b's', b'h']);
        assert_eq!(
            crate::packet::testing::reply_body(Reply::Occasions(rules)),
            body
        );
    }

    #[test]
    fn rules_that_make_no_sense_are_rejected() {
        for wrong in [
            &[1, 16, 0, 0][..],
            &[1, 0, 2, 0],
            // A name where there is none, and where nothing is wanted.
            &[1, 0, 1, 1, b'x'],
            &[1, 13, 0, 1, b'x'],
            &[1, 13, 1, 2, b'x', 0],
            &[1, 13, 1],
        ] {
            request_is_malformed(RequestKind::Occasions, wrong);
            reply_is_malformed(ReplyKind::Occasions, wrong);
        }
        let mut many = [0; 1 + 17 * 3];
        many[0] = 17;
        request_is_malformed(RequestKind::Occasions, &many);
    }

    #[test]
    fn a_rule_wants_its_name_alone() {
        let came = |name: &[u8]| Came {
            occasion: Occasion::Program,
            place: GuestVirtual(0),
            number: 0,
            text: OccasionText::new(name),
        };
        assert!(rule(Occasion::Program, true, b"").is_for(&came(b"sh")));
        assert!(rule(Occasion::Program, true, b"sh").is_for(&came(b"sh\0x")));
        assert!(!rule(Occasion::Program, true, b"sh").is_for(&came(b"bash")));
        assert!(!rule(Occasion::Program, false, b"").is_for(&came(b"sh")));
    }

    #[test]
    fn a_machine_that_dies_halts_if_nobody_said_anything() {
        let stops = Occasion::ALL.map(|it| OccasionRule::at_first(it).stops);
        assert_eq!(stops.iter().filter(|stops| **stops).count(), 5);
    }
}
