//! Symbol tables made up in memory, in the layouts of several kernels.

use super::*;

const BASE: u64 = 0xffff_ffff_8100_0000;

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    V6_1,
    V6_4,
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// A kernel image with nothing but symbols, packed with single-character tokens and a few
/// longer ones.
fn image(layout: Layout, symbols: &[(u64, &str)]) -> Vec<u8> {
    let long: &[(u8, &str)] = &[(1, "sys_"), (2, "T_"), (3, "kernel"), (0xff, "read")];
    let token = |number: u8| -> Vec<u8> {
        match long.iter().find(|(n, _)| *n == number) {
            Some((_, text)) => text.as_bytes().to_vec(),
            None if number.is_ascii_graphic() => vec![number],
            None => Vec::new(),
        }
    };
    let mut table = Vec::new();
    let mut index = Vec::new();
    for number in 0..=255 {
        index.extend_from_slice(&u16::try_from(table.len()).expect("small").to_le_bytes());
        table.extend_from_slice(&token(number));
        table.push(0);
    }
    let mut names = Vec::new();
    let mut markers = Vec::new();
    for (i, (_, name)) in symbols.iter().enumerate() {
        if i % 256 == 0 {
            markers.extend_from_slice(&u32::try_from(names.len()).expect("small").to_le_bytes());
        }
        let mut packed = Vec::new();
        let mut rest = *name;
        while let Some(c) = rest.as_bytes().first() {
            match long.iter().find(|(_, text)| rest.starts_with(text)) {
                Some((n, text)) => {
                    packed.push(*n);
                    rest = &rest[text.len()..];
                }
                None => {
                    packed.push(*c);
                    rest = &rest[1..];
                }
            }
        }
        if packed.len() > 127 {
            names.push(u8::try_from(packed.len() & 0x7f).expect("masked") | 0x80);
            names.push(u8::try_from(packed.len() >> 7).expect("small"));
        } else {
            names.push(u8::try_from(packed.len()).expect("small"));
        }
        names.extend_from_slice(&packed);
    }
    let mut addresses = Vec::new();
    for (address, _) in symbols {
        let offset = match i64::try_from(*address) {
            Ok(absolute) => absolute,
            Err(_) => -1 - i64::try_from(address - BASE).expect("near"),
        };
        addresses.extend_from_slice(&i32::try_from(offset).expect("near").to_le_bytes());
    }
    pad(&mut addresses, 8);
    addresses.extend_from_slice(&BASE.to_le_bytes());

    let mut out = b"\x7fELF and code and some noise 0\x001\x002\x003\0".to_vec();
    out.extend((0..5000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 8).to_le_bytes()));
    pad(&mut out, 8);
    if layout == Layout::V6_1 {
        out.extend_from_slice(&addresses);
    }
    out.extend_from_slice(&u32::try_from(symbols.len()).expect("small").to_le_bytes());
    for part in [&names, &markers, &table, &index] {
        pad(&mut out, 8);
        out.extend_from_slice(part);
    }
    pad(&mut out, 8);
    if layout == Layout::V6_4 {
        out.extend_from_slice(&addresses);
    }
    out.extend_from_slice(&[0xcc; 100]);
    out
}

fn sample() -> Vec<(u64, String)> {
    let mut symbols = vec![(0, "Acpu_kernel".to_owned()), (0x1f440, "Ahot".to_owned())];
    for (offset, name) in [
        (0, "T_text"),
        (0, "T_stext"),
        (0x40, "tsys_read"),
        (0x80, "TT_0123456789"),
    ] {
        symbols.push((BASE + offset, name.to_owned()));
    }
    symbols.push((BASE + 0x90, format!("t{}", "long_name.".repeat(20))));
    for i in 0..700 {
        symbols.push((BASE + 0x1000 + i * 16, format!("tfill_{i}")));
    }
    symbols
}

fn borrowed(symbols: &[(u64, String)]) -> Vec<(u64, &str)> {
    symbols.iter().map(|(a, n)| (*a, n.as_str())).collect()
}

#[test]
fn symbols_are_found_in_both_layouts() {
    for layout in [Layout::V6_1, Layout::V6_4] {
        let symbols = sample();
        let table = find(&image(layout, &borrowed(&symbols))).expect("a symbol table");
        assert_eq!(table.len(), symbols.len());
        for (address, name) in &symbols {
            assert_eq!(table.find(&name[1..]), Some(*address), "{name}");
        }
    }
}

#[test]
fn a_table_without_text_is_refused() {
    let symbols: Vec<_> = sample()
        .into_iter()
        .filter(|(_, n)| n != "T_text")
        .collect();
    assert_eq!(
        find(&image(Layout::V6_1, &borrowed(&symbols))).err(),
        Some(KallsymsError::NoAddresses {
            symbols: symbols.len()
        })
    );
}

#[test]
fn an_image_without_tokens_is_refused() {
    assert_eq!(find(&[0x5a; 10000]).err(), Some(KallsymsError::NoTokens));
}

#[test]
fn damaged_names_are_refused() {
    let symbols = sample();
    let mut bytes = image(Layout::V6_1, &borrowed(&symbols));
    let at = bytes
        .windows(5)
        .position(|w| w == b"fill_")
        .expect("packed as itself");
    bytes[at - 2] = 0;
    assert!(matches!(find(&bytes), Err(KallsymsError::NoNames { .. })));
}
