//! See [`hostile::net_frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::net_frame(bytes));
