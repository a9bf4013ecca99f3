//! Sets of values that are closed: each value has one byte on the wire. A value that is added is
//! numbered, listed and read back without another line.

/// An enum whose values are numbered for the wire.
pub(crate) trait Closed: Copy {
    /// The value of that number.
    fn of_number(number: u8) -> Option<Self>;

    /// Its number.
    fn number(self) -> u8;
}

/// Declares an enum without fields, and from the same list all its values and their numbers: its
/// place in the list.
macro_rules! closed_set {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $value:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $value,)*
        }

        impl $name {
            /// How many values there are.
            pub const COUNT: usize = [$(Self::$value),*].len();

            /// All values, in the order of their wire numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$value),*];

            /// The value of that wire number.
            #[must_use]
            pub fn from_wire(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }

            /// Its wire number, which is its place in [`Self::ALL`].
            #[must_use]
            pub const fn to_wire(self) -> u8 {
                self as u8
            }
        }

        impl $crate::closed::Closed for $name {
            fn of_number(number: u8) -> Option<Self> {
                Self::from_wire(number)
            }

            fn number(self) -> u8 {
                self.to_wire()
            }
        }
    };
}

pub(crate) use closed_set;

/// Declares the kinds of messages of one direction with their first bytes. Who matches on it
/// forgets none.
macro_rules! kinds {
    ($(#[$about:meta])* $name:ident { $($value:ident = $number:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($value,)*
        }

        impl $name {
            /// The kind of that first byte.
            #[deny(unreachable_patterns)]
            pub(super) const fn from_wire(number: u8) -> Option<Self> {
                Some(match number {
                    $($number => Self::$value,)*
                    _ => return None,
                })
            }

            /// First byte of its messages.
            pub(super) const fn to_wire(self) -> u8 {
                match self {
                    $(Self::$value => $number,)*
                }
            }

            /// All of them, with their names.
            #[cfg(test)]
            pub(super) const ROWS: &[(u8, &str)] = &[$(($number, stringify!($value)),)*];
        }
    };
}

pub(crate) use kinds;
