//! Last-branch records of both layouts, on a processor of plain registers.

extern crate std;

use crate::cores::branches::Branches;
use crate::fake::cpu::FakeCpu;
use crate::port::Cpu;
use crate::vmx::branch::{Format, GUEST_LBR_CTL, LBR_DEPTH, LBR_SELECT, Layout, RECORDING};
use crate::vmx::guest;
use std::vec::Vec;
use wire_protocol::branch::{BranchOrder, filter};
use wire_protocol::script::BranchCall;

const LEGACY: Layout = Layout::Legacy {
    depth: 16,
    format: Format::Information,
};
const ARCHITECTURAL: Layout = Layout::Architectural {
    depth: 16,
    filters: 7,
    notes: 7,
};
const TOS: u32 = 0x1c9;
const FREEZE: u64 = 1 << 11;

fn control(layout: Layout) -> u32 {
    match layout {
        Layout::Legacy { .. } => guest::IA32_DEBUGCTL_FULL,
        Layout::Architectural { .. } => GUEST_LBR_CTL,
    }
}

/// The guest takes so many branches, from 1, 2, 3 and so on, if they are recorded.
fn take(cpu: &mut FakeCpu, layout: Layout, count: u8) {
    if cpu.vmread(control(layout)) & RECORDING == 0 {
        return;
    }
    for from in 1..=count {
        let place = match layout {
            Layout::Legacy { depth, .. } => {
                let place = (cpu.read_msr(TOS) + 1) % u64::from(depth);
                cpu.write_msr(TOS, place);
                place as u8
            }
            Layout::Architectural { .. } => {
                for number in (1..16).rev() {
                    let older = [layout.registers(number - 1), layout.registers(number)];
                    let value = cpu.read_msr(older[0].0);
                    cpu.write_msr(older[1].0, value);
                }
                0
            }
        };
        let (register, ..) = layout.registers(place);
        cpu.write_msr(register, u64::from(from));
    }
}

fn kept(branches: &Branches) -> Vec<u64> {
    branches.kept().1.map(|branch| branch.from).collect()
}

/// One halt in which these orders are given.
fn halt(branches: &mut Branches, cpu: &mut FakeCpu, layout: Layout, orders: &[(BranchOrder, u16)]) {
    branches.halted(cpu, layout);
    for (order, filter) in orders {
        branches.order(*order, *filter);
    }
    branches.let_go(cpu, layout);
}

const ENABLE: (BranchOrder, u16) = (BranchOrder::Enable, 0);
const DISABLE: (BranchOrder, u16) = (BranchOrder::Disable, 0);

/// What the guest can see of the recording.
fn seen(cpu: &FakeCpu, layout: Layout) -> [u64; 3] {
    [
        cpu.vmread(control(layout)),
        cpu.read_msr(LBR_SELECT),
        cpu.read_msr(LBR_DEPTH),
    ]
}

#[test]
fn a_halt_changes_nothing_where_nothing_is_recorded() {
    for layout in [LEGACY, ARCHITECTURAL] {
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        cpu.write_msr(LBR_SELECT, 5);
        cpu.write_msr(LBR_DEPTH, 8);
        let before = seen(&cpu, layout);
        halt(&mut branches, &mut cpu, layout, &[]);
        halt(&mut branches, &mut cpu, layout, &[ENABLE, DISABLE]);
        assert_eq!(seen(&cpu, layout), before);
        assert!(!branches.call(&mut cpu, layout, BranchCall::Check));
        assert!(!branches.call(&mut cpu, layout, BranchCall::Restore));
        assert_eq!(branches.branch(&cpu, layout, 0), None);
    }
}

