//! The claimer of a halt looks at what it is editing.

use debuggee_driver::cores::rendezvous::{Processor, Rendezvous};
use wire_protocol::address::CoreId;
use wire_protocol::limits;

pub fn program(processor: &impl Processor) {
    let rendezvous = Rendezvous::new([1, 2], [(); limits::CORES]);
    let Some(mut seat) = rendezvous.seat(CoreId(0)) else { return };
    let Some(mut halt) = seat.claim() else { return };
    if let Ok(mut proof) = halt.all_halted() {
        let numbers = proof.edit();
        halt.read(|numbers| assert_eq!(numbers[0], 1)); // wrong
        numbers[0] = 3;
    }
    halt.read(|numbers| assert_eq!(numbers[0], 3));
    halt.release(processor, 0);
}
