//! A serial device: there, no other program's, and one that the user may open.

use super::{Finding, change, opened};
use crate::transport::Endpoint;

/// The serial ports of this machine, as far as the system tells.
pub(super) fn names() -> Vec<String> {
    let found = serialport::available_ports().unwrap_or_default();
    let mut names: Vec<String> = found.into_iter().map(|port| port.port_name).collect();
    names.sort();
    names
}

/// Which ports there are instead.
fn others() -> String {
    match names() {
        names if names.is_empty() => "no serial port is here; plug the adapter in".to_owned(),
        names => format!("plug the adapter in, or choose one of {}", names.join(", ")),
    }
}

pub(super) fn examine(endpoint: &Endpoint, device: &str) -> Vec<Finding> {
    #[cfg(unix)]
    if let Some(finding) = on_unix(device) {
        return vec![finding];
    }
    #[cfg(windows)]
    if !names().iter().any(|name| name.eq_ignore_ascii_case(device)) {
        return vec![change(format!("{device} is not there; {}", others()))];
    }
    vec![opened(
        endpoint,
        "look whether another program has it, and whether it can be as fast",
    )]
}

/// What can be known without opening it.
#[cfg(unix)]
fn on_unix(device: &str) -> Option<Finding> {
    use rustix::fs::{Access, access};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = match std::fs::metadata(device) {
        Ok(meta) => meta,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Some(change(format!("{device} is not there; {}", others())));
        }
        Err(why) => return Some(change(format!("{device} cannot be looked at: {why}"))),
    };
    if !meta.file_type().is_char_device() {
        return Some(change(format!(
            "{device} is no serial device; {}",
            others()
        )));
    }
    if access(device, Access::READ_OK | Access::WRITE_OK).is_err() {
        let group = group(meta.gid());
        return Some(change(format!(
            "you may not open {device}, as members of the group {group} may; \
             `sudo usermod -aG {group} $USER` and a new login make you one"
        )));
    }
    #[cfg(target_os = "linux")]
    {
        if is_console(device) {
            return Some(change(format!(
                "{device} is the console of this machine, which writes there at any time; choose another port, or leave it \
                 out of the kernel's console= parameters"
            )));
        }
        if let Some(holder) = super::holder::of_file(device.as_ref()) {
            return Some(change(format!(
                "{holder} has {device} open, and two would take each other's bytes; close that one"
            )));
        }
    }
    None
}

/// Name of a group, or its number.
#[cfg(unix)]
fn group(number: u32) -> String {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let text = number.to_string();
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == text).then(|| name.to_owned())
    };
    groups.lines().find_map(of_line).unwrap_or(text)
}

/// Whether the kernel prints there.
#[cfg(target_os = "linux")]
fn is_console(device: &str) -> bool {
    let Ok(path) = std::fs::canonicalize(device) else {
        return false;
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let consoles = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
    let mut names = consoles.lines().filter_map(|line| line.split(' ').next());
    names.any(|console| console == name)
}
