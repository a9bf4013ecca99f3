//! Moved instructions, looked at by an independent decoder.

extern crate std;

use super::*;
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction as Other};
use proptest::prelude::*;
use std::vec::Vec;

const FROM: u64 = 0xffff_ffff_8123_4567;
const TO: u64 = 0xffff_ffff_c012_0010;

fn read(bytes: &[u8], at: u64) -> Vec<Other> {
    let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
    decoder.iter().collect()
}

fn padded(code: &[u8]) -> [u8; LENGTH_MAX] {
    let mut bytes = [0x90; LENGTH_MAX];
    bytes[..code.len()].copy_from_slice(code);
    bytes
}

#[test]
fn what_does_nothing_is_not_moved() {
    for code in [
        &[0x0f, 0x1f, 0x44, 0, 0][..],
        &[0x66, 0x66, 0x66, 0x66, 0x90],
        &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
    ] {
        let moved = relocate(&padded(code), FROM, TO).unwrap();
        assert_eq!(
            (moved.bytes().len(), usize::from(moved.covered)),
            (0, code.len())
        );
    }
}

#[test]
fn an_instruction_that_the_end_of_its_page_cuts_is_told_from_none() {
    let why = |code: &[u8]| relocate(code, FROM, TO).unwrap_err();
    for code in [&[0xe8][..], &[0x48], &[0x0f, 0x1f, 0x44], &[0xe9, 1, 2, 3]] {
        assert_eq!(why(code), DetourObstacle::PageEnd, "{code:x?}");
    }
    assert_eq!(why(&[0x06, 0, 0]), DetourObstacle::Instruction);
    assert_eq!(why(&[0x55]), DetourObstacle::TooShort);
}

#[test]
fn a_landing_pad_is_left_where_it_is() {
    assert_eq!(landing_pad(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55]), 4);
    assert_eq!(landing_pad(&[0x0f, 0x1f, 0x44, 0, 0]), 0);
    assert_eq!(landing_pad(&[0xf3, 0x0f]), 0);
}

#[test]
fn a_call_returns_to_where_it_stood() {
    let moved = relocate(&padded(&[0xe8, 0x10, 0, 0, 0]), FROM, TO).unwrap();
    let next = FROM + 5;
    assert_eq!(moved.bytes()[0], 0x68);
    let pushed = i32::from_le_bytes(moved.bytes()[1..5].try_into().unwrap());
    assert_eq!(i64::from(pushed) as u64, next);
    assert_eq!(jump(TO + 5, next + 0x10).unwrap(), moved.bytes()[5..]);
}

#[test]
fn what_cannot_be_moved_is_told() {
    let why = |code: &[u8]| relocate(&padded(code), FROM, TO).unwrap_err();
    assert_eq!(why(&[0x55]), DetourObstacle::TooShort);
    assert_eq!(why(&[0xeb, 3]), DetourObstacle::TooShort);
    assert_eq!(why(&[0xff, 0x15, 0, 0, 0, 0]), DetourObstacle::Instruction);
    assert_eq!(why(&[0x06]), DetourObstacle::Instruction);
    // MOV RAX, [RIP - 80000000]
    let far = [0x48, 0x8b, 0x05, 0, 0, 0, 0x80];
    assert_eq!(why(&far), DetourObstacle::OutOfReach);
}

proptest! {
    /// The moved instruction is the same one, with the same operands and the same place in memory,
    /// and whatever path it takes ends where the original's does.
    #[test]
    #[cfg_attr(miri, ignore = "the other decoder breaks Miri's model of borrows")]
    fn a_moved_instruction_does_what_it_did(code in any::<[u8; LENGTH_MAX]>(), near in any::<i32>()) {
        let mut code = code;
        let Some(it) = instruction::decode(&code) else { return Ok(()) };
        if it.is_rip_relative() {
            // Most distances lead out of reach.
            let at = usize::from(it.displacement_at);
            code[at..at + 4].copy_from_slice(&(near >> 8).to_le_bytes());
        }
        let original = read(&code, FROM)[0];
        let Ok(moved) = relocate(&code, FROM, TO) else { return Ok(()) };
        if original.is_invalid() {
            return Ok(());
        }
        prop_assert_eq!(usize::from(moved.covered), original.len());
        if moved.bytes().is_empty() {
            prop_assert!(matches!(original.mnemonic(), iced_x86::Mnemonic::Nop));
            return Ok(());
        }
        let all = read(moved.bytes(), TO);
        let last = all.last().unwrap();
        prop_assert_eq!(last.code(), Code::Jmp_rel32_64);
        let first = all[0];
        match original.flow_control() {
            FlowControl::UnconditionalBranch => {
                prop_assert_eq!(all.len(), 1);
                prop_assert_eq!(last.near_branch64(), original.near_branch64());
            }
            FlowControl::Call => {
                prop_assert_eq!(first.immediate(0), original.next_ip());
                prop_assert_eq!(last.near_branch64(), original.near_branch64());
            }
            FlowControl::ConditionalBranch => {
                prop_assert_eq!(first.condition_code(), original.condition_code());
                prop_assert_eq!(first.near_branch64(), original.near_branch64());
                prop_assert_eq!(last.near_branch64(), original.next_ip());
            }
            _ => {
                prop_assert_eq!(first.code(), original.code());
                prop_assert_eq!(first.op_count(), original.op_count());
                prop_assert_eq!(first.memory_displacement64(), original.memory_displacement64());
                prop_assert_eq!(first.memory_base(), original.memory_base());
                prop_assert_eq!(last.near_branch64(), original.next_ip());
            }
        }
    }
}
