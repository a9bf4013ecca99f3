//! Names of exceptions, as the manual has them. Called where a vector is typed.

/// Vectors by name (SDM volume 3, "Protected-Mode Exceptions and Interrupts").
pub const VECTORS: [(&str, u32); 20] = [
    ("de", 0),
    ("db", 1),
    ("nmi", 2),
    ("bp", 3),
    ("of", 4),
    ("br", 5),
    ("ud", 6),
    ("nm", 7),
    ("df", 8),
    ("ts", 0xa),
    ("np", 0xb),
    ("ss", 0xc),
    ("gp", 0xd),
    ("pf", 0xe),
    ("mf", 0x10),
    ("ac", 0x11),
    ("mc", 0x12),
    ("xm", 0x13),
    ("ve", 0x14),
    ("cp", 0x15),
];

/// The vector of that name, which may begin with `#`.
#[must_use]
pub fn vector(name: &str) -> Option<u32> {
    let name = name.strip_prefix('#').unwrap_or(name);
    let found = VECTORS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, vector)| *vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::number::parse;

    #[test]
    fn names_that_are_numbers_too_are_no_vectors_as_numbers() {
        for (name, _) in VECTORS {
            assert!(parse(name).is_ok_and(|it| it > 0x1f) || parse(name).is_err());
        }
        assert_eq!(vector("#PF"), Some(0xe));
        assert_eq!(vector("cf"), None);
        assert_eq!(vector("e"), None);
    }
}
