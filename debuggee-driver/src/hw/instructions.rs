//! The instructions that the `x86` crate lacks, or wraps in a way that loses bits or flags.
//!
//! Called by the other files of `hw/`. Each function is one instruction; VMX instructions read
//! their flags inside the same assembly block, as nothing may stand between the two.

use core::arch::asm;

/// A VMX instruction set CF or ZF ("Conventions" of the VMX instruction reference, 31.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmFail;

macro_rules! register_pair {
    ($read:ident, $write:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, ".")]
        ///
        /// # Safety
        /// CPL 0 in 64-bit mode.
        #[inline(always)]
        pub unsafe fn $read() -> u64 {
            let value: u64;
            // SAFETY: at CPL 0 in 64-bit mode by contract, so the register can be read; that changes nothing.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) }
            value
        }

        #[doc = concat!("Writes ", $name, ".")]
        ///
        /// # Safety
        /// CPL 0, and the value must be one the processor accepts and the running code survives.
        #[inline(always)]
        pub unsafe fn $write(value: u64) {
            // SAFETY: the value is one the processor accepts and the running code survives, by contract.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) }
        }
    };
}

register_pair!(cr0, set_cr0, "cr0");
register_pair!(cr2, set_cr2, "cr2");
register_pair!(cr3, set_cr3, "cr3");
register_pair!(cr4, set_cr4, "cr4");
register_pair!(cr8, set_cr8, "cr8");
register_pair!(dr0, set_dr0, "dr0");
register_pair!(dr1, set_dr1, "dr1");
register_pair!(dr2, set_dr2, "dr2");
register_pair!(dr3, set_dr3, "dr3");
register_pair!(dr6, set_dr6, "dr6");
register_pair!(dr7, set_dr7, "dr7");

macro_rules! vmx_region {
    ($name:ident, $mnemonic:literal) => {
        #[doc = concat!("`", $mnemonic, "` with the physical address of its region.")]
        ///
        /// # Safety
        /// CPL 0 with CR4.VMXE set; the region is a page of ours with the revision id written.
        pub unsafe fn $name(region: u64) -> Result<(), VmFail> {
            let failed: u8;
            // SAFETY: CR4.VMXE is set and the region is a page of ours with the revision, by contract.
            unsafe {
                asm!(concat!($mnemonic, " [{}]"), "setbe {}", in(reg) &region, out(reg_byte) failed, options(nostack));
            }
            if failed == 0 { Ok(()) } else { Err(VmFail) }
        }
    };
}

vmx_region!(vmxon, "vmxon");
vmx_region!(vmclear, "vmclear");
vmx_region!(vmptrld, "vmptrld");

/// Leaves VMX operation.
///
/// # Safety
/// VMX-root with no need of the current VMCS any more.
pub unsafe fn vmxoff() {
    // SAFETY: in VMX operation, and nobody reads the current VMCS any more, by contract.
    unsafe { asm!("vmxoff", options(nostack)) }
}

/// Reads a field of the current VMCS that every processor has which `capability::check` accepts; of any
/// other the value means nothing.
///
/// For the compiler it touches no memory, nor does [`vmwrite`]: nobody but the processor uses that of a current VMCS, and the
/// assembly that enters the guest comes after all writes of what a field leads to.
///
/// # Safety
/// VMX-root with a current VMCS.
#[inline(always)]
pub unsafe fn vmread(field: u32) -> u64 {
    let value: u64;
    // SAFETY: by contract; an unknown field only sets flags and leaves the register as it is.
    unsafe {
        asm!("vmread {}, {}", lateout(reg) value, in(reg) u64::from(field), options(nomem, nostack));
    }
    value
}

/// Writes a field of the current VMCS.
///
/// # Safety
/// VMX-root with a current VMCS; the value takes effect at the next VM entry.
#[inline(always)]
pub unsafe fn vmwrite(field: u32, value: u64) -> Result<(), VmFail> {
    // SAFETY: in VMX-root with a VMCS current, by contract; the fields take effect at the next entry.
    unsafe {
        asm!("vmwrite {}, {}", "jbe {}", in(reg) u64::from(field), in(reg) value, label { return Err(VmFail) }, options(nomem, nostack));
    }
    Ok(())
}

/// All-context INVEPT ("INVEPT", type 2).
///
/// # Safety
/// VMX-root, and the processor supports type 2.
pub unsafe fn invept_all() {
    let descriptor = [0u64; 2];
    // SAFETY: in VMX-root on a processor that has type 2, by contract; the descriptor is 16 bytes.
    unsafe { asm!("invept {}, [{}]", in(reg) 2u64, in(reg) &descriptor, options(nostack)) }
}

