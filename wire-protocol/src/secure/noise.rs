//! The handshake: `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s` of the Noise Protocol Framework, revision 34, as far as that pattern
//! needs it. For [`super::caller`], its initiator, and [`super::listener`], its responder.
//!
//! ```text
//! -> psk, e
//! <- e, ee
//! ```
//!
//! Names are those of the specification, section 5 (Processing rules). Test vectors of two other implementations hold it to it.

use super::secret::{SECRET_BYTES, Secret};
use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::SimpleHkdf;
use subtle::ConstantTimeEq;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

const PROTOCOL_NAME: &[u8] = b"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Bytes of a public key.
pub(super) const PUBLIC_BYTES: usize = 32;
/// Bytes by which what is sealed is longer.
pub(super) const TAG_BYTES: usize = 16;

pub(super) type Public = [u8; PUBLIC_BYTES];
pub(super) type Tag = [u8; TAG_BYTES];

/// What comes of a handshake.
pub(super) struct Keys {
    /// Of what the initiator sends, and of what the responder sends.
    pub(super) from_initiator: Secret,
    pub(super) from_responder: Secret,
    /// The handshake, all that was said included; no secret.
    pub(super) hash: [u8; SECRET_BYTES],
}

/// `SymmetricState`, with its `CipherState`.
#[derive(Clone)]
struct Symmetric {
    chaining_key: Secret,
    hash: [u8; SECRET_BYTES],
    key: Secret,
    nonce: u64,
}

impl Symmetric {
    fn new(prologue: &[u8]) -> Self {
        let hash: [u8; SECRET_BYTES] = Blake2s256::digest(PROTOCOL_NAME).into();
        let mut new = Self {
            chaining_key: Secret::new(hash),
            hash,
            key: Secret::new([0; SECRET_BYTES]),
            nonce: 0,
        };
        new.mix_hash(&[prologue]);
        new
    }

    fn mix_hash(&mut self, pieces: &[&[u8]]) {
        let mut hash = Blake2s256::new_with_prefix(self.hash);
        for piece in pieces {
            hash.update(piece);
        }
        self.hash = hash.finalize().into();
    }

    /// `HKDF`: as many keys as are asked for, 3 at most.
    fn derive<const KEYS: usize>(&self, input: &[u8]) -> Option<[Secret; KEYS]> {
        let mut bytes = Zeroizing::new([[0; SECRET_BYTES]; KEYS]);
        let hkdf = SimpleHkdf::<Blake2s256>::new(Some(&*self.chaining_key.0), input);
        hkdf.expand(&[], bytes.as_flattened_mut()).ok()?;
        Some(bytes.map(Secret::new))
    }

    fn mix_key(&mut self, input: &[u8]) -> Option<()> {
        let [chaining_key, key] = self.derive(input)?;
        self.chaining_key = chaining_key;
        self.key = key;
        self.nonce = 0;
        Some(())
    }

    fn mix_key_and_hash(&mut self, input: &[u8]) -> Option<()> {
        let [chaining_key, hash, key] = self.derive(input)?;
        self.chaining_key = chaining_key;
        self.mix_hash(&[&*hash.0]);
        self.key = key;
        self.nonce = 0;
        Some(())
    }

    /// The token `e`, in a handshake that has a `psk`.
    fn mix_ephemeral(&mut self, public: &Public) -> Option<()> {
        self.mix_hash(&[public]);
        self.mix_key(public)
    }

    fn next_nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        nonce
    }

    fn encrypt_and_hash(&mut self, payload: &mut [u8]) -> Option<Tag> {
        let nonce = self.next_nonce();
        let cipher = ChaCha20Poly1305::new((&*self.key.0).into());
        let tag = cipher
            .encrypt_inout_detached((&nonce).into(), &self.hash, (&mut *payload).into())
            .ok()?;
        let tag: Tag = tag.into();
        self.mix_hash(&[payload, &tag]);
        Some(tag)
    }

    fn decrypt_and_hash(&mut self, payload: &mut [u8], tag: &Tag) -> Option<()> {
        let nonce = self.next_nonce();
        let cipher = ChaCha20Poly1305::new((&*self.key.0).into());
        let hash = self.hash;
        self.mix_hash(&[payload, tag]);
        cipher
            .decrypt_inout_detached((&nonce).into(), &hash, payload.into(), tag.into())
            .ok()
    }

    /// `Split`.
    fn split(self) -> Option<Keys> {
        let [from_initiator, from_responder] = self.derive(&[])?;
        Some(Keys {
            from_initiator,
            from_responder,
            hash: self.hash,
        })
    }
}

