//! See [`hostile::net_handshake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::net_handshake(bytes));
