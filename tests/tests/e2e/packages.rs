//! What users install: the driver's package takes gcc and headers and no Rust, and all packages come and go in a clean Debian.
//!
//! The first is tried by every run; `cargo lab soak packages` tries all.

use crate::lab::Lab;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use vm_lab::debian::CleanDebian;
use vm_lab::machine::Options;
use vm_lab::{GuestFile, driver, package, provision, run};

/// What a debuggee has on its search path.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The driver that the package's sources make for the lab's kernel.
#[track_caller]
fn built(package: &Path, into: &Path) -> PathBuf {
    let provisions = provision::provision().unwrap();
    run::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(into)).unwrap();
    let sources = std::fs::read_dir(into.join("usr/src")).unwrap();
    let source = sources.flatten().next().expect("its sources").path();
    let mut make = Command::new("make");
    make.arg(format!("KDIR={}", provisions.headers().display()));
    make.current_dir(&source).env_clear();
    make.env("PATH", PATH);
    make.env("LD_LIBRARY_PATH", provisions.library_path());
    run::output(&mut make).unwrap();
    source.join("standstill.ko")
}

/// The code in a module, but for the line that names the file.
#[track_caller]
fn code(module: &Path) -> String {
    let mut dump = Command::new("objdump");
    let text = run::output(dump.args(["-d", "-r"]).arg(module)).unwrap();
    let (_, code) = text.split_once("file format").expect("a module");
    code.to_owned()
}

#[test]
fn package_of_the_driver_is_built_without_rust() {
    let started = Instant::now();
    let package = package::driver_deb().unwrap();
    let place = tempfile::tempdir().unwrap();
    let module = built(&package, place.path());
    let took = started.elapsed().as_secs_f32();
    eprintln!("packed and built in {took:.1} s");
    // What machines of the lab load is the same.
    let own = driver::build(&provision::provision().unwrap(), None).unwrap();
    let packed = code(&module);
    assert!(packed.contains("<standstill_build>:"));
    assert!(packed == code(&own), "another code");
}

/// What is there now and was not, or is otherwise.
fn differences(
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) -> Vec<String> {
    let came = after
        .iter()
        .filter(|(place, holds)| before.get(*place) != Some(holds));
    let went = before.keys().filter(|place| !after.contains_key(*place));
    let came = came.map(|(place, _)| format!("+ {}", place.display()));
    came.chain(went.map(|place| format!("- {}", place.display())))
        .collect()
}

#[test]
#[ignore = "minutes, and it takes root; part of `cargo lab soak packages`"]
fn packages_come_and_go_in_a_clean_debian() {
    let packages = package::deb().unwrap();
    let debian = CleanDebian::new().unwrap();
    let release = debian.release().unwrap();
    let before = debian.contents().unwrap();
    let in_ramdisk = format!("lsinitramfs /boot/initrd.img-{release} | sort");
    let ramdisk = debian.shell(&in_ramdisk).unwrap();
    let mut names = Vec::new();
    for package in &packages {
        let name = package.file_name().unwrap().to_string_lossy().into_owned();
        std::fs::copy(package, debian.path("tmp").join(&name)).unwrap();
        names.push(format!("/tmp/{name}"));
    }
    let started = Instant::now();
    let said = debian
        .shell(&format!("dpkg --install {} 2>&1", names.join(" ")))
        .unwrap();
    eprintln!("{said}");
    // The kernel that runs here is none of that Debian's.
    let status = debian.shell("dkms status standstill").unwrap();
    if !status.contains("installed") {
        let build = format!(
            "dkms install standstill/{} -k {release} 2>&1",
            env!("CARGO_PKG_VERSION")
        );
        eprintln!("{}", debian.shell(&build).unwrap());
    }
    eprintln!(
        "installed and built in {:.0} s",
        started.elapsed().as_secs_f32()
    );
    eprintln!("{}", debian.shell("dkms status").unwrap());
    works(&debian, &release);
    loads(&debian, &release);
    let removed = debian
        .shell("dpkg --purge standstill-dkms standstill 2>&1")
        .unwrap();
    eprintln!("{removed}");
    let mut left = differences(&before, &debian.contents().unwrap());
    // Made anew, and of the same files.
    left.retain(|place| *place != format!("+ boot/initrd.img-{release}"));
    assert_eq!(debian.shell(&in_ramdisk).unwrap(), ramdisk);
    // DKMS makes a key of its own when it builds for the first time, whatever that is.
    left.retain(|place| !place.starts_with("+ var/lib/dkms/mok."));
    assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
}

/// What DKMS built there is a driver for machines of the lab, whose kernel is the same.
#[track_caller]
fn loads(debian: &CleanDebian, release: &str) {
    assert_eq!(provision::provision().unwrap().release, release);
    let file = format!("lib/modules/{release}/updates/dkms/standstill.ko");
    let mut lab = Lab::with(&Options {
        load_driver: false,
        files: vec![GuestFile {
            name: "built.ko".to_owned(),
            contents: debian.path(&file),
        }],
        ..Options::default()
    });
    lab.guest("STANDSTILL_MODULE=/built.ko standstill-doctor com=2");
    lab.guest("insmod /built.ko com=2");
    lab.connect();
    lab.run("pause");
    lab.go();
    lab.kill_host();
    lab.unload_driver();
}

/// The driver is where modprobe finds it, for that kernel; it can be signed; the ramdisk has it; and the program says what it is.
#[track_caller]
fn works(debian: &CleanDebian, release: &str) {
    let found = debian
        .shell(&format!("modinfo -k {release} -F vermagic standstill"))
        .unwrap();
    assert!(found.starts_with(release), "{found}");
    let module = debian
        .shell(&format!("modinfo -k {release} -n standstill"))
        .unwrap();
    let module = module.trim_end();
    // A key that is not DKMS's own, so that nothing is left of it; the driver is signed as it would be.
    let sign = format!(
        "cp {module} /tmp/signed.ko && STANDSTILL_KEYS=/tmp/keys STANDSTILL_HEADERS=/lib/modules/{release}/build \
         standstill-sign --no-import /tmp/signed.ko && modinfo -F signer /tmp/signed.ko"
    );
    let said = debian.shell(&sign).unwrap();
    eprintln!("{said}");
    assert!(
        said.contains("signed /tmp/signed.ko") && said.trim_end().ends_with(" modules"),
        "{said}"
    );
    let ramdisk = format!(
        "update-initramfs -c -k {release} -b /tmp && lsinitramfs /tmp/initrd.img-{release} | grep standstill"
    );
    let said = debian.shell(&ramdisk).unwrap();
    eprintln!("{said}");
    assert!(
        said.contains("/standstill.ko") && said.contains("scripts/init-top/standstill"),
        "{said}"
    );
    let said = debian
        .shell("standstill --version; standstill doctor || true")
        .unwrap();
    assert!(said.starts_with("standstill "), "{said}");
    let papers = debian
        .shell("ls /usr/share/man/man1/standstill*.1 /usr/share/bash-completion/completions/standstill")
        .unwrap();
    assert!(papers.contains("standstill-connect.1"), "{papers}");
    let said = debian
        .shell("standstill-doctor com=2; echo exit $?")
        .unwrap();
    eprintln!("{said}");
    assert!(said.ends_with("exit 1\n"), "{said}");
}