/// `DH`. A public key of small order makes zeroes of any secret.
fn shared(secret: &Secret, public: &Public) -> Option<Secret> {
    let shared = Secret::new(x25519(*secret.0, *public));
    let is_zero = bool::from(shared.0.ct_eq(&[0; SECRET_BYTES]));
    (!is_zero).then_some(shared)
}

fn public(secret: &Secret) -> Public {
    x25519(*secret.0, X25519_BASEPOINT_BYTES)
}

/// The initiator, which waits for the second message. What was no such message changes nothing.
pub(super) struct Initiator {
    symmetric: Symmetric,
    ephemeral: Secret,
}

impl Initiator {
    /// Writes the first message: the public key, the payload in its place, and its tag.
    pub(super) fn begin(
        psk: &Secret,
        prologue: &[u8],
        ephemeral: Secret,
        payload: &mut [u8],
    ) -> Option<(Self, Public, Tag)> {
        let mut symmetric = Symmetric::new(prologue);
        symmetric.mix_key_and_hash(&*psk.0)?;
        let public = public(&ephemeral);
        symmetric.mix_ephemeral(&public)?;
        let tag = symmetric.encrypt_and_hash(payload)?;
        let initiator = Self {
            symmetric,
            ephemeral,
        };
        Some((initiator, public, tag))
    }

    /// Reads the second message. `None` if it is not one of who has the key, to this first one.
    pub(super) fn finish(&self, theirs: &Public, payload: &mut [u8], tag: &Tag) -> Option<Keys> {
        let mut symmetric = self.symmetric.clone();
        symmetric.mix_ephemeral(theirs)?;
        symmetric.mix_key(&*shared(&self.ephemeral, theirs)?.0)?;
        symmetric.decrypt_and_hash(payload, tag)?;
        symmetric.split()
    }
}

/// The responder, which has read the first message.
pub(super) struct Responder {
    symmetric: Symmetric,
    theirs: Public,
}

impl Responder {
    /// Reads the first message. `None` if it is not one of who has the key.
    pub(super) fn begin(
        psk: &Secret,
        prologue: &[u8],
        theirs: &Public,
        payload: &mut [u8],
        tag: &Tag,
    ) -> Option<Self> {
        let mut symmetric = Symmetric::new(prologue);
        symmetric.mix_key_and_hash(&*psk.0)?;
        symmetric.mix_ephemeral(theirs)?;
        symmetric.decrypt_and_hash(payload, tag)?;
        Some(Self {
            symmetric,
            theirs: *theirs,
        })
    }

    /// All that was said so far.
    pub(super) const fn hash(&self) -> &[u8; SECRET_BYTES] {
        &self.symmetric.hash
    }

    /// Writes the second message.
    pub(super) fn finish(
        mut self,
        ephemeral: &Secret,
        payload: &mut [u8],
    ) -> Option<(Keys, Public, Tag)> {
        let public = public(ephemeral);
        self.symmetric.mix_ephemeral(&public)?;
        self.symmetric
            .mix_key(&*shared(ephemeral, &self.theirs)?.0)?;
        let tag = self.symmetric.encrypt_and_hash(payload)?;
        Some((self.symmetric.split()?, public, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.map(byte).collect()
    }

    fn secret(hex: &str) -> Secret {
        Secret::new(bytes(hex).try_into().unwrap())
    }

    // From the vectors of cacophony, the Haskell implementation of Noise, which that in Rust (snow) has, too.
    const PROLOGUE: &str = "4a6f686e2047616c74";
    const PSK: &str = "54686973206973206d7920417573747269616e20706572737065637469766521";
    const OF_INITIATOR: &str = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
    const OF_RESPONDER: &str = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
    const HASH: &str = "b3e9c846d264120a4211e18307da91157a21e92e69b639c50f027f101db3e1a6";
    const MESSAGES: [(&str, &str); 6] = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944fda936bec35a8adfdff198386f7d5475880897edaaf7495314c99095a2e4d66a",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088434cd2a371993ba41ea11448024fca32766b169183c9e691a7a433279da7e729",
        ),
        (
            "462e20412e20486179656b",
            "bc44da303ae0beb08075fc4eb4e58235c67c2d1f53a4f2fff0bca7",
        ),
        (
            "4361726c204d656e676572",
            "416d1af83e9fa6966ce4e871156b131aa9bd7e9a1d6f8794f4872a",
        ),
        (
            "4a65616e2d426170746973746520536179",
            "8a7d81b77bcc6c072f2b807da066efba6b5fab9edf71a7faceb2c8454b0cfef608",
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "1e2ee010f72894824a25a867664ff298f2548a145dc4e9d27b1cad83f32fa7c54d69dc3279",
        ),
    ];

