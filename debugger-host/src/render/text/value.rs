//! Values of expressions.

use super::name;
use crate::answer::Address;

/// `1f = 0n31 (vmlinux!x)`
pub(super) fn value(value: &Address) -> String {
    let symbol = value
        .symbol
        .as_ref()
        .map_or_else(String::new, |symbol| format!(" ({})", name(symbol)));
    let number = value.address.0;
    format!("{number:x} = 0n{number}{symbol}")
}

/// The value in every form that helps.
pub(super) fn formats(value: &Address, octal: &str, binary: &str, characters: &str) -> String {
    let number = value.address.0;
    let mut lines = vec![
        format!(
            "hex       {:08x}`{:08x}",
            number >> 32,
            number & 0xffff_ffff
        ),
        format!("decimal   {number}"),
    ];
    if number > i64::MAX as u64 {
        lines.push(format!("signed    {}", number.cast_signed()));
    }
    lines.push(format!("octal     {octal}"));
    lines.push(format!("binary    {binary}"));
    lines.push(format!("chars     {characters}"));
    lines.push(format!("float     {:e}", f32::from_bits(number as u32)));
    lines.push(format!("double    {:e}", f64::from_bits(number)));
    if let Some(symbol) = &value.symbol {
        lines.push(format!("symbol    {}", name(symbol)));
    }
    lines.join("\n")
}
