//! See [`hostile::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::link(bytes));
