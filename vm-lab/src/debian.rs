//! A clean Debian beside the machine's own, to install packages in: a tree of files that programs run in as if it were all there
//! is.
//!
//! Called by the test of the packages, for which it takes root. The tree is made once, by Debian's own `debootstrap`, which is
//! unpacked and not installed; each run has a copy.

use crate::apt::Apt;
use crate::cache::{self, Cache};
use crate::progress::phase;
use crate::run;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a debuggee has before the driver comes: its kernel's headers, what builds modules, and what makes ramdisks.
const PACKAGES: [&str; 8] = [
    "dkms",
    "gcc",
    "make",
    "kmod",
    "openssl",
    "initramfs-tools",
    "linux-headers-cloud-amd64",
    "linux-image-cloud-amd64",
];

/// What changes by itself, or is meant to stay: logs, caches, and lists of what was installed when.
const MAY_CHANGE: [&str; 8] = [
    "var/log/",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "proc/",
    "sys/",
    "dev/",
    "tmp/",
];

/// A clean Debian; dropping it removes it.
#[derive(Debug)]
pub struct CleanDebian {
    root: PathBuf,
    _place: tempfile::TempDir,
}

impl CleanDebian {
    /// A copy of the tree, which is made if there is none.
    ///
    /// # Errors
    /// When the caller is not root, or it cannot be had.
    pub fn new() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("only root can run programs in another tree");
        }
        let cache = Cache::open()?;
        let lock = cache.lock("debian")?;
        let name = format!(
            "debian-{}",
            cache::fingerprint_bytes(PACKAGES.join(" ").as_bytes())
        );
        let tree = cache.entry(&name, |half| {
            phase("making a clean Debian (once)", |_| {
                make(&cache, &half.join("root"))
            })
        })?;
        let place = tempfile::Builder::new()
            .prefix("standstill-debian-")
            .tempdir_in(cache.path(""))?;
        let root = place.path().join("root");
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]);
        run::output(copy.arg(tree.join("root")).arg(&root)).context("copying a clean Debian")?;
        drop(lock);
        Ok(Self {
            root,
            _place: place,
        })
    }

    /// The release of its kernel.
    ///
    /// # Errors
    /// When it has none.
    pub fn release(&self) -> Result<String> {
        let modules = fs::read_dir(self.root.join("lib/modules"))?;
        let mut names = modules.flatten().map(|entry| entry.file_name());
        let name = names.next().context("no kernel was installed there")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// A place in it, as this machine sees it.
    #[must_use]
    pub fn path(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// Runs a line of shell in it; what it printed.
    ///
    /// # Errors
    /// With the end of its output.
    pub fn shell(&self, line: &str) -> Result<String> {
        run::output(&mut inside(&self.root, line))
    }

    /// Every file, folder and link, with what it holds, but for what may change.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn contents(&self) -> Result<BTreeMap<PathBuf, String>> {
        let mut found = BTreeMap::new();
        list(&self.root, &self.root, &mut found)?;
        Ok(found)
    }
}

fn list(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let place = path.strip_prefix(root)?.to_owned();
        let text = format!("{}/", place.display());
        if MAY_CHANGE.iter().any(|start| text.starts_with(start)) {
            continue;
        }
        let kind = fs::symlink_metadata(&path)?.file_type();
        let holds = if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path)?.display())
        } else if kind.is_dir() {
            list(root, &path, found)?;
            String::new()
        } else if kind.is_file() {
            cache::fingerprint_bytes(&fs::read(&path)?)
        } else {
            "a device".to_owned()
        };
        found.insert(place, holds);
    }
    Ok(())
}

/// A line of shell in the tree at `root`. What is mounted for it nobody else sees, and it is gone when it ends.
fn inside(root: &Path, line: &str) -> Command {
    const ENTER: &str = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" /bin/sh -c \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ENTER]);
    command.arg(root).arg(line);
    command.env_clear();
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("HOME", "/root")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn make(cache: &Cache, root: &Path) -> Result<()> {
    let apt = Apt::update(&cache.path("apt"))?;
    let tool = tempfile::tempdir()?;
    apt.unpack(&["debootstrap"], tool.path())?;
    let mirror = Apt::mirror()?;
    let scripts = tool.path().join("usr/share/debootstrap");
    let mut bootstrap = Command::new(tool.path().join("usr/sbin/debootstrap"));
    bootstrap.env("DEBOOTSTRAP_DIR", &scripts);
    bootstrap.arg("--variant=minbase");
    if !mirror.signed_by.is_empty() {
        bootstrap.arg(format!("--keyring={}", mirror.signed_by));
    }
    bootstrap.arg(&mirror.suite).arg(root).arg(&mirror.uri);
    run::output(&mut bootstrap).context("debootstrap")?;
    fs::write(root.join("etc/apt/sources.list"), Apt::release()?)?;
    // Names are looked up as here, and no service is started there.
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
    fs::write(root.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")?;
    let install = format!(
        "chmod +x /usr/sbin/policy-rc.d && apt-get update -q && apt-get upgrade -q --yes && \
         apt-get install -q --yes --no-install-recommends {} && apt-get clean",
        PACKAGES.join(" ")
    );
    run::output(&mut inside(root, &install)).context("installing what a debuggee has")?;
    Ok(())
}
