//! The host program for Windows: built with a linker from Debian's packages, and run under Wine.
//!
//! Called by the suite, which builds it, and by the tests that run it. Both packages are fetched when they are wanted, not
//! before (40 MB, and 100 MB for Wine), and unpacked into the cache; nothing is installed.

use crate::apt::Apt;
use crate::cache::{self, Cache};
use crate::progress::phase;
use crate::toolchain::{self, Tier};
use crate::{repository, run};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// A linker, the tool that makes import libraries, and the libraries of the system.
const LINKER: [&str; 3] = [
    "gcc-mingw-w64-x86-64-win32",
    "binutils-mingw-w64-x86-64",
    "mingw-w64-x86-64-dev",
];
/// What of them only compilers of other languages need.
const NOT_NEEDED: [&str; 2] = ["usr/lib/gcc/x86_64-w64-mingw32/12-win32/lto1", "usr/share"];
const GCC: &str = "usr/bin/x86_64-w64-mingw32-gcc-win32";

const STRIP: &str = "usr/bin/x86_64-w64-mingw32-strip";

/// Wine without what draws, plays and prints.
const WINE: [&str; 4] = ["wine64", "libwine", "libunwind8", "libz-mingw-w64"];
/// In those packages.
const LOADER: &str = "usr/lib/wine/wine64";
const SERVER: &str = "usr/lib/wine/wineserver64";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where Wine looks for the libraries of Windows, and one that Debian has in a place of its own.
const DLLS: &str = "usr/lib/x86_64-linux-gnu/wine/x86_64-windows";
const ZLIB: &str = "usr/x86_64-w64-mingw32/lib/zlib1.dll";
/// In what Wine believes to be Windows.
const SYSTEM32: &str = "drive_c/windows/system32";
/// Libraries that Wine has only for what is not run here, and what must not be asked for.
const OVERRIDES: &str = "mscoree,mshtml=;winemenubuilder.exe=d";

/// The unpacked linker, fetched if it is missing.
fn linker() -> Result<PathBuf> {
    packages("linker", &LINKER, |tree| {
        for name in NOT_NEEDED {
            let path = tree.join(name);
            // Another release has other names.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        Ok(())
    })
}

/// Packages in a cache entry that is named by what they are.
fn packages(
    what: &str,
    names: &[&str],
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let place = cache.path(&entry(what, names));
    if place.exists() {
        return Ok(place);
    }
    let _lock = cache.lock("provision")?;
    phase(format!("fetching {what} for Windows"), |_| {
        cache.entry(&entry(what, names), |half| {
            Apt::update(&cache.path("apt"))?.unpack(names, half)?;
            finish(half)
        })
    })
}

fn entry(what: &str, names: &[&str]) -> String {
    let name = cache::fingerprint_bytes(names.join(" ").as_bytes());
    format!("windows-{what}-{name}")
}

/// Builds the host program, and the program that joins two lines; the directory that has both and its `examples`.
///
/// # Errors
/// When the linker or the target can't be had; with the compiler's messages.
pub fn build(profile: &str) -> Result<PathBuf> {
    let root = repository();
    toolchain::prepare(Tier::Test)?;
    let tree = linker()?;
    let mut paths = vec![tree.join("usr/bin")];
    paths.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--target", TARGET, "--profile", profile]);
    cargo.args(["--package", "debugger-host", "--bins", "--examples"]);
    // Import libraries are made by a tool that is looked for by its name.
    cargo.env("PATH", std::env::join_paths(paths)?);
    cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", tree.join(GCC));
    run::output(cargo.current_dir(&root)).context("building the host program for Windows")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    let profile = match profile {
        "dev" => "debug",
        other => other,
    };
    Ok(target.join(TARGET).join(profile))
}

/// A copy of a program in `folder`, without what only debuggers read.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn stripped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join(program.file_name().context("a program has a name")?);
    let mut strip = Command::new(linker()?.join(STRIP));
    run::output(strip.arg("-o").arg(&copy).arg(program)).context("stripping the program")?;
    Ok(copy)
}

/// Wine, with a Windows of its own. One at a time; dropping it ends all that runs in it.
#[derive(Debug)]
pub struct Wine {
    tree: PathBuf,
    prefix: PathBuf,
    _lock: fs::File,
}

