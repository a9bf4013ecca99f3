//! `lab config`: what to set in a virtual machine of one's own so that it can be a debuggee, and the two commands that connect.
//!
//! Called by `main`. Text from tables, and nothing is changed: whose machine it is, knows best how it is kept. The words in
//! braces are the user's; `docs/setting-up.md` has the same lines, and a test compares them.

use clap::ValueEnum;
use std::fmt::Write;

/// Whose virtual machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hypervisor {
    /// VMware Workstation, Player, Fusion or ESXi
    Vmware,
    /// Hyper-V
    HyperV,
    /// QEMU with KVM, started by hand
    Qemu,
    /// Oracle VirtualBox
    Virtualbox,
    /// QEMU with KVM, kept by libvirt
    Libvirt,
}

/// The system that the hypervisor and the host program run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostSystem {
    /// The port is a Unix socket
    Linux,
    /// The port is a named pipe
    Windows,
}

/// What the user says of the machine.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The system under it; what that hypervisor usually runs on if it is not said.
    pub host: Option<HostSystem>,
    /// Socket or pipe of the port; named after the machine if it is not said.
    pub line: Option<String>,
}

/// A thing to do, and what exactly.
#[derive(Clone, Copy, Debug)]
struct Step {
    say: &'static str,
    lines: &'static [&'static str],
}

/// What there is to say of a hypervisor.
#[derive(Debug)]
struct Guide {
    title: &'static str,
    /// The systems it runs on, the usual one first.
    hosts: &'static [HostSystem],
    nested: Step,
    port: Step,
    /// A second network card, for a line over the network.
    card: Step,
    more: &'static [&'static str],
}

const CARD: &str = "or, to reach the debuggee over the network (docs/network.md), a card for the debugger alone, which nic= names if there are more:";

const VMWARE: Guide = Guide {
    title: "VMware",
    hosts: &[HostSystem::Linux, HostSystem::Windows],
    nested: Step {
        say: "Nested VT-x (\"Virtualize Intel VT-x/EPT\"), in {name}.vmx while the machine is off:",
        lines: &["vhv.enable = \"TRUE\""],
    },
    port: Step {
        say: "The second serial port on {line}, in the same file:",
        lines: &[
            "serial1.present = \"TRUE\"",
            "serial1.fileType = \"pipe\"",
            "serial1.fileName = \"{line}\"",
            "serial1.pipe.endPoint = \"server\"",
            "serial1.startConnected = \"TRUE\"",
            "serial1.tryNoRxLoss = \"TRUE\"",
        ],
    },
    card: Step {
        say: CARD,
        lines: &[
            "ethernet1.present = \"TRUE\"",
            "ethernet1.virtualDev = \"e1000\"",
            "ethernet1.connectionType = \"nat\"",
        ],
    },
    more: &[
        "A line that the file has already is replaced, not added again. If the first serial port is not there, the",
        "second one still is com2.",
        "On Windows, nested VT-x needs VMware to have the processor for itself: without Hyper-V and what is built on it",
        "(WSL 2, memory integrity).",
    ],
};

const HYPER_V: Guide = Guide {
    title: "Hyper-V",
    hosts: &[HostSystem::Windows],
    nested: Step {
        say: "Nested VT-x, in an administrator's PowerShell while the machine is off; Secure Boot off, or the driver signed:",
        lines: &[
            "Set-VMProcessor -VMName {name} -ExposeVirtualizationExtensions $true",
            "Set-VMMemory -VMName {name} -DynamicMemoryEnabled $false",
            "Set-VMFirmware -VMName {name} -EnableSecureBoot Off",
        ],
    },
    port: Step {
        say: "The second serial port on {line}:",
        lines: &["Set-VMComPort -VMName {name} -Number 2 -Path {line}"],
    },
    card: Step {
        say: "There is no network card in such a machine that the driver knows: the line is the port.",
        lines: &[],
    },
    more: &[
        "A machine of generation 1 has no Set-VMFirmware, and no Secure Boot. The host program opens the pipe as an",
        "administrator or as a member of \"Hyper-V Administrators\".",
    ],
};

