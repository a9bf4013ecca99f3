//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, on RFC 8439) of datagrams, of the library's cipher and the library's
//! authenticator: its own way to join them takes a step for each byte. For [`super::session`]. A test holds it to that.

use super::datagram::NONCE_BYTES;
use super::noise::Tag;
use super::secret::Secret;
use chacha20::cipher::{Block, KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20, hchacha};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

type Cipher = ChaChaCore<R20, Ietf>;
const BLOCK_BYTES: usize = 64;
const TAG_KEY_BYTES: usize = 32;

/// Of the first block of the key stream the key of the tag is made, and nothing else.
fn begin(key: &Secret, nonce: &[u8; NONCE_BYTES]) -> (Cipher, Poly1305) {
    // The beginning of the nonce goes into a key, and what is left of it in the cipher's own, behind four zeroes.
    let (for_key, rest) = nonce.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let mut own = [0; 12];
    for (place, byte) in own.iter_mut().skip(4).zip(rest) {
        *place = *byte;
    }
    let subkey = hchacha::<R20>((&*key.0).into(), for_key.into());
    let mut cipher = Cipher::new(&subkey, (&own).into());
    let mut stream = Zeroizing::new([0; BLOCK_BYTES]);
    apply(&mut cipher, &mut *stream);
    let mut tag_key = Zeroizing::new([0; TAG_KEY_BYTES]);
    for (place, byte) in tag_key.iter_mut().zip(stream.iter()) {
        *place = *byte;
    }
    (cipher, Poly1305::new((&*tag_key).into()))
}

/// Combines bytes with the key stream: a block in a few steps, where the library's own way takes one for each byte and more.
fn apply(cipher: &mut Cipher, content: &mut [u8]) {
    let mut stream = Block::<Cipher>::default();
    let (blocks, rest) = content.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        cipher.write_keystream_block(&mut stream);
        let words = block.as_chunks_mut::<8>().0.iter_mut();
        for (word, key) in words.zip(stream.as_chunks::<8>().0) {
            *word = (u64::from_le_bytes(*word) ^ u64::from_le_bytes(*key)).to_le_bytes();
        }
    }
    if !rest.is_empty() {
        cipher.write_keystream_block(&mut stream);
        for (byte, key) in rest.iter_mut().zip(&stream) {
            *byte ^= key;
        }
    }
}

fn tag(mut poly1305: Poly1305, clear: &[u8], sealed: &[u8]) -> Tag {
    poly1305.update_padded(clear);
    poly1305.update_padded(sealed);
    let mut lengths = [0; 16];
    let (of_clear, of_sealed) = lengths.split_at_mut(8);
    of_clear.copy_from_slice(&(clear.len() as u64).to_le_bytes());
    of_sealed.copy_from_slice(&(sealed.len() as u64).to_le_bytes());
    poly1305.update_padded(&lengths);
    poly1305.finalize().into()
}

/// Encrypts in place; the tag authenticates what is clear, too.
pub(super) fn seal(
    key: &Secret,
    nonce: &[u8; NONCE_BYTES],
    clear: &[u8],
    content: &mut [u8],
) -> Tag {
    let (mut cipher, poly1305) = begin(key, nonce);
    apply(&mut cipher, content);
    tag(poly1305, clear, content)
}

/// Decrypts in place what authenticates; else nothing is done.
pub(super) fn open(
    key: &Secret,
    nonce: &[u8; NONCE_BYTES],
    clear: &[u8],
    content: &mut [u8],
    expected: &Tag,
) -> Option<()> {
    let (mut cipher, poly1305) = begin(key, nonce);
    let is_right: bool = tag(poly1305, clear, content).ct_eq(expected).into();
    if !is_right {
        return None;
    }
    apply(&mut cipher, content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::XChaCha20Poly1305;
    use chacha20poly1305::aead::AeadInOut;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn what_is_sealed_is_what_the_library_seals_and_comes_back(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; NONCE_BYTES]>(),
            clear in proptest::collection::vec(any::<u8>(), 0..40),
            content in proptest::collection::vec(any::<u8>(), 0..300),
            flipped in any::<proptest::sample::Index>(),
        ) {
            let library = XChaCha20Poly1305::new((&key).into());
            let mut of_library = content.clone();
            let expected: Tag = library
                .encrypt_inout_detached((&nonce).into(), &clear, (&mut of_library[..]).into())
                .unwrap()
                .into();
            let key = Secret::new(key);
            let mut sealed = content.clone();
            let tag = seal(&key, &nonce, &clear, &mut sealed);
            prop_assert_eq!((&sealed, tag), (&of_library, expected));

            let mut damaged = tag;
            let bit = flipped.index(8 * damaged.len());
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&key, &nonce, &clear, &mut sealed, &damaged), None);
            prop_assert_eq!(&sealed, &of_library);
            prop_assert_eq!(open(&key, &nonce, &clear, &mut sealed, &tag), Some(()));
            prop_assert_eq!(sealed, content);
        }
    }
}
