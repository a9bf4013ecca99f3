//! Memory that came packed. Called by `session` for what the debuggee answers, and for what it answered when it was recorded.

use wire_protocol::pack::Packing;

/// The `len` bytes that `bytes` are, however they came; `None` if they cannot be unpacked.
pub(crate) fn unpacked(packing: Option<Packing>, len: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    let Some(packing) = packing else {
        return Some(bytes.to_vec());
    };
    let mut work = vec![0; packing.work_bytes()];
    let mut content = vec![0; len];
    let fits = packing.unpack(bytes, &mut work, &mut content);
    fits.then_some(content)
}
