//! What the code at an access was decoded to last, as data. Used by [`super::unwatched`], in VMX-root.

use crate::guest::instruction::load::PlainLoad;
use wire_protocol::address::GuestPhysical;

/// The bytes of code that were decoded last.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    pub(super) code: u128,
    pub(super) memory_bytes: u16,
    pub(super) load: Option<PlainLoad>,
    /// The last page that was found to be RAM.
    pub(super) ram_page: Option<GuestPhysical>,
}

impl Decoded {
    /// Zeroes are an instruction, too: ADD to the byte at RAX.
    pub const ZEROES: Self = Self {
        code: 0,
        memory_bytes: 1,
        load: None,
        ram_page: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::instruction;

    #[test]
    fn zeroes_are_remembered_as_the_decoder_sees_them() {
        let it = instruction::decode(&Decoded::ZEROES.code.to_le_bytes()).unwrap();
        assert_eq!(it.memory_bytes(), Decoded::ZEROES.memory_bytes);
        assert_eq!(PlainLoad::of(&it), Decoded::ZEROES.load);
    }
}
