//! Builds the debuggee driver as a Linux kernel module.
//!
//! Called by `image` for the lab's kernel and by `lab driver` for any other. The Rust part becomes one object with
//! direct calls only; the kernel's own build joins it with the C part, so symbol versions and layout always fit.

use crate::kbuild::{self, Module};
use crate::progress::phase;
use crate::provision::Provisions;
use crate::{relax, repository, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the module.
pub const NAME: &str = "standstill";
/// The lock of whoever builds it.
pub(crate) const LOCK: &str = "driver";
/// What its `Kbuild` file calls the Rust part, without `.o`.
pub(crate) const OBJECT: &str = "core";
/// What the platform package compiles to.
const LIBRARY: &str = "libstandstill_linux.a";

/// The platform package of the driver in `repository`.
#[must_use]
pub fn source() -> PathBuf {
    repository().join("debuggee-driver/platform/linux")
}

/// Builds the driver for the kernel whose headers are in `headers`, or for the lab's; returns the path of the `.ko`.
///
/// # Errors
/// With the end of the failing tool's output.
pub fn build(provisions: &Provisions, headers: Option<&Path>) -> Result<PathBuf> {
    phase("building the driver", |_| {
        build_from(&source(), provisions, headers)
    })
}

/// As [`build`], for the package in directory `source`.
///
/// # Errors
/// As for [`build`].
pub fn build_from(
    source: &Path,
    provisions: &Provisions,
    headers: Option<&Path>,
) -> Result<PathBuf> {
    let _lock = provisions.cache.lock(LOCK)?;
    let parts = parts(source)?;
    let own = provisions.headers();
    let module = Module {
        name: NAME,
        files: parts.files,
        object: Some((OBJECT, &parts.object)),
        headers: headers.unwrap_or(&own),
        library_path: &provisions.library_path(),
    };
    kbuild::build(&module, &provisions.cache)
}

/// The lab's module that drives network cards with the driver's own code, for the lab's kernel.
const CARDS: &str = "lab_cards";

/// Builds that; returns the path of the `.ko`.
///
/// # Errors
/// With the end of the failing tool's output.
pub(crate) fn build_cards(provisions: &Provisions) -> Result<PathBuf> {
    let _lock = provisions.cache.lock(LOCK)?;
    let platform = source();
    let own = repository().join("vm-lab/guest/cards");
    let target = repository().join("target/driver");
    let library = compile(&platform, &target)?;
    let roots = own.join("link.args");
    let object = link(&roots, &library, &target.join("cards.o"))?;
    let mut files = vec![own.join("Kbuild"), own.join("module.c")];
    files.extend(["card.c", "card.h", "doctor.h", "facts.h"].map(|name| platform.join(name)));
    let module = Module {
        name: CARDS,
        files,
        object: Some((OBJECT, &object)),
        headers: &provisions.headers(),
        library_path: &provisions.library_path(),
    };
    kbuild::build(&module, &provisions.cache)
}

/// What the kernel's build joins, for any kernel.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The Rust part, as one object.
    pub(crate) object: Vec<u8>,
    /// The files of the C part, the `Kbuild` file among them.
    pub(crate) files: Vec<PathBuf>,
}

/// Compiles the Rust part of the package in directory `source`. Whoever calls holds the cache's lock [`LOCK`].
///
/// # Errors
/// With the end of the failing tool's output.
pub(crate) fn parts(source: &Path) -> Result<Parts> {
    let target = repository().join("target/driver");
    let library = compile(source, &target)?;
    Ok(Parts {
        object: link(&source.join("link.args"), &library, &target.join("core.o"))?,
        files: platform_files(source)?,
    })
}

fn compile(source: &Path, target: &Path) -> Result<PathBuf> {
    if !source.join("Cargo.toml").exists() {
        bail!("there is no driver package in {}", source.display());
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet"]);
    cargo.current_dir(source).env("CARGO_TARGET_DIR", target);
    // The package's own configuration says how to compile for a kernel; a caller's flags would replace it, and what is
    // compiled incrementally is slower code.
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_INCREMENTAL",
    ] {
        cargo.env_remove(variable);
    }
    run::output(&mut cargo).context("compiling the driver")?;
    Ok(target.join("x86_64-unknown-none/release").join(LIBRARY))
}

/// Joins the library's objects in `object`, keeping what the roots in a file of arguments reach, and makes every call direct.
fn link(roots: &Path, library: &Path, object: &Path) -> Result<Vec<u8>> {
    run::output(
        Command::new("ld")
            .args(["-r", "--gc-sections"])
            .arg(format!("@{}", roots.display()))
            .arg("-o")
            .arg(object)
            .arg(library),
    )?;
    run::output(
        Command::new("objcopy")
            .args([
                "--strip-debug",
                "-R",
                ".llvmbc",
                "-R",
                ".llvmcmd",
                "-R",
                ".comment",
            ])
            .arg(object),
    )?;
    let mut bytes = fs::read(object)?;
    relax::relax(&mut bytes).context("making the driver's calls direct")?;
    Ok(bytes)
}

/// The C part: every file that the kernel's build reads.
fn platform_files(source: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(source)?
        .flatten()
        .map(|file| file.path())
        .filter(|path| {
            let kept = |name: &str| matches!(name, "c" | "h" | "S");
            let extension = path.extension().and_then(|name| name.to_str());
            extension.is_some_and(kept) || path.ends_with("Kbuild")
        })
        .collect();
    files.sort();
    Ok(files)
}
