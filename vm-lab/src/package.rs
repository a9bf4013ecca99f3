//! `lab package`: what users install. Debian packages of the driver and of the host program, and a zip of the host program for
//! Windows.
//!
//! Called by `main` and by the test that installs them. Nothing needs to be root, and all of it is put together in the build
//! directory. The driver's Rust part goes along as a finished object, so that a debuggee needs gcc and its kernel's headers and
//! no Rust.

use crate::cache::Cache;
use crate::progress::phase;
use crate::toolchain::{self, Tier};
use crate::{driver, host, repository, run, windows};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Of driver, program and packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Stands for it in the files that are packed.
const VERSION_MARK: &str = "@VERSION@";
/// Debian's name of what is built for.
const ARCHITECTURE: &str = "amd64";
/// Who is asked about a package that somebody built for himself.
const MAINTAINER: &str = "whoever built it <root@localhost>";

/// What `dpkg` is told of a package.
struct Control {
    name: &'static str,
    section: &'static str,
    depends: String,
    recommends: &'static str,
    about: &'static str,
    more: &'static [&'static str],
}

impl Control {
    fn text(&self, installed_kib: u64) -> String {
        let Self {
            name,
            section,
            depends,
            recommends,
            about,
            more,
        } = self;
        let more: String = more.iter().map(|line| format!(" {line}\n")).collect();
        let recommends = if recommends.is_empty() {
            String::new()
        } else {
            format!("Recommends: {recommends}\n")
        };
        format!(
            "Package: {name}\nVersion: {VERSION}\nArchitecture: {ARCHITECTURE}\nMaintainer: {MAINTAINER}\n\
             Section: {section}\nPriority: optional\nInstalled-Size: {installed_kib}\nDepends: {depends}\n{recommends}\
             Description: {about}\n{more}"
        )
    }
}

/// A package that is put together.
struct Tree {
    root: PathBuf,
}

