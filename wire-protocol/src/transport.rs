//! Where bytes come from and go to: the driver's UART, the host's serial line, pipe or socket.

/// Moves chunks of bytes, and knows nothing of what they mean. No call waits.
///
/// A line that is gone for good behaves like a quiet one: it gives nothing and takes nothing. A
/// transport that can tell says so on its own type.
pub trait Transport {
    /// Bytes that have arrived, into the front of `into`; returns how many. 0 if there is none.
    fn receive(&mut self, into: &mut [u8]) -> usize;

    /// Takes bytes from the front of `from`; returns how many. 0 if there is no room now.
    fn send(&mut self, from: &[u8]) -> usize;
}
