//! What the host has to know of a Linux kernel.

use crate::codec::{EncodeError, Parsed, Writer, difference, narrow};

/// Where things stand in a Linux kernel's structures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinuxLayout {
    /// Address of the list head of loaded modules; 0 if there are none.
    pub list_head: u64,
    /// Offset of the list node in `struct module`.
    pub list: u32,
    /// Offset of the name (NUL-terminated, in place).
    pub name: u32,
    /// Offset of the pointer to the first byte of the core text.
    pub base: u32,
    /// Offset of the 32-bit size of the core image.
    pub size: u32,
    /// Offset of the pointer to the symbol table descriptor (`struct mod_kallsyms *`).
    pub kallsyms: u32,
    /// In `struct mod_kallsyms`: offsets of the symbol array pointer, the symbol count, the string table pointer.
    pub kallsyms_symtab: u32,
    /// See [`Self::kallsyms_symtab`].
    pub kallsyms_count: u32,
    /// See [`Self::kallsyms_symtab`].
    pub kallsyms_strtab: u32,
}

pub(super) fn write(
    layout: &LinuxLayout,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.difference(layout.list_head, base)?;
    out.varint(layout.list)?;
    out.varint(layout.name)?;
    out.varint(layout.base)?;
    out.varint(layout.size)?;
    out.varint(layout.kallsyms)?;
    out.varint(layout.kallsyms_symtab)?;
    out.varint(layout.kallsyms_count)?;
    out.varint(layout.kallsyms_strtab)
}

pub(super) fn parse(base: u64, input: &[u8]) -> Parsed<'_, LinuxLayout> {
    let (rest, list_head) = difference(base)(input)?;
    let (rest, list) = narrow(rest)?;
    let (rest, name) = narrow(rest)?;
    let (rest, base) = narrow(rest)?;
    let (rest, size) = narrow(rest)?;
    let (rest, kallsyms) = narrow(rest)?;
    let (rest, kallsyms_symtab) = narrow(rest)?;
    let (rest, kallsyms_count) = narrow(rest)?;
    let (rest, kallsyms_strtab) = narrow(rest)?;
    Ok((
        rest,
        LinuxLayout {
            list_head,
            list,
            name,
            base,
            size,
            kallsyms,
            kallsyms_symtab,
            kallsyms_count,
            kallsyms_strtab,
        },
    ))
}
