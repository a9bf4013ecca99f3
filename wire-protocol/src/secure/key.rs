//! The key that both ends are given, and its written form: `standstill key new` makes one, users carry it.
//!
//! Four groups of 13 digits in base 36, parted by dots. A group holds 64 bits and, since 13 digits hold more, one digit of
//! base 9 besides: the four together are a check of all 256 bits, so that of 6,561 keys that were mistyped one gets through.

use super::secret::{SECRET_BYTES, Secret};
use crate::crc::Crc32;
use core::fmt;
use core::str::FromStr;
use nom::bytes::complete::{tag, take_while};
use nom::combinator::all_consuming;
use nom::sequence::preceded;
use nom::{IResult, Parser};
use zeroize::Zeroizing;

const GROUPS: usize = 4;
const GROUP_DIGITS: usize = 13;
const BASE: u32 = 36;
const SEPARATOR: char = '.';
/// Of the part of a check that a group holds.
const CHECK_BASE: u32 = 9;
/// Of a key in full.
const CHECK_MODULUS: u32 = CHECK_BASE.pow(4);
const _: () = assert!(GROUPS == 4);
/// Bytes of the written form.
const TEXT_BYTES: usize = GROUPS * GROUP_DIGITS + GROUPS - 1;

const ID_PURPOSE: &[u8; 16] = b"standstill keyid";

/// 256 bits that both ends know and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub(super) Secret);

impl Key {
    /// Of 256 random bits.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// What a key is told from others by, in the clear. It says nothing of the key itself.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0.mac(&[ID_PURPOSE]);
        [a, b, c, d]
    }

    /// As it is written. Whoever sees it has the debuggee.
    #[must_use]
    pub fn reveal(&self) -> KeyText {
        let mut rest = check(&*self.0.0);
        let mut text = Zeroizing::new([SEPARATOR as u8; TEXT_BYTES]);
        let (words, _) = self.0.0.as_chunks();
        let places = text.chunks_mut(GROUP_DIGITS + 1);
        for (word, place) in words.iter().zip(places) {
            let mut value = u128::from(u64::from_le_bytes(*word)) * u128::from(CHECK_BASE)
                + u128::from(rest % CHECK_BASE);
            rest /= CHECK_BASE;
            for digit in place.iter_mut().take(GROUP_DIGITS).rev() {
                let number = u32::try_from(value % u128::from(BASE)).unwrap_or_default();
                let letter = char::from_digit(number, BASE).unwrap_or('0');
                *digit = u8::try_from(letter).unwrap_or(b'0');
                value /= u128::from(BASE);
            }
        }
        KeyText(text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A key as it is written.
pub struct KeyText(Zeroizing<[u8; TEXT_BYTES]>);

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&*self.0).unwrap_or_default())
    }
}

fn check(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.finish() % CHECK_MODULUS
}

/// Why a text is no key. None of these repeats more of it than one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It has another number of groups.
    Groups {
        /// How many.
        found: usize,
    },
    /// A group has another number of digits.
    Digits {
        /// Which, from 1.
        group: usize,
        /// How many.
        found: usize,
    },
    /// A character is no digit.
    NoDigit {
        /// In which group, from 1.
        group: usize,
        /// The character.
        character: char,
    },
    /// A group is a number that no key has.
    TooLarge {
        /// Which, from 1.
        group: usize,
    },
    /// Groups and digits are right, but they are of no key.
    Check,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { found } => write!(
                f,
                "a key has {GROUPS} groups of {GROUP_DIGITS} characters with dots between them; this has {found}"
            ),
            Self::Digits { group, found } => write!(
                f,
                "each group of a key has {GROUP_DIGITS} characters; group {group} of this has {found}"
            ),
            Self::NoDigit { group, character } => write!(
                f,
                "a key has the digits 0 to 9 and the letters a to z; group {group} of this has {character:?}"
            ),
            Self::TooLarge { group } => write!(
                f,
                "no key has such a group {group}: one of its characters is mistyped"
            ),
            Self::Check => f.write_str(
                "this is no key, though it looks like one: a character is mistyped, or characters changed places",
            ),
        }
    }
}

impl core::error::Error for KeyError {}

fn group(text: &str) -> IResult<&str, &str> {
    take_while(|letter| letter != SEPARATOR).parse(text)
}

fn groups(text: &str) -> IResult<&str, [&str; GROUPS]> {
    let next = || preceded(tag("."), group);
    let parsed: IResult<_, _> = all_consuming((group, next(), next(), next())).parse(text);
    parsed.map(|(rest, (a, b, c, d))| (rest, [a, b, c, d]))
}

