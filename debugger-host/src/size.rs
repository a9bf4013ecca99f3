//! Numbers of bytes for people.

/// `655360 bytes (640 KiB)`, or only the bytes when there is no shorter way.
#[must_use]
pub(crate) fn bytes(count: u64) -> String {
    for (unit, size) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if count >= size && count.is_multiple_of(size) {
            return format!("{} {unit}", count / size);
        }
        if count >= size {
            return format!("{:.1} {unit}", count as f64 / size as f64);
        }
    }
    format!("{count} bytes")
}

/// `10 (0n16)`: a count as users type it, with the decimal one when they differ.
#[must_use]
pub(crate) fn count(count: u32) -> String {
    match count {
        0..10 => format!("{count}"),
        _ => format!("{count:x} (0n{count})"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_rounded_only_when_they_must_be() {
        assert_eq!(super::bytes(16 << 20), "16 MiB");
        assert_eq!(super::bytes(655_360), "640 KiB");
        assert_eq!(super::bytes(1536 << 10), "1.5 MiB");
        assert_eq!(super::bytes(100), "100 bytes");
    }
}
