//! Memory dumps.

use crate::answer::Unit;
use std::fmt::Write;

/// Sixteen bytes a line; what is missing of `len` is shown as question marks, and what was not asked
/// for as spaces.
pub(super) fn dump(address: u64, bytes: &[u8], len: usize, unit: Unit) -> String {
    let mut text = String::new();
    for start in (0..len).step_by(16) {
        let at = address.wrapping_add(start as u64);
        let _ = write!(text, "{:08x}`{:08x} ", at >> 32, at & 0xffff_ffff);
        let row = 16.min(len - start);
        for column in (0..16).step_by(unit.size()) {
            let gap = if unit == Unit::Bytes && column == 8 && row > 8 {
                '-'
            } else {
                ' '
            };
            text.push(gap);
            if column >= row {
                text.extend(std::iter::repeat_n(' ', unit.size() * 2));
                continue;
            }
            for byte in (0..unit.size()).rev() {
                let is_asked_for = column + byte < row;
                match bytes.get(start + column + byte) {
                    _ if !is_asked_for => text.push_str("  "),
                    Some(b) => {
                        let _ = write!(text, "{b:02x}");
                    }
                    None => text.push_str("??"),
                }
                if unit == Unit::QuadWords && byte == 4 {
                    text.push(if is_asked_for { '`' } else { ' ' });
                }
            }
        }
        if matches!(unit, Unit::Bytes | Unit::DoubleWordsAndText) {
            text.push_str("  ");
            for at in start..start + row {
                text.push(match bytes.get(at) {
                    Some(b) if b.is_ascii_graphic() || *b == b' ' => char::from(*b),
                    Some(_) => '.',
                    None => '?',
                });
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_with_their_characters() {
        let bytes: Vec<u8> = (0x3e..0x50).collect();
        assert_eq!(
            dump(0xffff_ffff_8100_0000, &bytes, 18, Unit::Bytes),
            "ffffffff`81000000  3e 3f 40 41 42 43 44 45-46 47 48 49 4a 4b 4c 4d  >?@ABCDEFGHIJKLM\n\
             ffffffff`81000010  4e 4f                                            NO"
        );
    }

    #[test]
    fn quad_words_have_a_tick_in_the_middle() {
        let bytes = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11];
        assert_eq!(
            dump(0x1000, &bytes, 8, Unit::QuadWords),
            "00000000`00001000  11223344`55667788"
        );
    }

    #[test]
    fn bytes_that_were_not_asked_for_are_spaces() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        for (len, unit, text) in [
            (4, Unit::QuadWords, "00000000`00001000           04030201"),
            (5, Unit::QuadWords, "00000000`00001000        05`04030201"),
            (3, Unit::DoubleWords, "00000000`00001000    030201"),
            (6, Unit::DoubleWords, "00000000`00001000  04030201     0605"),
            (1, Unit::QuadWords, "00000000`00001000                 01"),
        ] {
            assert_eq!(dump(0x1000, &bytes[..len], len, unit), text);
        }
        let text = dump(0, &[1], 4, Unit::QuadWords);
        assert_eq!(text, "00000000`00000000           ??????01");
    }

    #[test]
    fn memory_that_is_not_there_is_question_marks() {
        assert_eq!(
            dump(0, &[1, 0, 0, 0], 8, Unit::DoubleWords),
            "00000000`00000000  00000001 ????????"
        );
    }
}
