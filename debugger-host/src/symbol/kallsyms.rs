//! Finds the kernel's own symbol table in an unpacked kernel image. Called when symbols are loaded.
//!
//! Distributions ship stripped kernels, yet the kernel carries its symbols for itself, packed
//! (`scripts/kallsyms.c`): names are strings of token numbers, tokens stand for pieces of names.
//! There is no header, so the tables are found by their shape and then checked:
//!
//! 1. The token table is found by its run of one-digit tokens `"0\0" … "9\0"`, and confirmed by
//!    the token index (the 256 offsets into it), whose content follows from it.
//! 2. Number of symbols, names and markers stand in this order, before the token table. Each
//!    candidate is decoded in full; every 256th name must begin where the markers say.
//! 3. Offsets and their base stand before the number of symbols (up to 6.3) or after the token
//!    index (since 6.4). Addresses must ascend, and `_text` and `_stext` must be there.

use super::table::{Symbol, Table};

/// Distance before the token table that is searched for names: the largest kernels have some
/// 300,000 symbols of ten bytes.
const NAMES_SEARCH_BYTES: usize = 32 << 20;
/// More symbols than this are not believed.
const SYMBOL_LIMIT: usize = 4 << 20;

/// Why no symbol table was found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KallsymsError {
    /// No token table with its index: the kernel was built without `CONFIG_KALLSYMS`.
    #[error("the kernel image holds no symbol table (built without CONFIG_KALLSYMS?)")]
    NoTokens,
    /// No names that fit the token table.
    #[error("the kernel image has symbol tokens at {tokens:#x} but no names that fit them")]
    NoNames {
        /// Where the token table is, in the unpacked image.
        tokens: usize,
    },
    /// No addresses that pass the checks.
    #[error("the kernel image has {symbols} symbol names but no addresses that fit them")]
    NoAddresses {
        /// How many names there are.
        symbols: usize,
    },
}

struct Tokens {
    start: usize,
    /// First byte after the index.
    index_end: usize,
    texts: Vec<Vec<u8>>,
}

struct Names {
    /// Where the number of symbols stands.
    count_at: usize,
    names: Vec<Vec<u8>>,
}

/// Finds and checks the symbol table of an unpacked kernel.
///
/// # Errors
/// Which of its parts was not found.
pub fn find(image: &[u8]) -> Result<Table, KallsymsError> {
    let mut failure = KallsymsError::NoTokens;
    let digits: Vec<u8> = (b'0'..=b'9').flat_map(|digit| [digit, 0]).collect();
    let mut from = 0;
    while let Some(found) = position(image, from, &digits) {
        from = found + 1;
        let Some(tokens) = tokens_around(image, found) else {
            continue;
        };
        failure = KallsymsError::NoNames {
            tokens: tokens.start,
        };
        // Backwards: the names are close, and everything else in the image is not.
        let lowest = tokens.start.saturating_sub(NAMES_SEARCH_BYTES);
        let mut at = tokens.start & !3;
        while at >= lowest + 4 {
            at -= 4;
            if let Some(names) = names_at(image, at, &tokens) {
                if let Some(addresses) = addresses(image, &tokens, &names) {
                    return Ok(table(&names.names, &addresses));
                }
                // A few bytes can look like one name; the best failure is that of the most names.
                let symbols = names.names.len();
                if !matches!(failure, KallsymsError::NoAddresses { symbols: most } if most > symbols)
                {
                    failure = KallsymsError::NoAddresses { symbols };
                }
            }
        }
    }
    Err(failure)
}

