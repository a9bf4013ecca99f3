//! Datagrams of one session, sealed and opened. For [`super::caller`] and [`super::listener`].

use super::aead;
use super::datagram::{CLEAR_BYTES, Kind, NONCE_BYTES, SEALED_FROM, Sealed};
use super::noise::{Keys, TAG_BYTES, Tag};
use super::secret::{Random, Secret};
use super::window::Window;
use crate::digest::DigestKey;
use crate::dropped::Cause;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use zeroize::Zeroizing;

/// After so many datagrams of either end new keys are agreed on.
pub(super) const REKEY_AFTER: u64 = 1 << 24;
/// After so many none are sent any more. The nonces would bear far more; a handshake that never comes about is no reason to
/// go on for ever.
const LAST: u64 = 1 << 28;

const NONCE_PURPOSE: &[u8; 16] = b"standstill nonce";
const DIGEST_PURPOSE: &[u8; 16] = b"standstill bytes";
const COUNTER_BYTES: usize = 8;

/// What is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'d> {
    /// Bytes of the link.
    Bytes(&'d [u8]),
    /// Nothing: who sends it is there. The host answers the debuggee's by its own.
    Alive,
    /// The host leaves.
    Bye,
}

impl<'d> Content<'d> {
    const fn number(self) -> u8 {
        match self {
            Self::Bytes(_) => 0,
            Self::Alive => 1,
            Self::Bye => 2,
        }
    }

    const fn bytes(self) -> &'d [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Alive | Self::Bye => &[],
        }
    }

    fn read(plain: &'d [u8]) -> Option<Self> {
        match plain {
            [0, bytes @ ..] => Some(Self::Bytes(bytes)),
            [1] => Some(Self::Alive),
            [2] => Some(Self::Bye),
            _ => None,
        }
    }
}

/// What was opened.
pub(super) struct Opened<'d> {
    pub(super) content: Content<'d>,
    /// No later one has come.
    pub(super) is_newest: bool,
}

/// As much of a key as SipHash takes.
fn half(key: &Secret) -> Zeroizing<[u8; DigestKey::BYTES]> {
    let mut half = Zeroizing::new([0; DigestKey::BYTES]);
    for (place, byte) in half.iter_mut().zip(key.0.iter()) {
        *place = *byte;
    }
    half
}

/// One end's part of a session.
pub(super) struct Session {
    pub(super) id: [u8; 4],
    /// Of what this end sends.
    kind: Kind,
    send_key: Secret,
    /// Nonces are made with these: what is sealed is digested by a universal hash (Poly1305) under a key of its own, which no
    /// other than the keyed hash (SipHash-2-4, of 128 bits) ever sees.
    nonce_key: Zeroizing<[u8; DigestKey::BYTES]>,
    digest_key: Secret,
    next_counter: u64,
    receive_key: Secret,
    window: Window,
}

impl Session {
    /// The debuggee's end, or else the host's.
    pub(super) fn new(keys: Keys, is_debuggee: bool) -> Self {
        let Keys {
            from_initiator,
            from_responder,
            hash: [a, b, c, d, ..],
        } = keys;
        let (kind, send_key, receive_key) = match is_debuggee {
            true => (Kind::ToHost, from_initiator, from_responder),
            false => (Kind::ToDebuggee, from_responder, from_initiator),
        };
        Self {
            id: [a, b, c, d],
            kind,
            nonce_key: half(&send_key.derive(NONCE_PURPOSE)),
            digest_key: send_key.derive(DIGEST_PURPOSE),
            send_key,
            next_counter: 0,
            receive_key,
            window: Window::default(),
        }
    }

    /// It is time for new keys.
    pub(super) const fn is_worn(&self) -> bool {
        self.next_counter >= REKEY_AFTER || self.window.count() >= REKEY_AFTER
    }

