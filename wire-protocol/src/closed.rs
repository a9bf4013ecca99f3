//! Sets of values that are closed: each value has one byte on the wire, which is its place in the
//! set. A value that is added is numbered, listed and read back without another line.

/// Declares an enum without fields, and from the same list all its values and its numbers.
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
    };
}

pub(crate) use closed_set;
