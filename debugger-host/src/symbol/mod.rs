//! Names of addresses: read from a kernel image on the host and from the debuggee's own memory.
//! Called by the expression evaluator and by every command that prints an address.
//!
//! [`bzimage`] unpacks a kernel image, [`kallsyms`] finds the symbol table inside it, [`image`]
//! knows what memory it fills,
//! [`system_map`] reads the same facts from text, [`modules`], [`bpf`] and [`processes`] walk the
//! debuggee's lists, and [`resolve`] answers questions about all names together.

pub mod bpf;
pub mod bzimage;
pub mod image;
pub mod kallsyms;
pub mod modules;
pub mod processes;
pub mod resolve;
pub mod system_map;
pub mod table;

use std::path::{Path, PathBuf};
use table::Table;

/// Why no symbols could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read symbols from {path}: {why}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The kernel image could not be unpacked.
    #[error("{path}: {why}")]
    Image {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: bzimage::ImageError,
    },
    /// The kernel image holds no symbol table that passes the checks.
    #[error("{path}: {why}")]
    Kallsyms {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: kallsyms::KallsymsError,
    },
    /// The text file is no symbol list.
    #[error("{path}: {why}")]
    Text {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: system_map::TextError,
    },
}

/// What a file says of a kernel.
pub struct Kernel {
    /// Its symbols.
    pub table: Table,
    /// Content of its memory, if the file is an image.
    pub image: Option<image::Image>,
}

/// Reads a bzImage, a vmlinux, a `System.map` or a `/proc/kallsyms` dump.
///
/// # Errors
/// When the file cannot be read, or holds no symbols that pass the checks.
pub fn load(path: &Path) -> Result<Kernel, LoadError> {
    let named = || path.to_path_buf();
    let bytes = std::fs::read(path).map_err(|why| LoadError::Unreadable { path: named(), why })?;
    if bytes.starts_with(b"\x7fELF") || bzimage::is_bzimage(&bytes) {
        let kernel =
            bzimage::unpack(&bytes).map_err(|why| LoadError::Image { path: named(), why })?;
        let table = match system_map::from_elf_symbols(&kernel) {
            Some(table) => table,
            None => {
                kallsyms::find(&kernel).map_err(|why| LoadError::Kallsyms { path: named(), why })?
            }
        };
        return Ok(Kernel {
            table,
            image: image::Image::read(&kernel),
        });
    }
    let table = system_map::parse(&bytes).map_err(|why| LoadError::Text { path: named(), why })?;
    Ok(Kernel { table, image: None })
}