const QEMU: Guide = Guide {
    title: "QEMU with KVM",
    hosts: &[HostSystem::Linux],
    nested: Step {
        say: "Nested VT-x: the first line says Y, or the second one and a new start of the host make it so; then, for the machine:",
        lines: &[
            "cat /sys/module/kvm_intel/parameters/nested",
            "echo 'options kvm_intel nested=1' | sudo tee /etc/modprobe.d/kvm-nested.conf",
            "-accel kvm -cpu host,+vmx",
        ],
    },
    port: Step {
        say: "The second serial port on {line}; the first one stays the console:",
        lines: &["-serial stdio -serial unix:{line},server=on,wait=off"],
    },
    card: Step {
        say: CARD,
        lines: &["-netdev user,id=debugger -device e1000,netdev=debugger"],
    },
    more: &[
        "Ports count as they are written: what comes second is com2. The debuggee must be a PC (-machine q35 or pc).",
    ],
};

const VIRTUALBOX: Guide = Guide {
    title: "VirtualBox",
    hosts: &[HostSystem::Linux, HostSystem::Windows],
    nested: Step {
        say: "Nested VT-x, while the machine is off:",
        lines: &["VBoxManage modifyvm {name} --nested-hw-virt on --nested-paging on"],
    },
    port: Step {
        say: "The second serial port on {line}:",
        lines: &[
            "VBoxManage modifyvm {name} --uart2 0x2F8 3 --uart-type2 16550A --uart-mode2 server {line}",
        ],
    },
    card: Step {
        say: CARD,
        lines: &["VBoxManage modifyvm {name} --nic2 nat --nic-type2 82540EM"],
    },
    more: &[
        "VirtualBox before 7.0 writes --uarttype2, --uartmode2, --nestedpaging and --nictype2. Where Windows runs Hyper-V,",
        "VirtualBox has no nested VT-x to give.",
    ],
};

const LIBVIRT: Guide = Guide {
    title: "libvirt",
    hosts: &[HostSystem::Linux],
    nested: Step {
        say: "Nested VT-x: the host as for `cargo lab config qemu`, and with `virsh edit {name}`, in place of the element cpu:",
        lines: &[
            "<cpu mode='host-passthrough' check='none'>",
            "  <feature policy='require' name='vmx'/>",
            "</cpu>",
        ],
    },
    port: Step {
        say: "The second serial port on {line}, in the element devices behind the serial port that is there:",
        lines: &[
            "<serial type='unix'>",
            "  <source mode='bind' path='{line}'/>",
            "  <target type='isa-serial' port='1'/>",
            "</serial>",
        ],
    },
    card: Step {
        say: CARD,
        lines: &[
            "<interface type='network'>",
            "  <source network='default'/>",
            "  <model type='e1000'/>",
            "</interface>",
        ],
    },
    more: &[
        "The first serial port has port='0' and is com1. The socket is libvirt's: the host program opens it as root, or in a",
        "session of one's own (qemu:///session).",
    ],
};

impl Hypervisor {
    const fn guide(self) -> &'static Guide {
        match self {
            Self::Vmware => &VMWARE,
            Self::HyperV => &HYPER_V,
            Self::Qemu => &QEMU,
            Self::Virtualbox => &VIRTUALBOX,
            Self::Libvirt => &LIBVIRT,
        }
    }
}

/// A name without these needs no quotes in any shell.
fn is_plain(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    text.chars().all(is_plain)
}

/// The words in braces, in the user's place.
struct Words<'s> {
    name: &'s str,
    line: &'s str,
}

