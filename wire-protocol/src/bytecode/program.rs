//! A program's parts. [`Program`] knows where they are and that they lie inside; whether the code
//! makes sense is for [`super::verify`] to say.

use super::{
    ARGUMENTS, CONSTANT_BYTES, DEPTH, FRAME_BYTES, FUNCTIONS, LOCAL_BYTES, PROGRAM_BYTES,
    REGISTER_VARIABLES, VERSION,
};
use crate::closed::Closed;
use crate::codec::{self, Parsed};

/// Bytes of a function in the table.
pub(super) const FUNCTION_ENTRY: usize = 8;
/// Bytes of a label in the table.
pub(super) const LABEL_ENTRY: usize = 4;

/// Why a program is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProgram {
    /// Offset in the code of what is wrong; 0 if it is not in the code.
    pub at: u32,
    /// What is wrong.
    pub reason: Reason,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// What is wrong with a program.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// For a message.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Longer than [`PROGRAM_BYTES`], or than there is room to run it
    TooLong "it is too long";
    /// Not [`VERSION`]
    Version "it is of another version";
    /// The bytes end before the header and tables do, or a number in them is over its limit
    Header "its header is malformed";
    /// The tables of functions or labels are not in order
    Tables "its tables are malformed";
    /// No such operation, or its operand is cut off or out of range
    Operation "there is no such operation";
    /// An operation takes more values than there are
    Underflow "an operation takes more values than there are";
    /// More values than the function says
    Depth "it leaves more values than its function says";
    /// A label is reached with another depth than it says
    Join "two ways to the same place leave different numbers of values";
    /// A label is inside an operation
    Label "a label is inside an operation";
    /// A jump's target is no label of the same function
    Target "a jump leads to no label of its function";
    /// The code of a function runs on past its end
    End "a function does not end";
    /// A variable outside its area
    Variable "a variable lies outside its memory";
    /// A constant or format string outside the constants, or without its end
    Constant "a constant lies outside the constants";
    /// No such function
    Function "a function that is called does not exist";
}

impl Closed for Reason {
    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    fn number(self) -> u8 {
        self as u8
    }
}

impl BadProgram {
    pub(super) fn new(at: usize, reason: Reason) -> Self {
        Self {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            reason,
        }
    }
}

/// A function as the table has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Where its code begins.
    pub start: u32,
    /// Number of its arguments, the first slots of its frame.
    pub arguments: u8,
    /// Bytes of its frame.
    pub frame_bytes: u16,
    /// Values on the stack within it, at most.
    pub depth: u8,
    /// Slots of its frame that are registers: the first ones, its arguments among them.
    pub registers: u8,
}

/// A label as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its place in the code.
    pub at: u32,
    /// Values on the stack there, those of the function alone.
    pub depth: u8,
}

/// Where the parts of a program are. Small and without a lifetime, so that whoever keeps a
/// verified program can keep this beside it and need not look at the header on every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub(super) functions_at: u32,
    pub(super) labels_at: u32,
    pub(super) constants_at: u32,
    pub(super) code_at: u32,
    pub(super) end: u32,
    pub(super) local_bytes: u16,
    pub(super) depth: u8,
    pub(super) registers: u8,
}

