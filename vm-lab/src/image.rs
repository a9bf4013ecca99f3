//! The disc the debuggee boots from: Debian's kernel, a ramdisk with a shell, the driver and the lab's test programs.
//!
//! Called by `machine`. A disc is named by a fingerprint of all that is on it, and built only if there is none of that
//! name; the ramdisk has no state, so every boot is the same.

use crate::cpio::Archive;
use crate::kbuild::{self, Module};
use crate::progress::phase;
use crate::provision::Provisions;
use crate::{cache, driver, repository, run};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources of the test programs, each of which becomes one binary.
const SOURCES: [&str; 5] = ["programs", "forms", "pages", "bpf", "awkward"];

/// Names under which the first of them is called.
const PROGRAMS: &[&str] = &[
    "lab-calls",
    "lab-threads",
    "lab-deep",
    "lab-cpuid",
    "lab-spin",
    "lab-check",
    "lab-stepped",
    "lab-filter",
    "lab-umask",
    "lab-worker",
    "lab-open",
    "lab-tsc",
    "lab-call-cost",
    "lab-traps",
    "lab-vmfunc",
];

/// The module that executes what a hypervisor must get right.
pub(crate) const PROBE: &str = "lab_probe";
/// The module that attacks the debugger.
pub(crate) const HOSTILE: &str = "lab_hostile";
/// The module that ends the kernel; only tests load it.
const ENDS: &str = "lab_ends";
/// The module that is a disk to swap to.
const DISK: &str = "lab_disk";

/// A file that only some machines need.
#[derive(Clone, Debug)]
pub struct GuestFile {
    /// Its path on the disc, without a slash in front.
    pub name: String,
    /// The file that it is.
    pub contents: PathBuf,
}

/// Builds what changed and returns the disc that boots with kernel line `line` and has `files` besides the lab's own.
///
/// A driver that does not compile is an error if `needs_driver`; otherwise it is left out with a warning, so that work
/// on the rest of a machine can go on.
///
/// # Errors
/// With the end of the failing tool's output.
pub(crate) fn build(
    provisions: &Provisions,
    line: &str,
    files: &[GuestFile],
    needs_driver: bool,
) -> Result<PathBuf> {
    let mut modules = Vec::new();
    for name in [PROBE, HOSTILE, ENDS, DISK] {
        modules.push(own_module(provisions, name)?);
    }
    match driver::build(provisions, None) {
        Ok(module) => modules.push(module),
        Err(error) if needs_driver => return Err(error),
        Err(error) => eprintln!("the disc has no driver: {error}"),
    }
    let _lock = provisions.cache.lock("image")?;
    let programs = programs(provisions)?;
    let guest = guest_directory();
    let mut inputs = vec![guest.join("init"), guest.join("shell"), doctor()];
    inputs.extend(programs.iter().cloned());
    inputs.extend(modules.iter().cloned());
    inputs.push(provisions.kernel_image());
    inputs.extend(files.iter().map(|file| file.contents.clone()));
    let mut settings = vec![line];
    settings.extend(files.iter().map(|file| file.name.as_str()));
    let name = format!("discs/{}", cache::fingerprint(&inputs, &settings)?);
    let disc = provisions.cache.path(&name);
    if !disc.exists() {
        phase("making the boot disc", |_| {
            // A running machine keeps its own disc open.
            cache::forget_old(&provisions.cache.path("discs"), "");
            let ramdisk = ramdisk(provisions, &programs, &modules, files)?;
            provisions
                .cache
                .entry(&name, |half| make_disc(provisions, &ramdisk, line, half))
        })?;
    }
    Ok(disc.join("disc.iso"))
}

/// The ramdisk of a machine without the driver: the lab's programs, and these modules.
///
/// # Errors
/// With the end of the failing tool's output.
pub(crate) fn ramdisk_with(provisions: &Provisions, modules: &[PathBuf]) -> Result<Vec<u8>> {
    let _lock = provisions.cache.lock("image")?;
    ramdisk(provisions, &programs(provisions)?, modules, &[])
}

/// The script that says what stands in the driver's way.
fn doctor() -> PathBuf {
    driver::source().join("package/standstill-doctor")
}