#[test]
fn branches_are_recorded_until_they_are_not_and_the_guest_has_its_own_again() {
    for layout in [LEGACY, ARCHITECTURAL] {
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        cpu.vmwrite(guest::IA32_DEBUGCTL_FULL, FREEZE);
        cpu.write_msr(LBR_SELECT, 5);
        cpu.write_msr(LBR_DEPTH, 8);
        let before = seen(&cpu, layout);
        halt(&mut branches, &mut cpu, layout, &[ENABLE]);
        take(&mut cpu, layout, 20);
        let newest: Vec<u64> = (5..=20).rev().collect();
        let seen_by_script: Vec<_> = (0..16)
            .filter_map(|n| branches.branch(&cpu, layout, n))
            .collect();
        assert!(
            seen_by_script
                .iter()
                .map(|it| it.from)
                .eq(newest.iter().copied())
        );
        branches.halted(&cpu, layout);
        assert!(!branches.is_guests());
        assert_eq!(kept(&branches), newest, "{layout:?}");
        branches.order(BranchOrder::Flush, 0);
        branches.let_go(&mut cpu, layout);
        take(&mut cpu, layout, 2);
        halt(&mut branches, &mut cpu, layout, &[]);
        assert_eq!(kept(&branches), [2, 1]);
        halt(&mut branches, &mut cpu, layout, &[DISABLE]);
        assert_eq!(seen(&cpu, layout), before);
        take(&mut cpu, layout, 3);
        halt(&mut branches, &mut cpu, layout, &[]);
        assert_eq!(kept(&branches), []);
    }
}

#[test]
fn what_a_script_kept_stays_until_it_keeps_more() {
    for layout in [LEGACY, ARCHITECTURAL] {
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        halt(&mut branches, &mut cpu, layout, &[ENABLE]);
        take(&mut cpu, layout, 2);
        assert!(branches.call(&mut cpu, layout, BranchCall::Save));
        take(&mut cpu, layout, 5);
        halt(&mut branches, &mut cpu, layout, &[]);
        assert_eq!(kept(&branches), [2, 1]);
        assert!(branches.call(&mut cpu, layout, BranchCall::Save));
        assert_eq!(kept(&branches), [5, 4, 3, 2, 1, 2, 1]);
    }
}

#[test]
fn a_debug_exception_ends_it_and_a_script_goes_on() {
    for layout in [LEGACY, ARCHITECTURAL] {
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        let orders = [ENABLE, (BranchOrder::Filter, filter::USER)];
        halt(&mut branches, &mut cpu, layout, &orders);
        let on = seen(&cpu, layout);
        cpu.vmwrite(control(layout), on[0] & !RECORDING);
        assert!(!branches.call(&mut cpu, layout, BranchCall::Check));
        assert!(!branches.call(&mut cpu, layout, BranchCall::Save));
        assert!(branches.call(&mut cpu, layout, BranchCall::Restore));
        assert_eq!(seen(&cpu, layout), on);
        assert!(branches.call(&mut cpu, layout, BranchCall::RestoreBy(0)));
        assert_ne!(seen(&cpu, layout), on);
        assert!(branches.call(&mut cpu, layout, BranchCall::Check));
        for filter in [1 << 10, 1 << 16] {
            assert!(!branches.call(&mut cpu, layout, BranchCall::RestoreBy(filter)));
        }
    }
}

#[test]
fn a_guest_that_records_branches_itself_keeps_them() {
    for layout in [LEGACY, ARCHITECTURAL] {
        // Before.
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        cpu.vmwrite(control(layout), RECORDING | FREEZE);
        let its = seen(&cpu, layout);
        branches.halted(&cpu, layout);
        assert!(branches.is_guests());
        branches.order(BranchOrder::Enable, 0);
        branches.let_go(&mut cpu, layout);
        assert_eq!(seen(&cpu, layout), its);
        // Meanwhile.
        let (mut branches, mut cpu) = (Branches::OFF, FakeCpu::default());
        halt(&mut branches, &mut cpu, layout, &[ENABLE]);
        cpu.vmwrite(control(layout), RECORDING | FREEZE);
        let its = seen(&cpu, layout);
        assert!(!branches.call(&mut cpu, layout, BranchCall::Save));
        assert!(!branches.call(&mut cpu, layout, BranchCall::Restore));
        branches.halted(&cpu, layout);
        assert!(branches.is_guests());
        branches.order(BranchOrder::Flush, 0);
        branches.let_go(&mut cpu, layout);
        branches.switch_off(&mut cpu, layout);
        assert_eq!(seen(&cpu, layout), its);
    }
}
