//! A core looks while it waits for a start-up IPI, and no halt waits for it.

use debuggee_driver::cores::rendezvous::Rendezvous;
use wire_protocol::address::CoreId;
use wire_protocol::limits;

pub fn program() {
    let rendezvous = Rendezvous::new([1, 2], [(); limits::CORES]);
    let Some(mut seat) = rendezvous.seat(CoreId(0)) else { return };
    seat.wait_for_sipi(|| {
        seat.read(|numbers| assert_eq!(numbers[0], 1)); // wrong
    });
    seat.read(|numbers| assert_eq!(numbers[0], 1));
}
