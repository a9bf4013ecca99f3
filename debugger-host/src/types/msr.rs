//! Names of MSRs. Called where an MSR is typed.

/// MSRs by name (SDM volume 4, "Architectural MSRs"), without the `IA32_` that may stand before.
pub const MSRS: [(&str, u32); 44] = [
    ("tsc", 0x10),
    ("platform_id", 0x17),
    ("apic_base", 0x1b),
    ("feature_control", 0x3a),
    ("tsc_adjust", 0x3b),
    ("spec_ctrl", 0x48),
    ("pred_cmd", 0x49),
    ("bios_updt_trig", 0x79),
    ("bios_sign_id", 0x8b),
    ("pmc0", 0xc1),
    ("mperf", 0xe7),
    ("aperf", 0xe8),
    ("mtrrcap", 0xfe),
    ("arch_capabilities", 0x10a),
    ("flush_cmd", 0x10b),
    ("sysenter_cs", 0x174),
    ("sysenter_esp", 0x175),
    ("sysenter_eip", 0x176),
    ("mcg_cap", 0x179),
    ("mcg_status", 0x17a),
    ("perfevtsel0", 0x186),
    ("perf_status", 0x198),
    ("perf_ctl", 0x199),
    ("clock_modulation", 0x19a),
    ("therm_status", 0x19c),
    ("misc_enable", 0x1a0),
    ("energy_perf_bias", 0x1b0),
    ("debugctl", 0x1d9),
    ("pat", 0x277),
    ("mtrr_def_type", 0x2ff),
    ("fixed_ctr0", 0x309),
    ("perf_capabilities", 0x345),
    ("fixed_ctr_ctrl", 0x38d),
    ("perf_global_status", 0x38e),
    ("perf_global_ctrl", 0x38f),
    ("tsc_deadline", 0x6e0),
    ("efer", 0xc000_0080),
    ("star", 0xc000_0081),
    ("lstar", 0xc000_0082),
    ("fmask", 0xc000_0084),
    ("fs_base", 0xc000_0100),
    ("gs_base", 0xc000_0101),
    ("kernel_gs_base", 0xc000_0102),
    ("tsc_aux", 0xc000_0103),
];

/// The MSR of that name.
#[must_use]
pub fn msr(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("ia32_").unwrap_or(&name);
    let found = MSRS.iter().find(|(known, _)| *known == name);
    found.map(|(_, msr)| *msr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::number::parse;

    #[test]
    fn no_name_is_a_number_and_none_has_two() {
        for (name, number) in MSRS {
            assert!(parse(name).is_err(), "{name}");
            assert_eq!(msr(&format!("IA32_{}", name.to_uppercase())), Some(number));
        }
        let mut names = MSRS.map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