/// The number that a group is.
fn number(group: usize, digits: &str) -> Result<u128, KeyError> {
    let (mut value, mut found) = (0, 0);
    for character in digits.chars() {
        let digit = character.to_digit(BASE);
        let digit = digit.ok_or(KeyError::NoDigit { group, character })?;
        found += 1;
        if found <= GROUP_DIGITS {
            value = value * u128::from(BASE) + u128::from(digit);
        }
    }
    match found {
        GROUP_DIGITS => Ok(value),
        _ => Err(KeyError::Digits { group, found }),
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let Ok((_, groups)) = groups(text) else {
            let found = text.split(SEPARATOR).count();
            return Err(KeyError::Groups { found });
        };
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let mut said = 0;
        let (words, _) = bytes.as_chunks_mut();
        let mut weight = 1;
        for ((word, digits), group) in words.iter_mut().zip(groups).zip(1..) {
            let value = number(group, digits)?;
            let check = u32::try_from(value % u128::from(CHECK_BASE)).unwrap_or_default();
            let bits = u64::try_from(value / u128::from(CHECK_BASE))
                .map_err(|_| KeyError::TooLarge { group })?;
            *word = bits.to_le_bytes();
            said += check * weight;
            weight *= CHECK_BASE;
        }
        if said != check(&*bytes) {
            return Err(KeyError::Check);
        }
        Ok(Self::new(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    fn text(bytes: [u8; 32]) -> String {
        Key::new(bytes).reveal().to_string()
    }

    #[test]
    fn a_key_is_written_in_four_groups_of_base_36() {
        let zero = text([0; 32]);
        assert_eq!(zero.len(), TEXT_BYTES);
        // The check of 32 zeroes: CRC-32 190a55ad, modulo 6561 = 302, in base 9 lowest first 5, 6, 3, 0.
        assert_eq!(
            zero,
            "0000000000005.0000000000006.0000000000003.0000000000000"
        );
        assert_eq!(zero.parse(), Ok(Key::new([0; 32])));
        assert_eq!(
            std::format!(" {zero}\n").to_uppercase().parse(),
            Ok(Key::new([0; 32]))
        );
    }

    #[test]
    fn what_is_no_key_is_told_from_one() {
        let good = text([7; 32]);
        let refused = |text: &str| text.parse::<Key>().unwrap_err();
        assert_eq!(refused(""), KeyError::Groups { found: 1 });
        assert_eq!(refused("a.b.c"), KeyError::Groups { found: 3 });
        assert_eq!(
            refused(&(good.clone() + ".x")),
            KeyError::Groups { found: 5 }
        );
        assert_eq!(
            refused(&good[..54]),
            KeyError::Digits {
                group: 4,
                found: 12
            }
        );
        assert_eq!(
            refused(&std::format!("{}0{}", &good[..13], &good[13..])),
            KeyError::Digits {
                group: 1,
                found: 14
            }
        );
        assert_eq!(
            refused(&good.replacen(&good[14..15], "-", 1)[..]).to_string(),
            "a key has the digits 0 to 9 and the letters a to z; group 1 of this has '-'"
        );
        let mut large = good.clone();
        large.replace_range(28..41, "zzzzzzzzzzzzz");
        assert_eq!(refused(&large), KeyError::TooLarge { group: 3 });
        let others = text(core::array::from_fn(|at| at as u8));
        let mixed = std::format!("{}{}", &good[..28], &others[28..]);
        assert_eq!(refused(&mixed), KeyError::Check);
        let [a, b, c, d] = [0, 14, 28, 42].map(|at| &others[at..at + GROUP_DIGITS]);
        let swapped = std::format!("{a}.{c}.{b}.{d}");
        assert_eq!(refused(&swapped), KeyError::Check);
    }

    #[test]
    fn nothing_of_a_key_is_printed_by_accident() {
        let key = Key::new([0x5a; 32]);
        assert_eq!(std::format!("{key:?} {:?}", key.0), "Key Secret");
        assert_ne!(key.id(), Key::new([0x5b; 32]).id());
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn every_key_is_read_as_it_was_written(bytes: [u8; 32]) {
            prop_assert_eq!(text(bytes).parse(), Ok(Key::new(bytes)));
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text: String) {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.reveal().to_string(), text.trim().to_lowercase());
            }
        }
    }

    /// How many of the keys with one character changed are taken for keys.
    #[test]
    fn a_mistyped_character_is_found() {
        let good = text([0x3c; 32]);
        let (mut tried, mut taken) = (0, 0);
        for at in (0..TEXT_BYTES).filter(|at| at % 14 != 13) {
            for digit in (0..BASE).filter_map(|digit| char::from_digit(digit, BASE)) {
                let mut typed = good.clone();
                typed.replace_range(at..=at, digit.encode_utf8(&mut [0; 4]));
                if typed != good {
                    tried += 1;
                    taken += u32::from(typed.parse::<Key>().is_ok());
                }
            }
        }
        assert_eq!(tried, 52 * 35);
        assert_eq!(taken, 0);
    }
}
