//! A core edits what it looks at.

use debuggee_driver::cores::rendezvous::Rendezvous;
use wire_protocol::address::CoreId;
use wire_protocol::limits;

pub fn program() {
    let rendezvous = Rendezvous::new([1, 2], [(); limits::CORES]);
    let Some(mut seat) = rendezvous.seat(CoreId(0)) else { return };
    let (numbers, _) = seat.parts();
    drop(seat.claim()); // wrong
    assert_eq!(numbers[0], 1);
}
