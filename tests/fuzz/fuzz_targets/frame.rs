//! See [`hostile::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::frame(bytes));