fn guest_directory() -> PathBuf {
    repository().join("vm-lab/guest")
}

/// A module of the lab's own, which lies in the directory that its name ends with.
fn own_module(provisions: &Provisions, name: &str) -> Result<PathBuf> {
    let directory = name.trim_start_matches("lab_");
    let _lock = provisions.cache.lock(directory)?;
    let source = guest_directory().join(directory);
    kbuild::build(
        &Module {
            name,
            files: vec![source.join(format!("{name}.c")), source.join("Kbuild")],
            object: None,
            headers: &provisions.headers(),
            library_path: &provisions.library_path(),
        },
        &provisions.cache,
    )
}

fn programs(provisions: &Provisions) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for name in SOURCES {
        let source = guest_directory().join(format!("{name}.c"));
        let fingerprint = cache::fingerprint(std::slice::from_ref(&source), &[])?;
        let entry = format!("{name}-{fingerprint}");
        let place = provisions.cache.entry(&entry, |half| {
            let mut compile = Command::new("gcc");
            compile.args(["-static", "-Os", "-s", "-Wall", "-pthread", "-o"]);
            compile.arg(half.join(name)).arg(&source);
            run::output(&mut compile).context("compiling the debuggee's test programs")?;
            Ok(())
        })?;
        programs.push(place.join(name));
    }
    Ok(programs)
}

fn ramdisk(
    provisions: &Provisions,
    programs: &[PathBuf],
    modules: &[PathBuf],
    files: &[GuestFile],
) -> Result<Vec<u8>> {
    let busybox = provisions.tree.join("bin/busybox");
    let busybox = if busybox.exists() {
        busybox
    } else {
        provisions.tree.join("usr/bin/busybox")
    };
    let applets = run::output(Command::new(&busybox).arg("--list"))?;
    let guest = guest_directory();
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", &fs::read(busybox)?);
    for applet in applets.lines().filter(|name| *name != "busybox") {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    for (name, program) in SOURCES.iter().zip(programs) {
        archive.file(&format!("bin/lab-{name}"), &fs::read(program)?);
    }
    for program in PROGRAMS {
        archive.link(&format!("bin/{program}"), "lab-programs");
    }
    for name in ["init", "shell"] {
        archive.file(name, &fs::read(guest.join(name))?);
    }
    archive.file("bin/standstill-doctor", &fs::read(doctor())?);
    for module in modules {
        let name = module.file_name().context("a module has a name")?;
        archive.file(&name.to_string_lossy(), &fs::read(module)?);
    }
    let mut directories = BTreeSet::new();
    for GuestFile { name, contents } in files {
        let above = name.match_indices('/').map(|(end, _)| &name[..end]);
        for directory in above {
            if directories.insert(directory) {
                archive.directory(directory);
            }
        }
        archive.file(name, &fs::read(contents)?);
    }
    Ok(archive.finish())
}

fn make_disc(provisions: &Provisions, ramdisk: &[u8], line: &str, half: &Path) -> Result<()> {
    let files = half.join("files");
    fs::create_dir(&files)?;
    let lib = provisions.tree.join("usr/lib");
    fs::copy(
        lib.join("ISOLINUX/isolinux.bin"),
        files.join("isolinux.bin"),
    )?;
    let loader = lib.join("syslinux/modules/bios/ldlinux.c32");
    fs::copy(loader, files.join("ldlinux.c32"))?;
    fs::copy(provisions.kernel_image(), files.join("vmlinuz"))?;
    fs::write(files.join("ramdisk"), ramdisk)?;
    let menu = format!(
        "default lab\nprompt 0\nlabel lab\nkernel vmlinuz\ninitrd ramdisk\nappend {line}\n"
    );
    fs::write(files.join("isolinux.cfg"), menu)?;
    run::output(
        Command::new(provisions.tree.join("usr/bin/xorriso"))
            .args(["-as", "mkisofs", "-quiet", "-o"])
            .arg(half.join("disc.iso"))
            .args(["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot"])
            .args(["-boot-load-size", "4", "-boot-info-table"])
            .arg(&files)
            .env("LD_LIBRARY_PATH", provisions.library_path()),
    )
    .context("making the boot disc")?;
    fs::remove_dir_all(files)?;
    Ok(())
}
