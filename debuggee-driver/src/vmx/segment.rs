//! Segment registers in VMCS form, from descriptors. Called by `hw::vmx_cpu` at the launch.

/// One segment register as the VMCS holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// First byte.
    pub base: u64,
    /// Last byte's offset.
    pub limit: u32,
    /// Access rights in the format of "Guest Register State", table 25-2.
    pub access_rights: u32,
}

/// Access rights of a segment register that holds no segment.
pub const UNUSABLE: u32 = 1 << 16;

/// Access rights from what LAR returned; `None` means it found no segment.
#[must_use]
pub const fn access_rights(lar: Option<u32>) -> u32 {
    match lar {
        Some(rights) => rights >> 8 & 0xf0ff,
        None => UNUSABLE,
    }
}

/// Base of a 16-byte system descriptor (TSS, LDT), given as two quadwords
/// ("TSS Descriptor in 64-bit mode", 8.2.3).
#[must_use]
pub const fn system_base(descriptor: [u64; 2]) -> u64 {
    let [low, high] = descriptor;
    (low >> 16 & 0x00ff_ffff) | (low >> 56 & 0xff) << 24 | high << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_a_real_linux_tss_is_put_together() {
        // GDT entry 8 of a running kernel.
        let descriptor = [0xfe00_8b02_3000_4087, 0x0000_0000_ffff_fe00];
        assert_eq!(system_base(descriptor), 0xffff_fe00_fe02_3000);
    }

    #[test]
    fn a_null_selector_is_unusable() {
        assert_eq!(access_rights(None), UNUSABLE);
        assert_eq!(access_rights(Some(0x00a0_9b00)), 0xa09b);
    }
}