impl Wine {
    /// Starts Wine with these devices as `COM<number>`; fetches it and makes its Windows, where they are missing.
    ///
    /// # Errors
    /// When the packages can't be had, or it can't be made or started.
    pub fn start(ports: &[(u32, &Path)]) -> Result<Self> {
        let cache = Cache::open()?;
        let lock = cache.lock("wine")?;
        let tree = packages("wine", &WINE, |tree| {
            let dll = tree.join(ZLIB);
            fs::copy(&dll, tree.join(DLLS).join("zlib1.dll"))?;
            // Debian's is a script that looks for what is installed.
            let server = tree.join("usr/lib/wine/wineserver");
            fs::remove_file(&server)?;
            symlink("wineserver64", server)?;
            Ok(())
        })?;
        let source = repository().join("vm-lab/windows/bcryptprimitives.c");
        let name = cache::fingerprint(std::slice::from_ref(&source), &[&entry("wine", &WINE)])?;
        let place = format!("windows-prefix-{name}");
        let prefix = match cache.path(&place) {
            place if place.exists() => place,
            _ => phase("making Wine's Windows", |_| {
                cache.entry(&place, |half| make_prefix(&tree, half, &source))
            })?,
        };
        // Before it starts: of ports that were named while it ran, one in four was not found.
        for (number, device) in ports {
            let name = prefix.join(format!("dosdevices/com{number}"));
            let _ = fs::remove_file(&name);
            symlink(device, &name).with_context(|| format!("making {}", name.display()))?;
        }
        // Started by a program it would have that one's output, and tell there of all that is left when it ends.
        let mut server = Command::new(tree.join(SERVER));
        surround(&mut server, &tree, &prefix);
        server.arg("-p").stdout(Stdio::null()).stderr(Stdio::null());
        server.status().context("starting Wine's server")?;
        Ok(Self {
            tree,
            prefix,
            _lock: lock,
        })
    }

    /// A program of Windows, to be given its arguments and run.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut wine = wine(&self.tree, &self.prefix);
        wine.arg(program);
        wine
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        let _ = end(&self.tree, &self.prefix);
    }
}

/// The loader, with all that it asks its environment for.
fn wine(tree: &Path, prefix: &Path) -> Command {
    let mut wine = Command::new(tree.join(LOADER));
    surround(&mut wine, tree, prefix);
    wine
}

fn surround(command: &mut Command, tree: &Path, prefix: &Path) {
    command
        .env("WINEPREFIX", prefix)
        // Its Windows has links to the user's folders.
        .env("HOME", prefix)
        .env("WINESERVER", tree.join(SERVER))
        .env("WINELOADER", tree.join(LOADER))
        .env("LD_LIBRARY_PATH", tree.join(LIBRARIES))
        .env("WINEDLLOVERRIDES", OVERRIDES)
        .env("WINEDEBUG", "-all")
        .env_remove("DISPLAY");
}

/// Ends all that runs in that Windows.
fn end(tree: &Path, prefix: &Path) -> Result<()> {
    for order in ["-k", "-w"] {
        let mut server = Command::new(tree.join(SERVER));
        surround(&mut server, tree, prefix);
        // It says with its exit code whether there was anything to end.
        server.arg(order).output()?;
    }
    Ok(())
}

fn make_prefix(tree: &Path, into: &Path, source: &Path) -> Result<()> {
    // It fails for want of a part that is for 32-bit programs; whether all else is there, the library's place tells.
    wine(tree, into).args(["wineboot", "-i"]).output()?;
    end(tree, into)?;
    let mut gcc = Command::new(linker()?.join(GCC));
    gcc.args(["-O2", "-shared", "-s", "-o"]);
    let system = into.join(SYSTEM32);
    gcc.arg(system.join("bcryptprimitives.dll"));
    run::output(gcc.arg(source).arg("-ladvapi32"))?;
    fs::copy(tree.join(ZLIB), system.join("zlib1.dll"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_packages_are_another_entry() {
        assert_ne!(entry("linker", &LINKER), entry("linker", &LINKER[1..]));
        assert!(entry("wine", &WINE).starts_with("windows-wine-"));
    }
}