/// A program's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Program<'a> {
    /// Finds the parts of a program.
    ///
    /// # Errors
    /// The header does not describe these bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadProgram> {
        if bytes.len() > PROGRAM_BYTES {
            return Err(BadProgram::new(0, Reason::TooLong));
        }
        if bytes.first() != Some(&VERSION) {
            return Err(BadProgram::new(0, Reason::Version));
        }
        let malformed = BadProgram::new(0, Reason::Header);
        let (_, layout) = parse_header(bytes).map_err(|_| malformed)?;
        // The parts stand one behind the other: the last one starts inside if all do.
        if layout.code_at > layout.end {
            return Err(malformed);
        }
        Self::with_layout(bytes, layout).ok_or(malformed)
    }

    /// The parts are looked up when they are needed: most runs need the code alone.
    #[inline]
    pub(super) fn with_layout(bytes: &'a [u8], layout: Layout) -> Option<Self> {
        let whole = bytes.len() == layout.end as usize;
        whole.then_some(Self { bytes, layout })
    }

    #[inline]
    fn part(&self, from: u32, to: u32) -> &'a [u8] {
        self.bytes
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    #[inline]
    fn functions(&self) -> &'a [u8] {
        self.part(self.layout.functions_at, self.layout.labels_at)
    }

    fn labels(&self) -> &'a [u8] {
        self.part(self.layout.labels_at, self.layout.constants_at)
    }

    /// Where the parts are.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Bytes of locals it needs.
    #[must_use]
    pub fn local_bytes(&self) -> usize {
        usize::from(self.layout.local_bytes)
    }

    /// Values on the stack within its main part, at most.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.layout.depth
    }

    /// Slots of its locals that are registers while it runs: the first ones.
    #[must_use]
    #[inline]
    pub fn registers(&self) -> u8 {
        self.layout.registers
    }

    /// The code.
    #[must_use]
    #[inline]
    pub fn code(&self) -> &'a [u8] {
        self.part(self.layout.code_at, self.layout.end)
    }

    /// The constants.
    #[must_use]
    #[inline]
    pub fn constants(&self) -> &'a [u8] {
        self.part(self.layout.constants_at, self.layout.code_at)
    }

    /// The text at `offset` of the constants, up to its zero.
    #[must_use]
    pub fn text(&self, offset: u16) -> Option<&'a [u8]> {
        let from = self.constants().get(usize::from(offset)..)?;
        from.get(..from.iter().position(|&byte| byte == 0)?)
    }

    /// Number of functions.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.functions().len() / FUNCTION_ENTRY
    }

    /// A function.
    #[must_use]
    #[inline]
    pub fn function(&self, index: u8) -> Option<Function> {
        let from = usize::from(index) * FUNCTION_ENTRY;
        let entry = self.functions().get(from..from + FUNCTION_ENTRY)?;
        let entry: [u8; FUNCTION_ENTRY] = entry.try_into().ok()?;
        let [s0, s1, s2, arguments, f0, f1, depth, registers] = entry;
        Some(Function {
            start: u32::from_le_bytes([s0, s1, s2, 0]),
            arguments,
            frame_bytes: u16::from_le_bytes([f0, f1]),
            depth,
            registers,
        })
    }

    /// Number of labels.
    #[must_use]
    pub fn label_count(&self) -> usize {
        self.labels().len() / LABEL_ENTRY
    }

    /// A label.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<Label> {
        let from = index.checked_mul(LABEL_ENTRY)?;
        let entry = self.labels().get(from..from.checked_add(LABEL_ENTRY)?)?;
        let [p0, p1, p2, depth] = entry.try_into().ok()?;
        Some(Label {
            at: u32::from_le_bytes([p0, p1, p2, 0]),
            depth,
        })
    }

    /// The label at that place of the code.
    #[must_use]
    pub fn label_at(&self, at: u32) -> Option<Label> {
        self.label(self.label_index(at)?)
    }

    /// The number of the label at that place of the code.
    pub(super) fn label_index(&self, at: u32) -> Option<usize> {
        let (mut low, mut high) = (0, self.label_count());
        while low < high {
            let middle = usize::midpoint(low, high);
            let label = self.label(middle)?;
            if label.at == at {
                return Some(middle);
            }
            if label.at < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        None
    }
}

fn at_most(limit: usize, input: &[u8]) -> Parsed<'_, u32> {
    let (rest, value) = codec::narrow::<u32>(input)?;
    if usize::try_from(value).is_ok_and(|value| value <= limit) {
        Ok((rest, value))
    } else {
        codec::reject(input)
    }
}

fn parse_header(bytes: &[u8]) -> Parsed<'_, Layout> {
    let (rest, _version) = codec::byte(bytes)?;
    let (rest, depth) = at_most(DEPTH, rest)?;
    let (rest, registers) = at_most(REGISTER_VARIABLES, rest)?;
    let (rest, local_bytes) = at_most(LOCAL_BYTES, rest)?;
    if 8 * registers > local_bytes {
        return codec::reject(bytes);
    }
    let (rest, functions) = at_most(FUNCTIONS, rest)?;
    let (rest, labels) = at_most(PROGRAM_BYTES / LABEL_ENTRY, rest)?;
    let (rest, constant_bytes) = at_most(CONSTANT_BYTES, rest)?;
    // All of these are small, as is the whole program.
    let functions_at = (bytes.len() - rest.len()) as u32;
    let labels_at = functions_at + functions * FUNCTION_ENTRY as u32;
    let constants_at = labels_at + labels * LABEL_ENTRY as u32;
    let layout = Layout {
        functions_at,
        labels_at,
        constants_at,
        code_at: constants_at + constant_bytes,
        end: bytes.len() as u32,
        local_bytes: local_bytes as u16,
        depth: depth as u8,
        registers: registers as u8,
    };
    Ok((rest, layout))
}

impl Function {
    /// Whether its numbers are within their limits.
    pub(super) fn is_sane(&self) -> bool {
        let arguments = usize::from(self.arguments);
        let registers = usize::from(self.registers);
        let frame_bytes = usize::from(self.frame_bytes);
        arguments <= ARGUMENTS
            && arguments <= registers
            && registers <= REGISTER_VARIABLES
            && frame_bytes <= FRAME_BYTES
            && frame_bytes >= 8 * registers
            && usize::from(self.depth) <= DEPTH
    }
}
