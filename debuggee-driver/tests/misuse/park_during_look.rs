//! A core checks in, so that another one may edit, while it looks.

use debuggee_driver::cores::rendezvous::{Processor, Seat};

pub fn program(seat: &mut Seat<'_, [u64; 2], ()>, processor: &mut impl Processor) {
    seat.park(processor, |_| {});
    let sum = seat.read(|numbers| {
        seat.park(processor, |_| {}); // wrong
        numbers[0] + numbers[1]
    });
    assert_eq!(sum, 3);
}
