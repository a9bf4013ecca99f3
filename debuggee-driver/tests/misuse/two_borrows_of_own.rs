//! What a core has for itself is borrowed twice.

use debuggee_driver::cores::rendezvous::Rendezvous;
use wire_protocol::address::CoreId;
use wire_protocol::limits;

pub fn program() {
    let rendezvous = Rendezvous::new((), [0; limits::CORES]);
    let Some(mut seat) = rendezvous.seat(CoreId(0)) else { return };
    let first = seat.local();
    let second = seat.local(); // wrong
    *first += 1;
    *second += 1; // wrong
}
