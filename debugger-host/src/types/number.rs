//! Numbers as users type them. Called by the expression parser, and by commands whose argument
//! can be nothing but a number.

use super::SyntaxError;

/// Reads a number: hexadecimal, or `0x \x x` hexadecimal, `0n \n n` decimal, `0t` octal,
/// `0y` binary. Back-ticks are dropped.
///
/// # Errors
/// When it has a wrong digit, or more than 64 bits.
pub fn parse(token: &str) -> Result<u64, SyntaxError> {
    let digits: String = token.chars().filter(|c| *c != '`').collect();
    let lower = digits.to_ascii_lowercase();
    let prefixes: [(&str, u32); 9] = [
        ("0x", 16),
        ("\\x", 16),
        ("x", 16),
        ("0n", 10),
        ("\\n", 10),
        ("n", 10),
        ("0t", 8),
        ("0y", 2),
        ("", 16),
    ];
    let (rest, base) = prefixes
        .iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|rest| (rest, *base)))
        .unwrap_or((&lower, 16));
    let bad = || SyntaxError::BadNumber {
        token: token.to_owned(),
        base,
    };
    if rest.is_empty() {
        return Err(bad());
    }
    let mut value: u64 = 0;
    for c in rest.chars() {
        let digit = c.to_digit(base).ok_or_else(bad)?;
        value = value
            .checked_mul(u64::from(base))
            .and_then(|v| v.checked_add(u64::from(digit)))
            .ok_or_else(|| SyntaxError::TooBig {
                token: token.to_owned(),
            })?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hexadecimal_unless_told() {
        for (text, value) in [
            ("10", 0x10),
            ("0x10", 0x10),
            ("\\x10", 0x10),
            ("xff", 0xff),
            ("0n10", 10),
            ("\\n10", 10),
            ("n10", 10),
            ("0t17", 15),
            ("0y101", 5),
            ("FFFFF800`3ad6f010", 0xffff_f800_3ad6_f010),
            ("ffffffffffffffff", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert!(matches!(
            parse("1ffffffffffffffff"),
            Err(SyntaxError::TooBig { .. })
        ));
        assert!(matches!(
            parse("0n18446744073709551616"),
            Err(SyntaxError::TooBig { .. })
        ));
    }

    #[test]
    fn wrong_digits_name_the_token_and_the_base() {
        assert_eq!(
            parse("0n1f"),
            Err(SyntaxError::BadNumber {
                token: "0n1f".into(),
                base: 10
            })
        );
        assert!(parse("0x").is_err());
        assert!(parse("").is_err());
        assert!(parse("xyz").is_err());
    }
}
