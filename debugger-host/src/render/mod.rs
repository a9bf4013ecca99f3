//! Values to text: the only place that decides what users see, and the only one that prints.
//! Called by [`crate::command`] and [`crate::repl`].

mod dump;
mod event;
mod message;
mod refusal;
mod register;
mod size;

pub use dump::{Unit, dump};
pub use event::{event_line, free_counts, halt_lines, low_pools, pools, trigger};
pub use message::{failure, said};
pub use refusal::refusal;
pub use register::{flags, registers};
pub use size::{bytes, count};

use crate::disasm::Line;
use crate::symbol::resolve::Symbols;
use std::fmt::Display;
use std::io::Write;

/// Where output goes.
pub struct Output {
    to: Box<dyn Write + Send>,
    /// Somebody sees it on a screen, which can be cleared.
    is_screen: bool,
    /// The last line has no end yet.
    is_line_open: bool,
}

impl Output {
    /// Prints to `to`.
    pub fn new(to: impl Write + Send + 'static, is_screen: bool) -> Self {
        Self {
            to: Box::new(to),
            is_screen,
            is_line_open: false,
        }
    }

    /// Prints one line, or several.
    pub fn line(&mut self, text: impl Display) {
        self.end_line();
        // A reader that is gone cannot be told so.
        let _ = writeln!(self.to, "{text}");
        let _ = self.to.flush();
    }

    /// Prints what may end within a line.
    pub fn raw(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if let Some(last) = text.chars().last() {
            let _ = write!(self.to, "{text}");
            let _ = self.to.flush();
            self.is_line_open = last != '\n';
        }
    }

    /// Ends a line that has no end yet.
    pub fn end_line(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let _ = writeln!(self.to);
            let _ = self.to.flush();
        }
    }

    /// Clears the screen, if there is one.
    pub fn clear(&mut self) {
        if !self.is_screen {
            return;
        }
        let _ = write!(self.to, "\x1b[2J\x1b[H");
        let _ = self.to.flush();
        self.is_line_open = false;
    }
}

/// `ffffffff812b3c40 (vmlinux!do_sys_openat2+4)`, or the bare address.
#[must_use]
pub fn address(address: u64, symbols: &Symbols) -> String {
    symbols.place(address).map_or_else(
        || format!("{address:016x}"),
        |place| format!("{place} ({address:016x})"),
    )
}

/// Lines of `u`: a heading where a symbol begins (or at the first line), then the instruction.
#[must_use]
pub fn code(lines: &[Line], symbols: &Symbols) -> String {
    let mut text = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some(place) = symbols.place(line.address)
            && (index == 0 || (place.offset == 0 && place.name.is_some()))
        {
            text.push(format!("{place}:"));
        }
        let bytes: String = line.bytes.iter().map(|b| format!("{b:02x}")).collect();
        text.push(format!("{:016x} {bytes:<15} {}", line.address, line.text));
    }
    text.join("\n")
}

/// The value in every form that helps.
#[must_use]
pub fn formats(value: u64, symbols: &Symbols) -> String {
    let bytes = value.to_be_bytes();
    let characters: String = bytes
        .iter()
        .map(|b| {
            if b.is_ascii_graphic() || *b == b' ' {
                char::from(*b)
            } else {
                '.'
            }
        })
        .collect();
    let mut lines = vec![
        format!("hex       {:08x}`{:08x}", value >> 32, value & 0xffff_ffff),
        format!("decimal   {value}"),
    ];
    if value > i64::MAX as u64 {
        lines.push(format!("signed    {}", value.cast_signed()));
    }
    lines.push(format!("octal     {value:o}"));
    lines.push(format!("binary    {value:b}"));
    lines.push(format!("chars     {characters}"));
    lines.push(format!("float     {:e}", f32::from_bits(value as u32)));
    lines.push(format!("double    {:e}", f64::from_bits(value)));
    if let Some(place) = symbols.place(value) {
        lines.push(format!("symbol    {place}"));
    }
    lines.join("\n")
}
