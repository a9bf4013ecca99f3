//! The kernel's own self-tests, which know better than anyone what a processor must do: from Debian's package of the
//! kernel's source, compiled for the debuggee.
//!
//! Called by the tests that run them. The package is fetched when they are wanted, not before: it is 140 MB, of which
//! some hundred files are kept. The programs are linked as distributions link them, since some look for the kernel's
//! own library among those they have loaded; so the disc gets what they load, too.

use crate::apt::Apt;
use crate::image::GuestFile;
use crate::progress::phase;
use crate::provision::Provisions;
use crate::{cache, run};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is kept of the kernel's source.
const KEPT: [&str; 8] = [
    "arch/x86/include/asm/desc_defs.h",
    "include/uapi/linux",
    "tools/testing/selftests/kselftest.h",
    "tools/testing/selftests/kselftest_harness.h",
    "tools/testing/selftests/x86",
    "tools/testing/selftests/breakpoints",
    "tools/testing/selftests/ptrace",
    "tools/testing/selftests/vDSO",
];
/// Where they are in it, and on the disc.
const TESTS: &str = "tools/testing/selftests";
const IN_GUEST: &str = "selftests";

/// What all of them are compiled with.
const FLAGS: [&str; 3] = ["-s", "-w", "-pthread"];

/// What those of a folder are compiled with, as its makefile does: not all stand being optimised.
fn flags(folder: &str) -> &'static [&'static str] {
    match folder {
        "x86" => &["-O2", "-std=gnu99", "-no-pie"],
        "ptrace" => &["-std=c99", "-iquote../../../../include/uapi"],
        "vDSO" => &["-std=gnu99"],
        _ => &[],
    }
}

/// One of them.
#[derive(Debug)]
struct Selftest {
    /// Its source, less the ending: folder and name.
    source: &'static str,
    /// Further sources in that folder, and flags.
    more: &'static [&'static str],
}

const fn plain(source: &'static str) -> Selftest {
    Selftest { source, more: &[] }
}

const fn with(source: &'static str, more: &'static [&'static str]) -> Selftest {
    Selftest { source, more }
}

/// All that are for 64-bit programs, but for the one that suspends the machine.
const SELFTESTS: [Selftest; 31] = [
    plain("x86/single_step_syscall"),
    with("x86/sysret_ss_attrs", &["thunks.S"]),
    plain("x86/syscall_nt"),
    plain("x86/test_mremap_vdso"),
    with(
        "x86/check_initial_reg_state",
        &["-Wl,-ereal_start", "-static"],
    ),
    plain("x86/sigreturn"),
    plain("x86/iopl"),
    plain("x86/ioperm"),
    plain("x86/test_vsyscall"),
    plain("x86/mov_ss_trap"),
    plain("x86/sigtrap_loop"),
    plain("x86/syscall_arg_fault"),
    plain("x86/fsgsbase_restore"),
    plain("x86/sigaltstack"),
    plain("x86/fsgsbase"),
    plain("x86/sysret_rip"),
    plain("x86/syscall_numbering"),
    plain("x86/corrupt_xstate_header"),
    plain("x86/amx"),
    plain("x86/ldt_gdt"),
    plain("x86/ptrace_syscall"),
    plain("breakpoints/breakpoint_test"),
    plain("ptrace/get_syscall_info"),
    plain("ptrace/peeksiginfo"),
    plain("ptrace/vmaccess"),
    with("vDSO/vdso_test_gettimeofday", &["parse_vdso.c"]),
    with("vDSO/vdso_test_getcpu", &["parse_vdso.c"]),
    with("vDSO/vdso_test_abi", &["parse_vdso.c"]),
    plain("vDSO/vdso_test_clock_getres"),
    plain("vDSO/vdso_test_correctness"),
    with(
        "vDSO/vdso_standalone_test_x86",
        &[
            "parse_vdso.c",
            "-nostdlib",
            "-static",
            "-fno-stack-protector",
        ],
    ),
];

impl Selftest {
    fn name(&self) -> &'static str {
        self.source.rsplit('/').next().unwrap_or(self.source)
    }

    fn flags(&self) -> Vec<&'static str> {
        let folder = self.source.split('/').next().unwrap_or_default();
        [&FLAGS, flags(folder), self.more].concat()
    }

    /// Its program, compiled if it is not in the cache.
    fn program(&self, provisions: &Provisions, source: &Path) -> Result<PathBuf> {
        let name = self.name();
        let path = source.join(TESTS).join(format!("{}.c", self.source));
        let folder = path.parent().context("a file is in a directory")?;
        // Its name stands for the headers.
        let tree = source.file_name().unwrap_or_default().to_string_lossy();
        let mut settings = vec![tree.as_ref()];
        let flags = self.flags();
        settings.extend(&flags);
        let fingerprint = cache::fingerprint(std::slice::from_ref(&path), &settings)?;
        let entry = format!("selftests/{name}-{fingerprint}");
        let place = provisions.cache.entry(&entry, |half| {
            let mut compile = Command::new("gcc");
            compile.current_dir(folder).arg("-o").arg(half.join(name));
            run::output(compile.arg(&path).args(&flags))
                .with_context(|| format!("compiling the kernel's self-test {name}"))?;
            Ok(())
        })?;
        Ok(place.join(name))
    }
}

