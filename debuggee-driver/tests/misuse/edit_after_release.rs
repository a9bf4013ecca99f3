//! What was lent for a halt is used after every core was let go.

use debuggee_driver::cores::rendezvous::{Processor, Rendezvous};
use wire_protocol::address::CoreId;
use wire_protocol::limits;

pub fn program(processor: &impl Processor) {
    let rendezvous = Rendezvous::new([1, 2], [(); limits::CORES]);
    let Some(mut seat) = rendezvous.seat(CoreId(0)) else { return };
    let Some(mut halt) = seat.claim() else { return };
    let Ok(mut proof) = halt.all_halted() else { return };
    let numbers = proof.edit();
    numbers[0] = 3;
    halt.release(processor, 0);
    numbers[1] = 4; // wrong
}
