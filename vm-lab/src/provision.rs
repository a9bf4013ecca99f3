//! Everything the lab needs from outside, fetched and built once: emulator, kernel, headers, firmware, and what Rust's
//! toolchain lacks for the driver.
//!
//! Called first by every command that boots a machine. After the first start it only looks whether the entries are
//! there: nothing is downloaded and nothing built.

use crate::apt::Apt;
use crate::cache::Cache;
use crate::emulator;
use crate::progress::phase;
use crate::run;
use crate::toolchain::{self, Tier};
use anyhow::{Context, Result, bail};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's name for today's kernel for virtual machines, and its headers.
const KERNEL: &str = "linux-image-cloud-amd64";
const HEADERS: &str = "linux-headers-cloud-amd64";

/// Programs needed to build, and the packages that have them.
const BUILD_TOOLS: &[(&str, &str)] = &[
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("make", "make"),
    ("ld", "binutils"),
    ("objcopy", "binutils"),
    ("xz", "xz-utils"),
    ("tar", "tar"),
    ("setpriv", "util-linux"),
    ("dpkg-deb", "dpkg"),
];

/// Firmware, boot loader, shell and image maker. Only their contents are used; nothing is installed.
const CONTENTS: &[&str] = &[
    "bochsbios",
    "vgabios",
    "busybox-static",
    "isolinux",
    "syslinux-common",
    "xorriso",
];

/// Where the provisioned things are.
#[derive(Clone, Debug)]
pub struct Provisions {
    /// The cache they are in.
    pub cache: Cache,
    /// The emulator's program.
    pub bochs: PathBuf,
    /// Root of the unpacked packages.
    pub tree: PathBuf,
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
}

impl Provisions {
    /// The kernel image that boots.
    #[must_use]
    pub fn kernel_image(&self) -> PathBuf {
        self.tree.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The kernel's headers, ready for building modules.
    #[must_use]
    pub fn headers(&self) -> PathBuf {
        self.tree
            .join(format!("usr/src/linux-headers-{}", self.release))
    }

    /// Search path for the libraries of the unpacked programs.
    #[must_use]
    pub fn library_path(&self) -> String {
        library_path(&self.tree)
    }
}

fn library_path(tree: &Path) -> String {
    let tree = tree.display();
    format!("{tree}/usr/lib/x86_64-linux-gnu:{tree}/lib/x86_64-linux-gnu")
}

/// Brings in whatever is missing.
///
/// # Errors
/// Names the package that can't be had and the command that would install it.
pub fn provision() -> Result<Provisions> {
    toolchain::prepare(Tier::Lab)?;
    let cache = Cache::open()?;
    let _lock = cache.lock("provision")?;
    let apt_cell = OnceCell::new();
    // Opened at most once, and only if something is missing.
    let apt = || -> Result<&Apt> {
        if apt_cell.get().is_none() {
            build_tools()?;
            let opened = phase("reading the Debian package index", |_| {
                Apt::update(&cache.path("apt"))
            })?;
            let _ = apt_cell.set(opened);
        }
        apt_cell.get().context("apt was just opened")
    };

    let tree = cache.path("packages");
    if !tree.exists() {
        let apt = apt()?;
        phase("fetching kernel, headers and firmware", |_| {
            cache.entry("packages", |half| fetch(apt, half, &tree))
        })?;
    }
    let name = emulator::entry_name()?;
    if !cache.path(&name).exists() {
        let apt = apt()?;
        phase("building the emulator (once)", |progress| {
            cache.entry(&name, |half| emulator::build(apt, half, progress))
        })?;
    }
    let release = fs::read_to_string(tree.join("release"))?;
    Ok(Provisions {
        bochs: cache.path(&name).join("bochs"),
        cache,
        tree,
        release,
    })
}

/// Forgets the unpacked packages, so that the next start takes what the mirror names then.
///
/// # Errors
/// When they can't be removed.
pub fn forget_packages() -> Result<()> {
    let cache = Cache::open()?;
    let _lock = cache.lock("provision")?;
    let tree = cache.path("packages");
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    Ok(())
}

/// Makes sure that compilers exist; as root by installing them, otherwise by saying which command would.
fn build_tools() -> Result<()> {
    let mut missing: Vec<&str> = BUILD_TOOLS
        .iter()
        .filter(|(program, _)| !run::has_program(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let install = format!("apt-get update && apt-get install {list}");
    if !rustix::process::geteuid().is_root() {
        bail!("missing build tools: {list}; install them with: sudo sh -c '{install}'");
    }
    phase(format!("installing {list}"), |_| {
        run::output(
            Command::new("sh")
                .args([
                    "-c",
                    "apt-get update && apt-get install --yes --no-install-recommends $0",
                ])
                .arg(&list)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .with_context(|| format!("cannot install {list}; try: {install}"))
    })?;
    Ok(())
}

/// Fills `half`, which will be renamed to `place`.
fn fetch(apt: &Apt, half: &Path, place: &Path) -> Result<()> {
    let image = named(apt.depends(KERNEL)?, "linux-image-")?;
    let headers = named(apt.depends(HEADERS)?, "linux-headers-")?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    let needs = apt.depends(&headers)?;
    let common = named(needs.clone(), "linux-headers-")?;
    let kbuild = named(needs, "linux-kbuild-")?;
    apt.unpack(&[&image, &headers, &common], half)?;
    let mut contents = CONTENTS.to_vec();
    contents.push(&kbuild);
    apt.unpack_with_libraries(&contents, half)?;

    // The headers' Makefile names the directory Debian installs into; ours is elsewhere.
    let makefile = half.join(format!("usr/src/{headers}/Makefile"));
    let text = fs::read_to_string(&makefile)?;
    fs::write(&makefile, relocate(&text, place))?;
    // 20 MB of drivers for hardware that the emulator lacks.
    fs::remove_dir_all(half.join("lib/modules"))?;
    fs::write(half.join("release"), release)?;
    Ok(())
}

fn named(packages: Vec<String>, prefix: &str) -> Result<String> {
    packages
        .into_iter()
        .find(|name| name.starts_with(prefix))
        .with_context(|| format!("the mirror's kernel packages name no {prefix}*"))
}

/// Replaces the directory that Debian's header packages are installed in.
fn relocate(makefile: &str, place: &Path) -> String {
    makefile.replace("/usr/src/", &format!("{}/usr/src/", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makefile_of_the_headers_points_into_the_cache() {
        assert_eq!(
            relocate(
                "include /usr/src/linux-headers-1-common/Makefile\n",
                Path::new("/c/packages")
            ),
            "include /c/packages/usr/src/linux-headers-1-common/Makefile\n"
        );
    }

    #[test]
    fn missing_package_is_named() {
        let told = named(vec!["linux-image-1".into()], "linux-kbuild-").unwrap_err();
        assert!(told.to_string().contains("linux-kbuild-"));
    }
}
