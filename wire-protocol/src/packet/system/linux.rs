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
    /// Address of the first task; 0 if it is not known.
    pub init_task: u64,
    /// In `struct task_struct`: offsets of the list node, the process number (32 bits), the name (in place).
    pub task_tasks: u32,
    /// See [`Self::task_tasks`].
    pub task_tgid: u32,
    /// See [`Self::task_tasks`].
    pub task_comm: u32,
    /// Address of the list head of BPF programs; 0 if there is none.
    pub bpf_head: u64,
    /// In `struct bpf_ksym`: offsets of the list node, the first address, the one behind the last, the name (in place).
    pub bpf_list: u32,
    /// See [`Self::bpf_list`].
    pub bpf_start: u32,
    /// See [`Self::bpf_list`].
    pub bpf_end: u32,
    /// See [`Self::bpf_list`].
    pub bpf_name: u32,
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
    out.varint(layout.kallsyms_strtab)?;
    out.difference(layout.init_task, base)?;
    out.varint(layout.task_tasks)?;
    out.varint(layout.task_tgid)?;
    out.varint(layout.task_comm)?;
    out.difference(layout.bpf_head, base)?;
    out.varint(layout.bpf_list)?;
    out.varint(layout.bpf_start)?;
    out.varint(layout.bpf_end)?;
    out.varint(layout.bpf_name)
}

pub(super) fn parse(kernel_base: u64, input: &[u8]) -> Parsed<'_, LinuxLayout> {
    let (rest, list_head) = difference(kernel_base)(input)?;
    let (rest, list) = narrow(rest)?;
    let (rest, name) = narrow(rest)?;
    let (rest, base) = narrow(rest)?;
    let (rest, size) = narrow(rest)?;
    let (rest, kallsyms) = narrow(rest)?;
    let (rest, kallsyms_symtab) = narrow(rest)?;
    let (rest, kallsyms_count) = narrow(rest)?;
    let (rest, kallsyms_strtab) = narrow(rest)?;
    let (rest, init_task) = difference(kernel_base)(rest)?;
    let (rest, task_tasks) = narrow(rest)?;
    let (rest, task_tgid) = narrow(rest)?;
    let (rest, task_comm) = narrow(rest)?;
    let (rest, bpf_head) = difference(kernel_base)(rest)?;
    let (rest, bpf_list) = narrow(rest)?;
    let (rest, bpf_start) = narrow(rest)?;
    let (rest, bpf_end) = narrow(rest)?;
    let (rest, bpf_name) = narrow(rest)?;
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
            init_task,
            task_tasks,
            task_tgid,
            task_comm,
            bpf_head,
            bpf_list,
            bpf_start,
            bpf_end,
            bpf_name,
        },
    ))
}
