//! A machine of QEMU's, for network cards that the lab's emulator lacks: the lab's kernel with a ramdisk, a card behind QEMU's own
//! router, and a console. No VT-x: what drives the card there is the lab's module, with the driver's own code.
//!
//! Called by the tests of cards. QEMU and the kernel's drivers of cards are fetched when they are wanted, not before (50 MB),
//! and unpacked into the cache; nothing is installed.

use crate::apt::Apt;
use crate::cache;
use crate::console::{Answer, Console};
use crate::kept::Kept;
use crate::progress::phase;
use crate::provision::{Provisions, provision};
use crate::{driver, image};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PACKAGES: [&str; 3] = ["qemu-system-x86", "seabios", "ipxe-qemu"];
const PROGRAM: &str = "usr/bin/qemu-system-x86_64";

/// The kernel's own drivers of cards, each behind what it needs.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3/vmxnet3",
];

const KERNEL_LINE: &str = "console=ttyS0,115200 mitigations=off quiet panic=-1 cryptomgr.notests \
     no_timer_check";
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// This machine's address, as a machine behind the router names it.
pub const HOST: &str = "10.0.2.2";

/// What machine is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Options<'o> {
    /// The card, as QEMU names it, with its properties.
    pub device: &'o str,
    /// Cards besides, which lead nowhere.
    pub others: &'o [&'o str],
    /// Between the card and memory is an IOMMU, which the kernel uses.
    pub has_iommu: bool,
}

/// A running machine; dropping it ends it.
#[derive(Debug)]
pub struct Qemu {
    console: Console,
    _process: Kept,
    _dir: tempfile::TempDir,
}

impl Qemu {
    /// Fetches and builds what is missing, and boots.
    ///
    /// # Errors
    /// When any of that fails, with the reason the failing part gave.
    pub fn boot(options: &Options<'_>) -> Result<Self> {
        let provisions = provision()?;
        let tree = packages(&provisions)?;
        let ramdisk = ramdisk(&provisions, &tree)?;
        let dir = tempfile::Builder::new()
            .prefix("standstill-qemu-")
            .tempdir()?;
        let disk = dir.path().join("ramdisk");
        fs::write(&disk, ramdisk)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut command = Kept::command(&tree.join(PROGRAM));
        command.env("LD_LIBRARY_PATH", library_path(&tree));
        let (machine, line) = match options.has_iommu {
            true => (
                "q35,kernel-irqchip=split",
                format!("{KERNEL_LINE} intel_iommu=on intremap=off"),
            ),
            false => ("q35", KERNEL_LINE.to_owned()),
        };
        command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
        command.args(["-display", "none", "-machine", machine, "-accel", "tcg"]);
        command.args(["-cpu", "max", "-smp", "2", "-m", "512"]);
        for share in ["qemu", "seabios"] {
            command.arg("-L").arg(tree.join("usr/share").join(share));
        }
        command.arg("-kernel").arg(provisions.kernel_image());
        command.arg("-initrd").arg(&disk).args(["-append", &line]);
        command.arg("-chardev");
        command.arg(format!("socket,id=console,host=127.0.0.1,port={port}"));
        command.args(["-serial", "chardev:console"]);
        if options.has_iommu {
            command.args(["-device", "intel-iommu"]);
        }
        command.args(["-netdev", "user,id=net", "-device"]);
        command.arg(format!("{},netdev=net,romfile=", options.device));
        for other in options.others {
            command.args(["-device", &format!("{other},romfile=")]);
        }
        let process = Kept::start(command, &dir.path().join("qemu.out"))?;
        let mut console = Console::new(process.accept(&listener)?)?;
        console
            .wait_ready(BOOT_TIMEOUT)
            .with_context(|| format!("booting QEMU:\n{}", process.words()))?;
        Ok(Self {
            console,
            _process: process,
            _dir: dir,
        })
    }

    /// Runs a command in it, which has to succeed; what it printed.
    ///
    /// # Errors
    /// When it fails, or does not end.
    pub fn run(&mut self, command: &str) -> Result<String> {
        let Answer { output, status } = self.console.run(command, COMMAND_TIMEOUT)?;
        if status != 0 {
            bail!("`{command}` failed ({status}):\n{output}");
        }
        Ok(output)
    }

    /// Loads the kernel's own drivers of network cards.
    ///
    /// # Errors
    /// When one cannot be loaded.
    pub fn load_drivers(&mut self) -> Result<()> {
        for module in MODULES {
            let name = Path::new(module).file_name().context("it has a name")?;
            self.run(&format!("insmod /{}.ko", name.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// The unpacked QEMU, and modules of the lab's kernel.
fn packages(provisions: &Provisions) -> Result<PathBuf> {
    let cache = &provisions.cache;
    let kernel = format!("linux-image-{}", provisions.release);
    let wanted = format!("{} {kernel} {}", PACKAGES.join(" "), MODULES.join(" "));
    let name = format!("qemu-{}", cache::fingerprint_bytes(wanted.as_bytes()));
    let place = cache.path(&name);
    if place.exists() {
        return Ok(place);
    }
    let _lock = cache.lock("provision")?;
    phase("fetching QEMU", |_| {
        cache.entry(&name, |half| {
            let apt = Apt::update(&cache.path("apt"))?;
            apt.unpack_with_libraries(&PACKAGES, half)?;
            let whole = tempfile::tempdir_in(cache.path(""))?;
            apt.unpack(&[&kernel], whole.path())?;
            let modules = whole.path().join("lib/modules").join(&provisions.release);
            let kept = half.join("modules");
            fs::create_dir(&kept)?;
            for module in MODULES {
                let from = modules.join("kernel").join(format!("{module}.ko"));
                let name = from.file_name().context("a module has a name")?;
                fs::copy(&from, kept.join(name))
                    .with_context(|| format!("the kernel has no {module}.ko"))?;
            }
            Ok(())
        })
    })
}

/// The lab's module that drives cards, and the kernel's drivers.
fn ramdisk(provisions: &Provisions, tree: &Path) -> Result<Vec<u8>> {
    let mut modules = vec![driver::build_cards(provisions)?];
    modules.extend(MODULES.map(|module| {
        let name = Path::new(module).file_name().unwrap_or_default();
        tree.join("modules").join(name).with_extension("ko")
    }));
    image::ramdisk_with(provisions, &modules)
}

fn library_path(tree: &Path) -> String {
    let tree = tree.display();
    format!("{tree}/usr/lib/x86_64-linux-gnu:{tree}/lib/x86_64-linux-gnu")
}
