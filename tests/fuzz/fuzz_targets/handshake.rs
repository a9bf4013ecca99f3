//! See [`hostile::handshake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::handshake(bytes));