    /// Writes a datagram and returns its length; 0 if there is no room, or this session may send no more.
    pub(super) fn seal(
        &mut self,
        content: Content<'_>,
        random: &Random,
        out: &mut [u8],
    ) -> Option<usize> {
        if self.next_counter >= LAST {
            return None;
        }
        let bytes = content.bytes();
        let sealed_end = SEALED_FROM + 1 + bytes.len();
        let out = out.get_mut(..sealed_end + TAG_BYTES)?;
        let head = self.kind.head(out.len());
        let counter = self.next_counter.to_le_bytes();
        let digest = Poly1305::new((&*self.digest_key.0).into());
        let digest: Tag = digest.compute_unpadded(bytes).into();
        let nonce = self.nonce(random, counter, content.number(), digest);

        let (clear, rest) = out.split_at_mut_checked(CLEAR_BYTES)?;
        let (room_for_nonce, rest) = rest.split_at_mut_checked(NONCE_BYTES)?;
        let (plain, room_for_tag) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
        let (first, after) = plain.split_first_mut()?;
        let (room_for_head, room_for_session) = clear.split_at_mut_checked(head.len())?;
        room_for_head.copy_from_slice(&head);
        room_for_session.copy_from_slice(&self.id);
        room_for_nonce.copy_from_slice(&nonce);
        *first = content.number();
        after.copy_from_slice(bytes);
        *room_for_tag = aead::seal(&self.send_key, &nonce, clear, plain);
        self.next_counter += 1;
        Some(sealed_end + TAG_BYTES)
    }

    /// The counter, and a keyed hash of all that is to make it another one than any before.
    fn nonce(
        &self,
        random: &Random,
        counter: [u8; COUNTER_BYTES],
        content: u8,
        digest: Tag,
    ) -> [u8; NONCE_BYTES] {
        let mut hashed = [0; size_of::<Random>() + COUNTER_BYTES + 1 + TAG_BYTES];
        let pieces: [&[u8]; 4] = [random, &counter, &[content], &digest];
        let bytes = pieces.into_iter().flatten();
        for (place, byte) in hashed.iter_mut().zip(bytes) {
            *place = *byte;
        }
        let hash = DigestKey(*self.nonce_key).digest(&hashed).0.to_le_bytes();
        let mut nonce = [0; NONCE_BYTES];
        let (counted, behind) = nonce.split_at_mut(COUNTER_BYTES);
        counted.copy_from_slice(&counter);
        behind.copy_from_slice(&hash);
        nonce
    }

    /// Opens a datagram of this session that goes this end's way. Unless it authenticates nothing changes.
    pub(super) fn open<'d>(
        &mut self,
        sealed: &Sealed,
        datagram: &'d mut [u8],
    ) -> Result<Opened<'d>, Cause> {
        let counter = sealed.nonce.first_chunk().ok_or(Cause::Foreign)?;
        let counter = u64::from_le_bytes(*counter);
        if !self.window.is_new(counter) {
            return Err(Cause::Replayed);
        }
        let (before, rest) = datagram
            .split_at_mut_checked(SEALED_FROM)
            .ok_or(Cause::Foreign)?;
        let clear = before.get(..CLEAR_BYTES).ok_or(Cause::Foreign)?;
        let (plain, tag) = rest
            .split_last_chunk_mut::<TAG_BYTES>()
            .ok_or(Cause::Foreign)?;
        aead::open(&self.receive_key, &sealed.nonce, clear, plain, tag).ok_or(Cause::Forged)?;
        let is_newest = self.window.take(counter);
        let content = Content::read(plain).ok_or(Cause::Foreign)?;
        Ok(Opened { content, is_newest })
    }

    /// As if so many had been sent.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, counter: u64) {
        self.next_counter = counter;
    }
}

#[cfg(test)]
mod tests {
    use super::super::datagram::{DATAGRAM_BYTES, Datagram, ROOM_BYTES, read};
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const RANDOM: Random = [0x77; 32];

    fn ends() -> [Session; 2] {
        [true, false].map(|is_debuggee| {
            let keys = Keys {
                from_initiator: Secret::new([1; 32]),
                from_responder: Secret::new([2; 32]),
                hash: [3; 32],
            };
            Session::new(keys, is_debuggee)
        })
    }

    fn sealed(session: &mut Session, content: Content<'_>) -> Vec<u8> {
        let mut out = [0; DATAGRAM_BYTES];
        let len = session.seal(content, &RANDOM, &mut out).unwrap();
        out[..len].to_vec()
    }

