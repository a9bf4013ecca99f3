//! A Unix socket: there, with somebody who listens, and nobody else who talks.

use super::{Finding, opened};
use crate::transport::Endpoint;
use std::path::Path;

const ADVICE: &str = "start the machine whose port it is";

pub(super) fn examine(endpoint: &Endpoint, path: &Path) -> Vec<Finding> {
    #[cfg(unix)]
    if let Some(finding) = on_unix(path) {
        return vec![finding];
    }
    #[cfg(not(unix))]
    let _ = path;
    vec![opened(endpoint, ADVICE)]
}

/// What can be known without opening it.
#[cfg(unix)]
fn on_unix(path: &Path) -> Option<Finding> {
    use super::change;
    use rustix::fs::{Access, access};
    use std::os::unix::fs::FileTypeExt;
    let at = path.display();
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Some(change(format!(
                "socket {at} is not there; {ADVICE}, or look in its settings where the socket is"
            )));
        }
        Err(why) => return Some(change(format!("socket {at} cannot be looked at: {why}"))),
    };
    if !meta.file_type().is_socket() {
        return Some(change(format!(
            "{at} is no socket; remove it, and {ADVICE}, which makes one there"
        )));
    }
    if access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
        return Some(change(format!(
            "you may not open socket {at}; start the machine as the user that you are, or this program as that one (sudo)"
        )));
    }
    #[cfg(target_os = "linux")]
    return in_use(path);
    #[cfg(not(target_os = "linux"))]
    None
}

/// What the system's list of sockets says: somebody else talks there already, or nobody listens any more.
#[cfg(target_os = "linux")]
fn in_use(path: &Path) -> Option<Finding> {
    use super::{change, holder};
    let list = std::fs::read_to_string("/proc/net/unix").ok()?;
    let whole = std::fs::canonicalize(path).ok()?;
    let names = [path, &whole].map(|path| path.display().to_string());
    let (mut is_heard, mut is_taken) = (None, false);
    for row in list.lines() {
        // Num: RefCount Protocol Flags Type St Inode Path
        let columns: Vec<&str> = row.splitn(8, ' ').collect();
        let [_, _, _, flags, _, state, number, name] = columns[..] else {
            continue;
        };
        if !names.iter().any(|it| it == name.trim_start()) {
            continue;
        }
        match (flags, state) {
            ("00010000", _) => is_heard = Some(number.to_owned()),
            (_, "03") => is_taken = true,
            _ => {}
        }
    }
    let at = path.display();
    let Some(number) = is_heard else {
        return Some(change(format!(
            "nobody listens at socket {at}, which a program left behind; {ADVICE}"
        )));
    };
    if !is_taken {
        return None;
    }
    let server = holder::of_socket(&number);
    let word = path.display().to_string();
    let who = holder::started_with(&word, server.as_ref());
    let who = who.map_or("another program".to_owned(), |who| who.to_string());
    Some(change(format!(
        "{who} is connected to socket {at}, and a port has one other end; close that one"
    )))
}
