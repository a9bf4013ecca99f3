//! A core checks in, so that another one may edit, while it looks.

use debuggee_driver::cores::rendezvous::Seat;

pub fn program(seat: &mut Seat<'_, [u64; 2], ()>) {
    seat.park(0, || {});
    let sum = seat.read(|numbers| {
        seat.park(0, || {}); // wrong
        numbers[0] + numbers[1]
    });
    assert_eq!(sum, 3);
}
