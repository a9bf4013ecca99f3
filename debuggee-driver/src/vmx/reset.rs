//! What INIT and a start-up IPI leave in a core. Called by `exit::init`.
//!
//! "Processor State After Reset" (table 10-1, column INIT) and "MP Initialization" 10.4.

use super::{activity, control_field, guest};

/// CR0 after INIT, as the guest must read it: only ET, with CD and NW unchanged by INIT.
const CR0_AFTER_INIT: u64 = 0x10;

/// VMCS fields and values of a core that waits for a start-up IPI. `cr0_fixed` and `cr4_fixed`
/// are the bits that VMX operation insists on; the guest does not see them.
#[must_use]
pub fn after_init(cr0_fixed: u64, cr4_fixed: u64, processor_signature: u32) -> Reset {
    let data = 0x93;
    let code = 0x9b;
    let mut fields = Fields::default();
    for index in 0..6 {
        let is_code = index == 1;
        fields.push(
            guest::ES_SELECTOR + 2 * index,
            if is_code { 0xf000 } else { 0 },
        );
        fields.push(
            guest::ES_BASE + 2 * index,
            if is_code { 0xffff_0000 } else { 0 },
        );
        fields.push(guest::ES_LIMIT + 2 * index, 0xffff);
        fields.push(
            guest::ES_ACCESS_RIGHTS + 2 * index,
            if is_code { code } else { data },
        );
    }
    for (selector, base, limit, rights, value) in [
        (
            guest::LDTR_SELECTOR,
            guest::LDTR_BASE,
            guest::LDTR_LIMIT,
            guest::LDTR_ACCESS_RIGHTS,
            0x82,
        ),
        (
            guest::TR_SELECTOR,
            guest::TR_BASE,
            guest::TR_LIMIT,
            guest::TR_ACCESS_RIGHTS,
            0x8b,
        ),
    ] {
        fields.push(selector, 0);
        fields.push(base, 0);
        fields.push(limit, 0xffff);
        fields.push(rights, value);
    }
    for (field, value) in [
        (guest::GDTR_BASE, 0),
        (guest::GDTR_LIMIT, 0xffff),
        (guest::IDTR_BASE, 0),
        (guest::IDTR_LIMIT, 0xffff),
        (guest::CR0, CR0_AFTER_INIT | cr0_fixed),
        (control_field::CR0_READ_SHADOW, CR0_AFTER_INIT),
        (guest::CR3, 0),
        (guest::CR4, cr4_fixed),
        (control_field::CR4_READ_SHADOW, 0),
        (guest::IA32_EFER_FULL, 0),
        (guest::IA32_DEBUGCTL_FULL, 0),
        (guest::IA32_SYSENTER_CS, 0),
        (guest::IA32_SYSENTER_ESP, 0),
        (guest::IA32_SYSENTER_EIP, 0),
        (guest::DR7, 0x400),
        (guest::RIP, 0xfff0),
        (guest::RSP, 0),
        (guest::RFLAGS, 2),
        (guest::PENDING_DBG_EXCEPTIONS, 0),
        (guest::ACTIVITY_STATE, activity::WAIT_FOR_SIPI),
    ] {
        fields.push(field, value);
    }
    Reset {
        fields,
        rdx: u64::from(processor_signature),
    }
}

/// State to load: VMCS fields, and EDX, which holds the processor's signature. All other general
/// registers are zero.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    fields: Fields,
    /// RDX.
    pub rdx: u64,
}

impl Reset {
    /// The VMCS fields and their values.
    pub fn fields(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.fields.list.iter().copied().take(self.fields.count)
    }
}

/// VMCS fields and values of a core that a start-up IPI with this vector woke.
#[must_use]
pub const fn after_sipi(vector: u8) -> [(u32, u64); 4] {
    [
        (guest::CS_SELECTOR, (vector as u64) << 8),
        (guest::CS_BASE, (vector as u64) << 12),
        (guest::RIP, 0),
        (guest::ACTIVITY_STATE, activity::ACTIVE),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Fields {
    list: [(u32, u64); 64],
    count: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            list: [(0, 0); 64],
            count: 0,
        }
    }
}

impl Fields {
    fn push(&mut self, field: u32, value: u64) {
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = (field, value);
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(reset: &Reset, field: u32) -> Option<u64> {
        reset.fields().find(|(f, _)| *f == field).map(|(_, v)| v)
    }

    #[test]
    fn a_core_after_init_stands_at_the_reset_vector_and_waits() {
        let reset = after_init(0x20, 0x2000, 0x506e3);
        assert_eq!(value(&reset, guest::CS_BASE), Some(0xffff_0000));
        assert_eq!(value(&reset, guest::RIP), Some(0xfff0));
        assert_eq!(
            value(&reset, guest::ACTIVITY_STATE),
            Some(activity::WAIT_FOR_SIPI)
        );
        assert_eq!(reset.rdx, 0x506e3);
    }

    #[test]
    fn bits_that_vmx_insists_on_are_set_and_hidden() {
        let reset = after_init(0x20, 0x2000, 0);
        assert_eq!(value(&reset, guest::CR0), Some(0x30));
        assert_eq!(value(&reset, control_field::CR0_READ_SHADOW), Some(0x10));
        assert_eq!(value(&reset, guest::CR4), Some(0x2000));
        assert_eq!(value(&reset, control_field::CR4_READ_SHADOW), Some(0));
    }

    #[test]
    fn a_start_up_ipi_chooses_the_page() {
        let fields = after_sipi(0x9a);
        assert_eq!(fields[0], (guest::CS_SELECTOR, 0x9a00));
        assert_eq!(fields[1], (guest::CS_BASE, 0x9a000));
    }
}
