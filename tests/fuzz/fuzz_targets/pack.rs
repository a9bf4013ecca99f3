//! See [`hostile::pack`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::pack(bytes));