    fn open(session: &mut Session, datagram: &[u8]) -> Result<Option<Vec<u8>>, Cause> {
        let datagram = &mut datagram.to_vec()[..];
        let sealed = match read(datagram)? {
            Datagram::ToHost(sealed) | Datagram::ToDebuggee(sealed) => sealed,
            Datagram::Hello(_) | Datagram::Welcome(_) => return Err(Cause::Foreign),
        };
        let content = session.open(&sealed, datagram)?.content;
        let is_bytes = matches!(content, Content::Bytes(_));
        Ok(is_bytes.then(|| content.bytes().to_vec()))
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn what_was_sealed_is_opened_once_and_only_as_it_was(
            bytes in proptest::collection::vec(any::<u8>(), 0..=ROOM_BYTES),
            at: proptest::sample::Index,
            flip in 1u8..,
        ) {
            let [mut debuggee, mut host] = ends();
            let datagram = sealed(&mut debuggee, Content::Bytes(&bytes));
            prop_assert!(datagram.len() <= DATAGRAM_BYTES);
            let mut changed = datagram.clone();
            changed[at.index(datagram.len())] ^= flip;
            prop_assert!(open(&mut host, &changed).is_err());
            let cut = datagram[..at.index(datagram.len())].to_vec();
            prop_assert!(open(&mut host, &cut).is_err());
            prop_assert_eq!(open(&mut host, &datagram), Ok(Some(bytes.clone())));
            prop_assert_eq!(open(&mut host, &datagram), Err(Cause::Replayed));
        }
    }

    #[test]
    fn what_comes_back_is_not_opened() {
        let [mut debuggee, _] = ends();
        let mut datagram = sealed(&mut debuggee, Content::Alive);
        datagram[0] = 0x94;
        assert_eq!(open(&mut debuggee, &datagram), Err(Cause::Forged));
    }

    #[test]
    fn the_longest_datagram_takes_what_is_said_and_no_more() {
        let [mut debuggee, mut host] = ends();
        let mut out = [0; DATAGRAM_BYTES];
        let bytes = [9; ROOM_BYTES + 1];
        let longest = Content::Bytes(&bytes[1..]);
        assert_eq!(
            debuggee.seal(longest, &RANDOM, &mut out),
            Some(DATAGRAM_BYTES)
        );
        assert_eq!(open(&mut host, &out), Ok(Some(bytes[1..].to_vec())));
        assert_eq!(
            debuggee.seal(Content::Bytes(&bytes), &RANDOM, &mut out),
            None
        );
    }

    /// A machine that was restored has its keys, its counter and, at worst, its random bits again.
    #[test]
    fn a_restored_end_uses_no_nonce_for_other_data() {
        let datagrams = [b"first", b"other"].map(|bytes| {
            let [mut debuggee, _] = ends();
            sealed(&mut debuggee, Content::Bytes(bytes))
        });
        let nonces = datagrams.each_ref().map(|it| &it[CLEAR_BYTES..SEALED_FROM]);
        assert_eq!(nonces[0][..COUNTER_BYTES], nonces[1][..COUNTER_BYTES]);
        assert_ne!(nonces[0], nonces[1]);
        let [mut debuggee, _] = ends();
        let mut out = [0; DATAGRAM_BYTES];
        let len = debuggee.seal(Content::Bytes(b"first"), &[0x78; 32], &mut out);
        let other_random = &out[..len.unwrap()];
        assert_ne!(nonces[0], &other_random[CLEAR_BYTES..SEALED_FROM]);
    }

    #[test]
    fn a_session_wears_out() {
        let [mut debuggee, mut host] = ends();
        assert!(!debuggee.is_worn());
        debuggee.skip_to(REKEY_AFTER - 1);
        let datagram = sealed(&mut debuggee, Content::Alive);
        assert!(debuggee.is_worn() && !host.is_worn());
        assert_eq!(open(&mut host, &datagram), Ok(None));
        assert!(host.is_worn());
        debuggee.skip_to(LAST);
        let mut out = [0; DATAGRAM_BYTES];
        assert_eq!(debuggee.seal(Content::Alive, &RANDOM, &mut out), None);
    }

    #[test]
    fn content_of_another_version_changes_nothing() {
        assert_eq!(Content::read(&[]), None);
        assert_eq!(Content::read(&[1, 0]), None);
        assert_eq!(Content::read(&[3]), None);
    }
}