impl Words<'_> {
    fn put(&self, text: &str) -> String {
        text.replace("{name}", self.name)
            .replace("{line}", self.line)
    }

    /// The same, in a line that a shell reads.
    fn quoted(&self, text: &str) -> String {
        match is_plain(self.name) {
            true => self.put(text),
            false => {
                let name = format!("\"{}\"", self.name);
                Words {
                    name: &name,
                    ..*self
                }
                .put(text)
            }
        }
    }

    fn step(&self, out: &mut String, number: u32, step: &Step) {
        let _ = writeln!(out, "\n{number}. {}\n", self.put(step.say));
        self.lines(out, step.lines);
    }

    fn lines(&self, out: &mut String, lines: &[&str]) {
        for line in lines {
            let _ = writeln!(out, "       {}", self.quoted(line));
        }
    }
}

/// Loads the driver on the debuggee; the port is the second one everywhere.
const LOAD: &str = "sudo modprobe standstill com=2 baud=115200";
/// The same for a line over the network, with the file of a key that both ends have.
const LOAD_NET: &str = "sudo modprobe standstill net=ADDRESS:50000 key=@/root/debuggee.key";

/// All that is to be set, and how to connect.
///
/// # Errors
/// In a line, when that hypervisor does not run on the system that was named.
pub fn text(hypervisor: Hypervisor, subject: &Subject) -> Result<String, String> {
    let guide = hypervisor.guide();
    let usual = guide.hosts.first().copied().unwrap_or(HostSystem::Linux);
    let host = subject.host.unwrap_or(usual);
    if !guide.hosts.contains(&host) {
        return Err(format!("{} does not run on {host:?}", guide.title));
    }
    let name = &subject.name;
    if name.is_empty()
        || name.contains(['"', '$', '`', '/', '\\'])
        || name.contains(char::is_control)
    {
        return Err(format!(
            "{name:?} is no name of a machine: letters, digits, blanks and signs but quotes, slashes and $"
        ));
    }
    let plain = name.replace(|letter: char| !is_plain(&letter.to_string()), "-");
    let (line, option, program) = match host {
        HostSystem::Linux => (format!("/tmp/standstill-{plain}"), "socket", "standstill"),
        HostSystem::Windows => (
            format!(r"\\.\pipe\standstill-{plain}"),
            "pipe",
            "standstill.exe",
        ),
    };
    let line = subject.line.clone().unwrap_or(line);
    let words = Words { name, line: &line };
    let mut out = format!(
        "{}, for the machine `{name}`, with the host program on {host:?}\n",
        guide.title
    );
    words.step(&mut out, 1, &guide.nested);
    words.step(&mut out, 2, &guide.port);
    let _ = writeln!(out, "\n   {}", words.put(guide.card.say));
    if !guide.card.lines.is_empty() {
        out.push('\n');
        words.lines(&mut out, guide.card.lines);
    }
    let _ = writeln!(
        out,
        "\n3. On the debuggee, which `sudo standstill-doctor` looks at first:\n\n       {LOAD}"
    );
    let _ = writeln!(
        out,
        "\n4. On the host, which `{program} doctor --{option} {line}` looks at first:\n\n       \
         {program} connect --{option} {line}\n"
    );
    if !guide.card.lines.is_empty() {
        let _ = writeln!(
            out,
            "   Over the network it is, with this host's address, and a key that `{program} key new debuggee.key` makes for both:\n\n       \
             {LOAD_NET}\n       {program} connect --net 50000 --key-file debuggee.key\n"
        );
    }
    for line in guide.more {
        let _ = writeln!(out, "{}", words.put(line));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(host: Option<HostSystem>) -> Subject {
        Subject {
            name: "vm-1".to_owned(),
            host,
            line: None,
        }
    }

    fn said(hypervisor: Hypervisor) -> String {
        text(hypervisor, &subject(None)).unwrap()
    }

    #[test]
    fn each_names_nested_vtx_the_port_and_both_commands() {
        for hypervisor in Hypervisor::value_variants() {
            let text = said(*hypervisor);
            assert!(text.contains("Nested VT-x"), "{text}");
            assert!(text.contains("The second serial port on "), "{text}");
            assert!(text.contains(LOAD), "{text}");
            let connects = [
                "connect --socket /tmp/standstill-vm-1",
                r"connect --pipe \\.\pipe\standstill-vm-1",
            ];
            assert_eq!(
                connects.iter().filter(|it| text.contains(*it)).count(),
                1,
                "{text}"
            );
            assert!(text.contains("doctor"), "{text}");
            let has_card = !hypervisor.guide().card.lines.is_empty();
            assert_eq!(text.contains(LOAD_NET), has_card, "{text}");
            assert_eq!(text.contains(" connect --net 50000 "), has_card, "{text}");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn settings_have_the_machines_own_words() {
        let qemu = said(Hypervisor::Qemu);
        assert!(qemu.contains(" -serial unix:/tmp/standstill-vm-1,server=on,wait=off\n"));
        let windows = Subject {
            line: Some(r"\\.\pipe\mine".to_owned()),
            ..subject(Some(HostSystem::Windows))
        };
        let vmware = text(Hypervisor::Vmware, &windows).unwrap();
        assert!(vmware.contains("serial1.fileName = \"\\\\.\\pipe\\mine\"\n"));
        assert!(vmware.contains(r"standstill.exe connect --pipe \\.\pipe\mine"));
        let hyper_v = said(Hypervisor::HyperV);
        assert!(hyper_v.contains(r"-VMName vm-1 -Number 2 -Path \\.\pipe\standstill-vm-1"));
    }

    #[test]
    fn names_with_blanks_are_quoted_and_names_that_no_shell_bears_are_refused() {
        let named = |hypervisor, name: &str| {
            let subject = Subject {
                name: name.to_owned(),
                ..subject(None)
            };
            text(hypervisor, &subject)
        };
        let text = named(Hypervisor::Virtualbox, "Debian 12").unwrap();
        assert!(text.contains("modifyvm \"Debian 12\" --uart2 0x2F8 3 "));
        assert!(text.contains(" connect --socket /tmp/standstill-Debian-12\n"));
        let text = named(Hypervisor::Vmware, "Debian 12").unwrap();
        assert!(text.contains(" in Debian 12.vmx while "), "{text}");
        for name in ["", "a\"b", "$HOME", "a/b", "a\nb"] {
            let why = named(Hypervisor::HyperV, name).unwrap_err();
            assert!(why.contains("is no name of a machine"), "{why}");
        }
    }

    #[test]
    fn hypervisor_that_does_not_run_there_is_refused() {
        let linux = subject(Some(HostSystem::Linux));
        let why = text(Hypervisor::HyperV, &linux).unwrap_err();
        assert_eq!(why, "Hyper-V does not run on Linux");
    }

    /// The part of the document under a heading.
    fn section<'d>(document: &'d str, title: &str) -> &'d str {
        let heading = format!("\n## {title}\n");
        let from = document
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no section {title}"))
            .1;
        from.split("\n## ").next().unwrap_or_default()
    }

    #[test]
    fn document_has_the_same_lines_in_ten_checked_steps_at_most() {
        let path = crate::repository().join("docs/setting-up.md");
        let document = std::fs::read_to_string(path).unwrap();
        for hypervisor in Hypervisor::value_variants() {
            let guide = hypervisor.guide();
            if *hypervisor == Hypervisor::Libvirt {
                continue;
            }
            let section = section(&document, guide.title);
            let words = Words {
                name: "debuggee",
                line: "",
            };
            for line in guide.nested.lines.iter().chain(guide.port.lines) {
                // Socket or pipe is what the reader's system has.
                let mut parts = line.split("{line}").map(|part| words.put(part));
                assert!(
                    parts.all(|part| section.contains(&part)),
                    "{}: {line}",
                    guide.title
                );
            }
            let is_step = |line: &&str| {
                line.split_once(". ")
                    .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
            };
            let steps = section.lines().filter(is_step).count();
            assert!((3..=10).contains(&steps), "{}: {steps} steps", guide.title);
            let checks = section
                .lines()
                .filter(|line| line.trim_start().starts_with("Check: "))
                .count();
            assert_eq!(checks, steps, "{}: each step has its check", guide.title);
        }
    }
}