/// Names of all self-tests, in the order in which they are best run.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SELFTESTS.iter().map(Selftest::name).collect()
}

/// The self-tests of these names for [`crate::machine::Options::files`]: programs in `/selftests`, and what they load.
///
/// # Errors
/// When the source can't be had or one of them does not compile.
pub fn build(provisions: &Provisions, names: &[&str]) -> Result<Vec<GuestFile>> {
    let _lock = provisions.cache.lock("selftests")?;
    let source = source(provisions)?;
    phase("compiling the kernel's self-tests", |_| {
        let mut files = Vec::new();
        let mut libraries = BTreeSet::new();
        for name in names {
            let selftest = SELFTESTS.iter().find(|test| test.name() == *name);
            let selftest = selftest.with_context(|| format!("there is no self-test {name}"))?;
            let program = selftest.program(provisions, &source)?;
            if !selftest.more.contains(&"-static") {
                let loaded = run::output(Command::new("ldd").arg(&program))?;
                libraries.extend(libraries_of(&loaded).map(str::to_owned));
            }
            files.push(GuestFile {
                name: format!("{IN_GUEST}/{name}"),
                contents: program,
            });
        }
        files.extend(libraries.into_iter().map(|path| GuestFile {
            name: path.trim_start_matches('/').to_owned(),
            contents: path.into(),
        }));
        Ok(files)
    })
}

/// Paths of the libraries, the loader among them, in what `ldd` prints.
fn libraries_of(told: &str) -> impl Iterator<Item = &str> {
    told.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

/// The files that are [`KEPT`] of the source of the kernel that boots.
fn source(provisions: &Provisions) -> Result<PathBuf> {
    let cache = &provisions.cache;
    let release = &provisions.release;
    let mut settings = vec![release.as_str()];
    settings.extend(KEPT);
    let name = format!("selftests/source-{}", cache::fingerprint(&[], &settings)?);
    cache.entry(&name, |half| {
        let package = package(release).context("the kernel's release has no version")?;
        let scratch = tempfile::tempdir_in(half)?;
        phase("fetching the kernel's source (140 MB)", |_| {
            // The index is one for all that the lab fetches.
            let _lock = cache.lock("provision")?;
            Apt::update(&cache.path("apt"))?.unpack(&[&package], scratch.path())
        })?;
        phase("unpacking the kernel's self-tests", |_| {
            let tarball = scratch.path().join(format!("usr/src/{package}.tar.xz"));
            let mut unpack = Command::new("tar");
            unpack.arg("-xf").arg(&tarball).arg("-C").arg(half);
            unpack.arg("--strip-components=1");
            unpack.args(KEPT.map(|path| format!("{package}/{path}")));
            run::output(&mut unpack)
        })?;
        Ok(scratch.close()?)
    })
}

/// Debian's package with the source of the kernel of this release.
fn package(release: &str) -> Option<String> {
    let mut numbers = release.split('.');
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let minor = minor.split('-').next()?;
    Some(format!("linux-source-{major}.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_of_the_source_is_named_by_the_version() {
        assert_eq!(
            package("6.1.0-57-cloud-amd64").as_deref(),
            Some("linux-source-6.1")
        );
        assert_eq!(
            package("6.12-cloud-amd64").as_deref(),
            Some("linux-source-6.12")
        );
    }

    #[test]
    fn libraries_are_all_paths_that_are_told() {
        let told = "\tlinux-vdso.so.1 (0x7ffc)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f00)\n\t/lib64/ld.so.2 (0x7f)\n";
        let paths: Vec<&str> = libraries_of(told).collect();
        assert_eq!(paths, ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
    }

    #[test]
    fn selftests_have_names_of_their_own() {
        let names: BTreeSet<&str> = names().into_iter().collect();
        assert_eq!(names.len(), SELFTESTS.len());
    }
}