/// Single-context INVEPT ("INVEPT", type 1).
///
/// # Safety
/// VMX-root, and the processor supports type 1.
pub unsafe fn invept_one(eptp: u64) {
    let descriptor = [eptp, 0];
    // SAFETY: in VMX-root on a processor that has type 1, by contract; the descriptor is 16 bytes.
    unsafe { asm!("invept {}, [{}]", in(reg) 1u64, in(reg) &descriptor, options(nostack)) }
}

/// All-context INVVPID ("INVVPID", type 2).
///
/// # Safety
/// VMX-root, and the processor supports type 2.
pub unsafe fn invvpid_all() {
    let descriptor = [0u64; 2];
    // SAFETY: in VMX-root on a processor that has type 2, by contract; the descriptor is 16 bytes.
    unsafe { asm!("invvpid {}, [{}]", in(reg) 2u64, in(reg) &descriptor, options(nostack)) }
}

/// Writes back and invalidates all caches.
///
/// # Safety
/// CPL 0.
pub unsafe fn wbinvd() {
    // SAFETY: at CPL 0 by contract; what the caches hold is written back first, so memory keeps its values.
    unsafe { asm!("wbinvd", options(nostack)) }
}

/// Writes an extended control register.
///
/// # Safety
/// CPL 0, CR4.OSXSAVE set, and the value passed the checks of `vmx::control::xcr0_is_valid`.
pub unsafe fn xsetbv(xcr: u32, value: u64) {
    // SAFETY: CR4.OSXSAVE is set and the value was checked, by contract, so the register takes it.
    unsafe {
        asm!("xsetbv", in("ecx") xcr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// IRET to the next instruction: ends the NMI blocking that an NMI VM exit leaves.
///
/// # Safety
/// CPL 0 on a stack with room for an interrupt frame.
pub unsafe fn end_nmi_blocking() {
    // SAFETY: the frame built here returns to label 2 with the same stack and flags.
    unsafe {
        asm!(
            "mov {s}, rsp", "mov {t:e}, ss", "push {t}", "push {s}", "pushfq",
            "mov {t:e}, cs", "push {t}", "lea {t}, [rip + 2f]", "push {t}", "iretq", "2:",
            s = out(reg) _, t = out(reg) _,
        );
    }
}

/// Operand of LGDT, LIDT, SGDT and SIDT.
#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct TableRegister {
    /// Bytes in the table, less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}

macro_rules! table_register {
    ($store:ident, $load:ident, $store_mnemonic:literal, $load_mnemonic:literal) => {
        #[doc = concat!("`", $store_mnemonic, "`.")]
        ///
        /// # Safety
        /// CPL 0.
        pub unsafe fn $store() -> TableRegister {
            let mut table = TableRegister::default();
            // SAFETY: at CPL 0 by contract; it writes the ten bytes of `table`.
            unsafe { asm!(concat!($store_mnemonic, " [{}]"), in(reg) &mut table, options(nostack)) }
            table
        }

        #[doc = concat!("`", $load_mnemonic, "`.")]
        ///
        /// # Safety
        /// CPL 0; the table stays valid as long as it is loaded.
        pub unsafe fn $load(table: TableRegister) {
            // SAFETY: the table is one the processor may use as long as it is loaded, by contract.
            unsafe { asm!(concat!($load_mnemonic, " [{}]"), in(reg) &table, options(nostack)) }
        }
    };
}

table_register!(sgdt, lgdt, "sgdt", "lgdt");
table_register!(sidt, lidt, "sidt", "lidt");

/// LDTR's selector.
///
/// # Safety
/// CPL 0.
pub unsafe fn sldt() -> u16 {
    let selector: u64;
    // SAFETY: at CPL 0 by contract, where UMIP does not refuse it; it changes nothing but `selector`.
    unsafe { asm!("sldt {0:e}", out(reg) selector, options(nostack)) }
    selector as u16
}

/// TR's selector.
///
/// # Safety
/// CPL 0.
pub unsafe fn str() -> u16 {
    let selector: u64;
    // SAFETY: at CPL 0 by contract, where UMIP does not refuse it; it changes nothing but `selector`.
    unsafe { asm!("str {0:e}", out(reg) selector, options(nostack)) }
    selector as u16
}

/// Loads TR and marks its descriptor busy.
///
/// # Safety
/// CPL 0; the descriptor is an available TSS in writable memory.
pub unsafe fn ltr(selector: u16) {
    // SAFETY: the descriptor is an available TSS in writable memory, by contract.
    unsafe { asm!("ltr {0:x}", in(reg) selector, options(nostack)) }
}

/// The base that CPUs hide for a data segment; only FS and GS matter in 64-bit mode.
///
/// # Safety
/// CPL 0; the selectors are ones the current GDT defines.
pub unsafe fn load_data_segments(es: u16, ds: u16, fs: u16, gs: u16) {
    // SAFETY: the current GDT defines the selectors, by contract; FS and GS bases are written by the caller
    // afterwards.
    unsafe {
        asm!(
            "mov es, {0:e}", "mov ds, {1:e}", "mov fs, {2:e}", "mov gs, {3:e}",
            in(reg) u32::from(es), in(reg) u32::from(ds), in(reg) u32::from(fs), in(reg) u32::from(gs),
            options(nostack),
        );
    }
}

/// Limit of a segment, as LSL gives it; 0 for a null or unusable selector.
///
/// # Safety
/// CPL 0.
pub unsafe fn segment_limit(selector: u16) -> u32 {
    let limit: u32;
    // SAFETY: LSL reads the descriptor table, and refuses with ZF what it cannot; it changes only `limit`.
    unsafe {
        asm!("lsl {0:e}, {1:e}", inout(reg) 0u32 => limit, in(reg) u32::from(selector), options(nostack));
    }
    limit
}

/// Descriptor bytes 4 to 7 as LAR gives them; `None` for a null or unusable selector.
///
/// # Safety
/// CPL 0.
pub unsafe fn segment_rights(selector: u16) -> Option<u32> {
    let rights: u32;
    let valid: u8;
    // SAFETY: LAR reads the descriptor table, and refuses with ZF what it cannot; it changes only `rights`.
    unsafe {
        asm!(
            "lar {0:e}, {2:e}", "setz {1}",
            inout(reg) 0u32 => rights, out(reg_byte) valid, in(reg) u32::from(selector),
            options(nostack),
        );
    }
    (valid != 0).then_some(rights)
}

/// CPUID, all four results.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// The processor has RDRAND: ECX of CPUID leaf 1.
const RDRAND: u32 = 1 << 30;
/// A draw that fails so often in a row will not succeed (SDM volume 1, "Random Number Generator
/// Instructions", 7.3.17).
const RDRAND_TRIES: u32 = 10;

/// Whether the processor has RDRAND.
#[must_use]
pub fn has_rdrand() -> bool {
    let [_, _, features, _] = cpuid(1, 0);
    features & RDRAND != 0
}

/// A random number of the processor's own source; `None` if it has none to give.
///
/// # Safety
/// [`has_rdrand`].
pub unsafe fn rdrand() -> Option<u64> {
    // SAFETY: the processor has the instruction by contract.
    let draw = || unsafe { rdrand_once() };
    (0..RDRAND_TRIES).find_map(|_| draw())
}

/// # Safety
/// [`has_rdrand`].
unsafe fn rdrand_once() -> Option<u64> {
    let value: u64;
    let is_given: u8;
    // SAFETY: the instruction exists by contract; it touches two registers and the flags.
    unsafe {
        asm!(
            "rdrand {value}",
            "setc {is_given}",
            value = out(reg) value,
            is_given = out(reg_byte) is_given,
            options(nomem, nostack)
        );
    }
    (is_given != 0).then_some(value)
}

/// Whether the processor has TPAUSE: WAITPKG, ECX of CPUID leaf 7.
#[must_use]
pub fn has_tpause() -> bool {
    const WAITPKG: u32 = 1 << 5;
    let [last, ..] = cpuid(0, 0);
    let [_, _, features, _] = cpuid(7, 0);
    last >= 7 && features & WAITPKG != 0
}

/// Waits in the lighter of the two states until the time-stamp counter has come so far, or for as long as the system allows.
///
/// # Safety
/// [`has_tpause`].
pub unsafe fn tpause(tsc: u64) {
    // SAFETY: the instruction exists by contract; it touches the flags alone.
    unsafe {
        asm!("tpause ecx", in("ecx") 1u32, in("eax") tsc as u32, in("edx") (tsc >> 32) as u32, options(nomem, nostack));
    }
}

/// The selector in ES.
#[must_use]
pub fn es() -> u16 {
    let selector: u16;
    // SAFETY: reading a segment register changes nothing.
    unsafe { asm!("mov {:x}, es", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    selector
}