fn table(names: &[Vec<u8>], addresses: &[u64]) -> Table {
    let symbols = names.iter().zip(addresses).filter_map(|(name, address)| {
        let (kind, name) = name.split_first()?;
        Some(Symbol {
            address: *address,
            kind: *kind,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    });
    Table::new(symbols.collect())
}

fn position(image: &[u8], from: usize, pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut at = from;
    loop {
        at += image.get(at..)?.iter().position(|b| *b == first)?;
        if image.get(at..at + pattern.len())? == pattern {
            return Some(at);
        }
        at += 1;
    }
}

const fn align(at: usize, to: usize) -> usize {
    at.next_multiple_of(to)
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        image.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(image: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        image.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

/// `zero` is where the token "0" stands, token number 0x30.
fn tokens_around(image: &[u8], zero: usize) -> Option<Tokens> {
    let mut start = zero;
    for _ in 0..usize::from(b'0') {
        let end = start.checked_sub(1)?;
        if image[end] != 0 {
            return None;
        }
        // A token is never longer than a symbol name.
        let window = end.saturating_sub(512);
        start = window + image[window..end].iter().rposition(|b| *b == 0)? + 1;
    }
    // The first token has padding before it, or the end of the previous table.
    let mut texts = Vec::with_capacity(256);
    let mut offsets = Vec::with_capacity(512);
    let mut at = start;
    for _ in 0..256 {
        offsets.extend_from_slice(&u16::try_from(at - start).ok()?.to_le_bytes());
        let length = image.get(at..)?.iter().take(512).position(|b| *b == 0)?;
        texts.push(image[at..at + length].to_vec());
        at += length + 1;
    }
    let window = image.get(at..(at + 64 + offsets.len()).min(image.len()))?;
    let index = at + position(window, 0, &offsets)?;
    Some(Tokens {
        start,
        index_end: index + offsets.len(),
        texts,
    })
}

/// The names whose number stands at `at`.
fn names_at(image: &[u8], at: usize, tokens: &Tokens) -> Option<Names> {
    let count = u32_at(image, at)? as usize;
    // Names and markers fill all of the space up to the tokens: 3 to 128 bytes a symbol.
    let space = tokens.start - at;
    if !(1..SYMBOL_LIMIT).contains(&count) || count * 3 >= space || count * 128 + 4096 < space {
        return None;
    }
    [8, 4].into_iter().find_map(|alignment| {
        decode_names(image, align(at + 4, alignment), count, tokens).map(|names| Names {
            count_at: at,
            names,
        })
    })
}

/// All names from `start`, if they and the markers after them fit together.
fn decode_names(image: &[u8], start: usize, count: usize, tokens: &Tokens) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut begins = Vec::new();
    let mut at = start;
    for index in 0..count {
        if index % 256 == 0 {
            begins.push(at - start);
        }
        let mut length = usize::from(*image.get(at)?);
        at += 1;
        if length & 0x80 != 0 {
            // Since 6.1 a length above 127 takes two bytes.
            length = (length & 0x7f) | usize::from(*image.get(at)?) << 7;
            at += 1;
        }
        let packed = image.get(at..at + length).filter(|p| !p.is_empty())?;
        at += length;
        if at > tokens.start {
            return None;
        }
        let mut name = Vec::new();
        for token in packed {
            name.extend_from_slice(&tokens.texts[usize::from(*token)]);
        }
        let (kind, rest) = name.split_first()?;
        let printable = rest.iter().all(|b| b.is_ascii_graphic());
        if !kind.is_ascii_alphabetic() && *kind != b'?' || rest.is_empty() || !printable {
            return None;
        }
        names.push(name);
    }
    [8, 4].into_iter().find_map(|alignment| {
        let markers = align(at, alignment);
        begins
            .iter()
            .enumerate()
            .all(|(i, begin)| u32_at(image, markers + 4 * i) == u32::try_from(*begin).ok())
            .then_some(())
    })?;
    Some(names)
}

/// Tries each place where addresses can stand.
fn addresses(image: &[u8], tokens: &Tokens, names: &Names) -> Option<Vec<u64>> {
    let count = names.names.len();
    let offsets_bytes = 4 * count;
    let mut candidates = Vec::new();
    for alignment in [8, 4] {
        // Since 6.4: offsets, then their base, after the token index.
        let offsets = align(tokens.index_end, alignment);
        candidates.push((offsets, align(offsets + offsets_bytes, alignment)));
        // Before: offsets, then their base, right before the number of symbols.
        if let Some(base) = names.count_at.checked_sub(8)
            && let Some(offsets) = base.checked_sub(align(offsets_bytes, alignment))
        {
            candidates.push((offsets, base));
        }
    }
    for (offsets, base) in candidates {
        let Some(base) = u64_at(image, base) else {
            continue;
        };
        let Some(offsets) = image.get(offsets..offsets + offsets_bytes) else {
            continue;
        };
        let offsets = offsets
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let offsets: Vec<i32> = offsets.collect();
        let per_cpu_are_absolute = offsets.iter().any(|o| *o < 0);
        let addresses: Vec<u64> = offsets
            .iter()
            .map(|offset| match i64::from(*offset) {
                offset if !per_cpu_are_absolute => base.wrapping_add_signed(offset),
                offset if offset < 0 => base.wrapping_add_signed(-1 - offset),
                offset => offset.unsigned_abs(),
            })
            .collect();
        if plausible(&names.names, &addresses) {
            return Some(addresses);
        }
    }
    // Without CONFIG_KALLSYMS_BASE_RELATIVE: whole addresses before the number of symbols.
    let start = names.count_at.checked_sub(8 * count)?;
    let addresses: Vec<u64> = (0..count)
        .filter_map(|i| u64_at(image, start + 8 * i))
        .collect();
    plausible(&names.names, &addresses).then_some(addresses)
}

fn plausible(names: &[Vec<u8>], addresses: &[u64]) -> bool {
    let at = |wanted: &[u8]| {
        names
            .iter()
            .position(|name| name.get(1..) == Some(wanted))
            .and_then(|i| addresses.get(i))
            .copied()
            .filter(|address| *address >= 0xffff_8000_0000_0000)
    };
    addresses.is_sorted() && at(b"_text").is_some() && at(b"_stext") >= at(b"_text")
}

#[cfg(test)]
#[path = "kallsyms_tests.rs"]
mod tests;