    fn joined(public: Public, payload: &[u8], tag: Tag) -> Vec<u8> {
        [&public[..], payload, &tag].concat()
    }

    #[test]
    fn test_vectors_of_other_implementations_come_out() {
        let psk = secret(PSK);
        let prologue = bytes(PROLOGUE);
        let [first, second, transport @ ..] =
            MESSAGES.map(|(payload, message)| (bytes(payload), bytes(message)));

        let mut payload = first.0.clone();
        let (initiator, theirs, tag) =
            Initiator::begin(&psk, &prologue, secret(OF_INITIATOR), &mut payload).unwrap();
        assert_eq!(joined(theirs, &payload, tag), first.1);
        let responder = Responder::begin(&psk, &prologue, &theirs, &mut payload, &tag).unwrap();
        assert_eq!(payload, first.0);

        let mut payload = second.0.clone();
        let (responder, theirs, tag) = responder
            .finish(&secret(OF_RESPONDER), &mut payload)
            .unwrap();
        assert_eq!(joined(theirs, &payload, tag), second.1);
        let initiator = initiator.finish(&theirs, &mut payload, &tag).unwrap();
        assert_eq!(payload, second.0);

        for keys in [&initiator, &responder] {
            assert_eq!(keys.hash[..], bytes(HASH));
            // Their transport messages take turns, the initiator's first, each direction with its own count.
            for (number, (payload, message)) in transport.iter().enumerate() {
                let key = match number % 2 {
                    0 => &keys.from_initiator,
                    _ => &keys.from_responder,
                };
                let mut nonce = [0; 12];
                nonce[4] = (number / 2) as u8;
                let cipher = ChaCha20Poly1305::new((&*key.0).into());
                let mut sealed = payload.clone();
                let tag = cipher
                    .encrypt_inout_detached((&nonce).into(), &[], (&mut sealed[..]).into())
                    .unwrap();
                sealed.extend_from_slice(&tag);
                assert_eq!(&sealed, message, "{number}");
            }
        }
    }

    #[test]
    fn whoever_lacks_the_key_neither_begins_nor_answers() {
        let (psk, other) = (secret(PSK), secret(HASH));
        let begin = |psk| Initiator::begin(psk, &[], secret(OF_INITIATOR), &mut []).unwrap();
        let (initiator, theirs, tag) = begin(&psk);
        assert!(Responder::begin(&other, &[], &theirs, &mut [], &tag).is_none());
        assert!(Responder::begin(&psk, b"x", &theirs, &mut [], &tag).is_none());
        // Someone in between, who answers in the host's place.
        let (_, theirs, tag) = begin(&other);
        let false_one = Responder::begin(&other, &[], &theirs, &mut [], &tag).unwrap();
        let (_, theirs, tag) = false_one.finish(&secret(OF_RESPONDER), &mut []).unwrap();
        assert!(initiator.finish(&theirs, &mut [], &tag).is_none());
    }

    #[test]
    fn a_public_key_of_small_order_is_refused() {
        let psk = secret(PSK);
        let small = [0; PUBLIC_BYTES];
        assert!(shared(&psk, &small).is_none());
        let (initiator, _, _) = Initiator::begin(&psk, &[], secret(OF_INITIATOR), &mut []).unwrap();
        assert!(initiator.finish(&small, &mut [], &[0; TAG_BYTES]).is_none());
    }
}
