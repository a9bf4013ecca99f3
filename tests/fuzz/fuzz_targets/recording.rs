//! See [`hostile::recording`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::recording(bytes));
