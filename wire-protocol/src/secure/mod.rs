//! A secure channel over datagrams that anybody may lose, read, change, repeat, send back or make up: between the link and a
//! network. Made for the debuggee, which calls ([`Caller`]), and for the host, which listens ([`Listener`]). Pure: datagrams,
//! the time and random bits come in as values, what is to be sent goes out; nothing is allocated, nothing panics. VMX-root and
//! host.
//!
//! **Handshake.** `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s` of the Noise Protocol Framework, revision 34 (`noise`): whoever lacks
//! the [`Key`] can neither begin nor answer one, and keys of an earlier session cannot be found out from the [`Key`] and
//! what was sent. The debuggee begins, since it comes to the host, also from behind a router that translates addresses. The
//! payload of its first message is a time that only grows. The host answers none that is not later than the last one it
//! answered, so a first message that somebody recorded brings no answer.
//!
//! **Datagrams** (`datagram`) of a session are sealed by XChaCha20-Poly1305, under a key for each direction. The nonce is a
//! counter, of which the other end takes each value once (`window`), and 128 bits more.
//!
//! **What is restored from a snapshot** has its keys and its counter again, and goes on from there with other data: under a
//! nonce of a counter alone it would give away both. So the 128 bits are a keyed hash (SipHash-2-4, under a key of its own) of
//! fresh random bits *and* of a digest of what is sealed (a universal hash, Poly1305, under another key that only that hash sees
//! the results of). Random bits alone would do where the processor draws them; where they come from
//! a seed that was restored, too, the same nonce comes out only for the same data, and then the whole datagram is the same:
//! all that it tells is that. In the same way the ephemeral key of a handshake is a keyed hash of random bits and of the
//! handshake so far, the time included. What a restored end has forgotten is which datagrams it took since: those that were
//! sent to it between the snapshot and its being restored could be brought before it once more, as they could by the
//! snapshot itself. The other end has seen its counters, takes none of them again, and so it calls anew.
//!
//! **Nothing answers** what does not authenticate; it is counted by its kind ([`Dropped`]).

mod aead;
mod caller;
mod datagram;
mod entropy;
mod key;
mod listener;
mod noise;
mod secret;
mod session;
#[cfg(test)]
mod tests;
mod window;

pub use crate::dropped::{Cause, Dropped};
pub use caller::{Caller, Taken, Timing};
pub use datagram::{DATAGRAM_BYTES, ROOM_BYTES};
pub use entropy::Entropy;
pub use key::{Key, KeyError, KeyText};
pub use listener::{Heard, Listener, OlderClock};
pub use secret::Random;