impl Tree {
    /// An empty one, in the place of one of that name.
    fn new(name: &str) -> Result<Self> {
        let root = directory().join(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    fn put(&self, place: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let path = self.root.join(place);
        let folder = path.parent().context("a place has a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// A file of the repository, with the version in its place.
    fn put_text(&self, place: &str, file: &Path, mode: u32) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        self.put(place, text.replace(VERSION_MARK, VERSION).as_bytes(), mode)
    }

    /// What every package has: whose it is, and what has changed.
    fn put_papers(&self, package: &str) -> Result<()> {
        let root = repository();
        let papers = format!("usr/share/doc/{package}");
        self.put_text(&format!("{papers}/copyright"), &root.join("LICENSE"), FILE)?;
        let changes = root.join("CHANGELOG.md");
        self.put_text(&format!("{papers}/CHANGELOG.md"), &changes, FILE)
    }

    /// Makes folders as the umask of nobody in particular would, and the package.
    fn pack(&self, control: &Control) -> Result<PathBuf> {
        let installed_kib = settle(&self.root)?.div_ceil(1024);
        let text = control.text(installed_kib);
        self.put("DEBIAN/control", text.as_bytes(), FILE)?;
        let folder = self.root.join("DEBIAN");
        fs::set_permissions(folder, fs::Permissions::from_mode(PROGRAM))?;
        let package = directory().join(format!("{}_{VERSION}_{ARCHITECTURE}.deb", control.name));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]);
        build.arg(&self.root).arg(&package);
        run::output(&mut build).with_context(|| format!("packing {}", control.name))?;
        fs::remove_dir_all(&self.root)?;
        Ok(package)
    }
}

/// Modes of what everybody may read, and of what everybody may run or enter.
const FILE: u32 = 0o644;
const PROGRAM: u32 = 0o755;

/// Lets everybody into the folders below; the bytes of all files there.
fn settle(folder: &Path) -> Result<u64> {
    fs::set_permissions(folder, fs::Permissions::from_mode(PROGRAM))?;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            settle(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

/// Where packages are put.
fn directory() -> PathBuf {
    repository().join("target/packages")
}

/// Both Debian packages: of the driver, and of the host program.
///
/// # Errors
/// With the end of the failing tool's output.
pub fn deb() -> Result<Vec<PathBuf>> {
    Ok(vec![driver_deb()?, host_deb()?])
}

/// The Debian package of the driver, which DKMS builds for each kernel of the debuggee.
///
/// # Errors
/// As for [`deb`].
pub fn driver_deb() -> Result<PathBuf> {
    const NAME: &str = "standstill-dkms";
    toolchain::prepare(Tier::Lab)?;
    let source = driver::source();
    let package = source.join("package");
    let lock = Cache::open()?.lock(driver::LOCK)?;
    let parts = phase("building the driver", |_| driver::parts(&source))?;
    drop(lock);
    let tree = Tree::new(NAME)?;
    let sources = format!("usr/src/{}-{VERSION}", driver::NAME);
    let object = format!("{sources}/{}.o_shipped", driver::OBJECT);
    tree.put(&object, &parts.object, FILE)?;
    for file in &parts.files {
        let name = file.file_name().context("a source file has a name")?;
        tree.put_text(&format!("{sources}/{}", name.display()), file, FILE)?;
    }
    for (place, file, mode) in [
        (format!("{sources}/dkms.conf"), "dkms.conf", FILE),
        (format!("{sources}/Makefile"), "Makefile", FILE),
        (sbin("standstill-doctor"), "standstill-doctor", PROGRAM),
        (sbin("standstill-sign"), "standstill-sign", PROGRAM),
        (ramdisk("hooks"), "initramfs-hook", PROGRAM),
        (ramdisk("scripts/init-top"), "initramfs-load", PROGRAM),
        ("DEBIAN/postinst".to_owned(), "postinst", PROGRAM),
        ("DEBIAN/prerm".to_owned(), "prerm", PROGRAM),
    ] {
        tree.put_text(&place, &package.join(file), mode)?;
    }
    // The ramdisk is made anew when the driver comes and when it goes.
    tree.put(
        "DEBIAN/triggers",
        b"activate-noawait update-initramfs\n",
        FILE,
    )?;
    tree.put_papers(NAME)?;
    tree.pack(&Control {
        name: NAME,
        section: "kernel",
        depends: "dkms, gcc, make, kmod".to_owned(),
        recommends: "linux-headers-amd64 | linux-headers-generic, openssl, mokutil",
        about: "hypervisor-based kernel debugger: the debuggee's driver",
        more: &[
            "Halts every core of the machine for a host program that is elsewhere. The",
            "driver is built by DKMS for each kernel; its larger part is a finished object.",
            "standstill-doctor says what a machine lacks, standstill-sign signs for Secure",
            "Boot, and a parameter on the kernel's line loads it from the ramdisk.",
        ],
    })
}

fn sbin(program: &str) -> String {
    format!("usr/sbin/{program}")
}

fn ramdisk(place: &str) -> String {
    format!("usr/share/initramfs-tools/{place}/standstill")
}

/// The Debian package of the host program, with its pages of the manual and completions.
///
/// # Errors
/// As for [`deb`].
pub fn host_deb() -> Result<PathBuf> {
    const NAME: &str = "standstill";
    let program = phase("building the host program", |_| host::build_in("release"))?;
    let tree = Tree::new(NAME)?;
    let packed = "usr/bin/standstill";
    tree.put(packed, &fs::read(&program)?, PROGRAM)?;
    let packed = tree.root.join(packed);
    run::output(Command::new("strip").arg(&packed)).context("stripping the host program")?;
    let papers = tempfile::tempdir()?;
    run::output(Command::new(&packed).arg("papers").arg(papers.path()))?;
    for entry in fs::read_dir(papers.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = place_of_paper(&name).with_context(|| format!("no place for {name}"))?;
        tree.put(&place, &fs::read(entry.path())?, FILE)?;
    }
    let about_lines = repository().join("docs/setting-up.md");
    let about = format!("usr/share/doc/{NAME}/setting-up.md");
    tree.put_text(&about, &about_lines, FILE)?;
    tree.put_papers(NAME)?;
    let libc = glibc_wanted(&run::output(
        Command::new("objdump").arg("-T").arg(&packed),
    )?);
    tree.pack(&Control {
        name: NAME,
        section: "devel",
        depends: format!("libc6 (>= {libc}), libgcc-s1"),
        recommends: "",
        about: "hypervisor-based kernel debugger: the host program",
        more: &[
            "Debugs the kernel of another machine, which the package standstill-dkms makes",
            "a debuggee, over a serial line, a socket, TCP or a network.",
        ],
    })
}

/// Where Debian has a page or a completion of that name.
fn place_of_paper(name: &str) -> Option<String> {
    let folder = match name {
        "standstill.bash" => {
            return Some("usr/share/bash-completion/completions/standstill".into());
        }
        "_standstill" => "usr/share/zsh/vendor-completions",
        "standstill.fish" => "usr/share/fish/vendor_completions.d",
        page if page.ends_with(".1") => "usr/share/man/man1",
        _ => return None,
    };
    Some(format!("{folder}/{name}"))
}

/// The oldest C library that has all that a program takes of it, by its table of symbols.
fn glibc_wanted(symbols: &str) -> String {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'));
        let (major, minor) = rest[..end.unwrap_or(rest.len())].split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let (major, minor) = versions.max().unwrap_or((2, 36));
    format!("{major}.{minor}")
}

/// The host program for Windows, in a zip with what there is to read.
///
/// # Errors
/// With the end of the failing tool's output.
pub fn zip() -> Result<PathBuf> {
    let programs = phase("building the host program for Windows", |_| {
        windows::build("release")
    })?;
    let folder = directory();
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("standstill-{VERSION}-windows-x86_64.zip"));
    let root = repository();
    let program = windows::stripped(&programs.join("standstill.exe"), &folder)?;
    let mut archive = ZipWriter::new(File::create(&path)?);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, file) in [
        ("standstill.exe", program.clone()),
        ("setting-up.md", root.join("docs/setting-up.md")),
        ("CHANGELOG.md", root.join("CHANGELOG.md")),
        ("LICENSE", root.join("LICENSE")),
    ] {
        archive.start_file(format!("standstill-{VERSION}/{name}"), options)?;
        archive.write_all(&fs::read(file)?)?;
    }
    archive.finish()?;
    fs::remove_file(program)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_file_has_what_dpkg_wants() {
        let control = Control {
            name: "a",
            section: "devel",
            depends: "b, c (>= 1)".to_owned(),
            recommends: "",
            about: "d",
            more: &["e", "f"],
        };
        let text = control.text(7);
        assert!(text.starts_with("Package: a\nVersion: "));
        assert!(
            text.contains("\nInstalled-Size: 7\nDepends: b, c (>= 1)\nDescription: d\n e\n f\n")
        );
        let more = Control {
            recommends: "g",
            ..control
        };
        assert!(more.text(7).contains("\nRecommends: g\nDescription: "));
    }

    #[test]
    fn papers_have_debians_places() {
        let place = |name| place_of_paper(name).unwrap_or_default();
        assert_eq!(
            place("standstill-key-new.1"),
            "usr/share/man/man1/standstill-key-new.1"
        );
        assert_eq!(
            place("_standstill"),
            "usr/share/zsh/vendor-completions/_standstill"
        );
        assert_eq!(place("other"), "");
    }

    #[test]
    fn newest_symbol_says_which_c_library_is_wanted() {
        let text = "0 DF *UND* 0 (GLIBC_2.9)  a\n0 DF *UND* 0 (GLIBC_2.34) b\n0 DF *UND* 0 (GLIBC_2.2.5) c\n";
        assert_eq!(glibc_wanted(text), "2.34");
    }

    #[test]
    fn files_that_are_packed_are_scripts_that_the_shell_reads() {
        let package = driver::source().join("package");
        for entry in fs::read_dir(package).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            if text.starts_with("#!/bin/sh\n") {
                run::output(Command::new("sh").arg("-n").arg(&path)).unwrap();
            }
        }
    }
}
