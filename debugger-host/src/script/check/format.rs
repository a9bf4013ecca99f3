//! Formats of `printf`, as far as the checker has to know them: the text itself is made by
//! [`wire_protocol::print`].

/// What a conversion prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// `%d`, `%x` and their like.
    Number,
    /// `%s`
    Text,
    /// `%ws`, `%ls`
    Wide,
    /// `%f`
    Fraction,
}

/// The conversions of a format, in order.
///
/// # Errors
/// What begins with `%` and is no conversion.
pub(super) fn conversions(format: &[u8]) -> Result<Vec<Shows>, &[u8]> {
    let mut all = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.iter().position(|&byte| byte == b'%') {
        let text = rest.get(start..).unwrap_or_default();
        let (shows, len) = conversion(text);
        let (this, after) = text.split_at(len.min(text.len()));
        match shows {
            Some(shows) => all.push(shows),
            None if this == b"%%" => {}
            None => return Err(this),
        }
        rest = after;
    }
    Ok(all)
}

/// The conversion at a `%`, and its length.
fn conversion(text: &[u8]) -> (Option<Shows>, usize) {
    let rest = text.get(1..).unwrap_or_default();
    let count = |rest: &[u8], set: &[u8]| rest.iter().take_while(|b| set.contains(b)).count();
    let mut at = 1 + count(rest, b"-0+ #");
    let tail = |at: usize| text.get(at..).unwrap_or_default();
    at += count(tail(at), b"0123456789");
    if tail(at).first() == Some(&b'.') {
        at += 1;
        at += count(tail(at), b"0123456789");
    }
    let length_len = count(tail(at), b"hlw");
    let length = tail(at).get(..length_len).unwrap_or_default();
    at += length_len;
    let shows = match (tail(at).first(), length) {
        (Some(b'd' | b'i' | b'u' | b'o' | b'x' | b'X'), b"" | b"h" | b"hh" | b"l" | b"ll") => {
            Some(Shows::Number)
        }
        (Some(b'c' | b'p'), b"" | b"l") => Some(Shows::Number),
        (Some(b's'), b"") => Some(Shows::Text),
        (Some(b's'), b"w" | b"l") => Some(Shows::Wide),
        (Some(b'f'), b"" | b"l") => Some(Shows::Fraction),
        _ => None,
    };
    (shows, at + 1)
}
