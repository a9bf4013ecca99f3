//! See [`hostile::net_datagram`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::net_datagram(bytes));
