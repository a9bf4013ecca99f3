//! Types: their sizes, their members, and what arithmetic makes of two of them. Used by
//! [`super::check`].

use std::fmt;
use std::rc::Rc;

/// The largest type. Structures of the debuggee can be large, variables are limited elsewhere.
pub const SIZE_LIMIT: u32 = 1 << 24;

/// Types within types, so that walking them takes bounded stack.
pub const DEPTH_LIMIT: u16 = 64;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// No value.
    Void,
    /// Unsigned, 64 bits: what has no declared type.
    Untyped,
    /// 0 or 1, in one byte.
    Bool,
    /// An integer with a declared type.
    Integer {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Can be negative.
        signed: bool,
    },
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Address of something.
    Pointer(Rc<Type>),
    /// That many of something.
    Array(Rc<Type>, u32),
    /// A structure.
    Struct(Rc<Struct>),
    /// `struct name` before it is known what is in it.
    Incomplete(String),
}

/// A structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// A union.
    pub is_union: bool,
    /// Its members, in order.
    pub members: Vec<Member>,
    /// Its size with the bytes that fill it up.
    pub size: u32,
    /// Its address is a multiple of this.
    pub alignment: u32,
    /// Types within each other, itself included.
    depth: u16,
}

/// A member of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: Type,
    /// Bytes before it.
    pub offset: u32,
}

impl Struct {
    /// Lays out members as C does. `None` when it is larger than [`SIZE_LIMIT`] or a member has
    /// no size.
    #[must_use]
    pub fn new(name: String, members: Vec<(String, Type)>, is_union: bool) -> Option<Self> {
        let (mut end, mut alignment) = (0_u32, 1);
        let mut placed = Vec::new();
        let depth = members.iter().map(|(_, of)| of.depth()).max();
        for (name, of) in members {
            let offset = if is_union {
                0
            } else {
                end.next_multiple_of(of.alignment())
            };
            end = end.max(offset.checked_add(of.size()?)?);
            alignment = alignment.max(of.alignment());
            placed.push(Member { name, of, offset });
        }
        let size = end.next_multiple_of(alignment);
        (size <= SIZE_LIMIT).then_some(Self {
            name,
            is_union,
            members: placed,
            size,
            alignment,
            depth: depth.unwrap_or(0) + 1,
        })
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// Types that every script has by name.
pub const STANDARD: [(&str, Type); 15] = [
    ("int8_t", integer(1, true)),
    ("int16_t", integer(2, true)),
    ("int32_t", INT),
    ("int64_t", LONG),
    ("uint8_t", integer(1, false)),
    ("uint16_t", integer(2, false)),
    ("uint32_t", integer(4, false)),
    ("uint64_t", integer(8, false)),
    ("intptr_t", LONG),
    ("uintptr_t", integer(8, false)),
    ("size_t", integer(8, false)),
    ("ssize_t", LONG),
    ("ptrdiff_t", LONG),
    ("intmax_t", LONG),
    ("_Bool", Type::Bool),
];

const fn integer(bytes: u8, signed: bool) -> Type {
    Type::Integer { bytes, signed }
}

/// `int`
pub const INT: Type = Type::Integer {
    bytes: 4,
    signed: true,
};

/// `long`
pub const LONG: Type = Type::Integer {
    bytes: 8,
    signed: true,
};

impl Type {
    /// `char *`, what a string is.
    #[must_use]
    pub fn text() -> Self {
        Self::pointer(Self::Integer {
            bytes: 1,
            signed: true,
        })
    }

    /// A pointer to `target`.
    #[must_use]
    pub fn pointer(target: Self) -> Self {
        Self::Pointer(Rc::new(target))
    }

    /// Its size in bytes, if it has one.
    #[must_use]
    pub fn size(&self) -> Option<u32> {
        Some(match self {
            Self::Void | Self::Incomplete(_) => return None,
            Self::Bool => 1,
            Self::Integer { bytes, .. } => u32::from(*bytes),
            Self::Float => 4,
            Self::Untyped | Self::Double | Self::Pointer(_) => 8,
            Self::Array(element, count) => {
                let size = element.size()?.checked_mul(*count)?;
                (size <= SIZE_LIMIT).then_some(size)?
            }
            Self::Struct(of) => of.size,
        })
    }

    /// Types within each other, itself included.
    #[must_use]
    pub fn depth(&self) -> u16 {
        match self {
            Self::Pointer(inner) | Self::Array(inner, _) => inner.depth().saturating_add(1),
            Self::Struct(of) => of.depth,
            _ => 0,
        }
    }

    /// Its address is a multiple of this.
    #[must_use]
    pub fn alignment(&self) -> u32 {
        match self {
            Self::Array(element, _) => element.alignment(),
            Self::Struct(of) => of.alignment,
            other => other.size().unwrap_or(1),
        }
    }

    /// It fits on the stack.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.is_integer() || self.is_floating() || matches!(self, Self::Pointer(_))
    }

    /// A whole number.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Untyped | Self::Bool | Self::Integer { .. })
    }

    /// A number with a fraction.
    #[must_use]
    pub fn is_floating(&self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    /// Can be negative.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Integer { signed: true, .. })
    }

    /// What arithmetic makes of a short integer.
    #[must_use]
    pub fn promoted(&self) -> Self {
        match self {
            Self::Bool => INT,
            Self::Integer { bytes, .. } if *bytes < 4 => INT,
            other => other.clone(),
        }
    }

    /// What arithmetic makes of two numbers.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        if *self == Self::Double || *other == Self::Double {
            return Self::Double;
        }
        if *self == Self::Float || *other == Self::Float {
            return Self::Float;
        }
        match (self.promoted(), other.promoted()) {
            (
                Self::Integer {
                    bytes: left,
                    signed: left_signed,
                },
                Self::Integer {
                    bytes: right,
                    signed: right_signed,
                },
            ) => Self::Integer {
                bytes: left.max(right),
                // Of two lengths the greater can hold all values of the lesser.
                signed: match left.cmp(&right) {
                    std::cmp::Ordering::Less => right_signed,
                    std::cmp::Ordering::Equal => left_signed && right_signed,
                    std::cmp::Ordering::Greater => left_signed,
                },
            },
            _ => Self::Untyped,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => write!(f, "void"),
            Self::Untyped => write!(f, "untyped"),
            Self::Bool => write!(f, "bool"),
            Self::Integer { bytes, signed } => {
                let name = match bytes {
                    1 => "char",
                    2 => "short",
                    4 => "int",
                    _ => "long",
                };
                write!(f, "{}{name}", if *signed { "" } else { "unsigned " })
            }
            Self::Float => write!(f, "float"),
            Self::Double => write!(f, "double"),
            Self::Pointer(target) => write!(f, "{target} *"),
            Self::Array(element, count) => {
                // The outermost bound stands first.
                let mut innermost = element;
                let mut bounds = format!("[{count:x}]");
                while let Self::Array(element, count) = &**innermost {
                    bounds = format!("{bounds}[{count:x}]");
                    innermost = element;
                }
                write!(f, "{innermost}{bounds}")
            }
            Self::Struct(of) if of.is_union => write!(f, "union {}", of.name),
            Self::Struct(of) => write!(f, "struct {}", of.name),
            Self::Incomplete(name) => write!(f, "struct {name}"),
        }
    }
}
