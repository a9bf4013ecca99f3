//! Memory contents: any bytes come back from packing, and any bytes unpack to something of the length asked for.
//!
//! `cargo +nightly fuzz run pack`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire_protocol::pack::{WORK_BYTES, pack, unpack};

fuzz_target!(|bytes: &[u8]| {
    let mut work = vec![0; WORK_BYTES];
    let mut packed = vec![0; bytes.len()];
    let mut content = vec![0; bytes.len()];
    if let Some(len) = pack(bytes, &mut work, &mut packed) {
        assert!(unpack(&packed[..len], &mut work, &mut content));
        assert_eq!(content, bytes);
    }
    let len = bytes.first().map_or(0, |first| usize::from(*first) * 8);
    assert!(unpack(bytes, &mut work, &mut vec![0; len]));
});
