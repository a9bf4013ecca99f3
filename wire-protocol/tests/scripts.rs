//! Programs of arbitrary bytes: what the verifier accepts, runs without fault and within its
//! budget, on a machine that answers anything.

#[path = "support/scripts.rs"]
mod scripts;

use proptest::prelude::*;
use scripts::{exercise, generate, misguide};
use wire_protocol::bytecode::{Reason, VERSION};

fn config() -> ProptestConfig {
    ProptestConfig {
        // Fewer where every step is slow.
        cases: if cfg!(miri) { 4 } else { 1000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn generated_programs_verify_and_run(choices in proptest::collection::vec(any::<u8>(), 0..400)) {
        let program = generate(&choices).expect("assembles");
        exercise(&program).expect("verifies");
    }

    #[test]
    fn mutated_programs_are_refused_or_run(
        choices in proptest::collection::vec(any::<u8>(), 0..400),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.1, any::<usize>()),
    ) {
        let mut program = generate(&choices).expect("assembles");
        let len = program.len();
        for (at, byte) in changes {
            program[at % len] = byte;
        }
        program.truncate(cut.map_or(len, |cut| cut % len));
        let _ = exercise(&program);
    }

    #[test]
    fn misguided_programs_are_refused_or_run(
        choices in proptest::collection::vec(any::<u8>(), 100..400),
        (which, to) in any::<(usize, u8)>(),
    ) {
        let mut program = generate(&choices).expect("assembles");
        misguide(&mut program, which, to);
        let _ = exercise(&program);
    }

    #[test]
    fn random_bytes_are_refused_or_run(
        depth in 0u8..9,
        code in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut program = vec![VERSION, depth, 2, 32, 0, 0, 0];
        program.extend(code);
        let _ = exercise(&program);
    }
}

#[test]
fn some_mutated_programs_are_accepted_and_most_reasons_occur() {
    let (mut accepted, mut reasons) = (0, std::collections::HashMap::new());
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..3000 {
        let choices: Vec<u8> = (0..200).map(|_| random() as u8).collect();
        let mut program = generate(&choices).expect("assembles");
        let at = random() % program.len();
        program[at] = random() as u8;
        match exercise(&program) {
            Ok(_) => accepted += 1,
            Err(bad) => *reasons.entry(bad.reason.text()).or_insert(0) += 1,
        }
    }
    assert!(accepted > 300, "{accepted} of 3000");
    assert!(reasons.len() > Reason::ALL.len() / 2, "{reasons:?}");
}
