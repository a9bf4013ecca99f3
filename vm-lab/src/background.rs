//! A machine that keeps running while the person goes on: `lab boot`, `lab guest`, `lab shutdown`.
//!
//! Called by `main`. A second process of the lab holds the machine and answers on a Unix socket in the cache. One
//! machine per user; its holder ending, in whatever way, ends the machine.

use crate::cache::Cache;
use crate::machine::{Machine, Options};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

fn control_path(cache: &Cache) -> PathBuf {
    cache.path("running")
}

/// Boots `options` and serves requests until told to shut down. Runs in the holding process.
///
/// # Errors
/// When booting fails.
pub fn hold(options: &Options) -> Result<()> {
    let path = control_path(&Cache::open()?);
    let mut machine = Machine::boot(options)?;
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = String::new();
        stream.read_to_string(&mut request)?;
        let answer = match request.split_once(' ') {
            Some(("guest", command)) => machine.guest(command),
            _ if request == "where" => Ok(machine.host_arguments().join(" ")),
            _ if request == "shutdown" => {
                fs::remove_file(&path)?;
                drop(machine);
                stream.write_all(b"0")?;
                return Ok(());
            }
            _ => bail!("unknown request {request:?}"),
        };
        // The asker may have given up; that is no reason to end the machine.
        let _ = match answer {
            Ok(text) => stream.write_all(format!("0{text}").as_bytes()),
            Err(error) => stream.write_all(format!("1{error:#}").as_bytes()),
        };
    }
    Ok(())
}

/// Sends one request to the running machine's holder.
///
/// # Errors
/// When no machine runs, or the request fails.
pub fn ask(request: &str) -> Result<String> {
    let path = control_path(&Cache::open()?);
    let mut stream =
        UnixStream::connect(&path).context("no machine is running; `cargo lab boot` starts one")?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_at_checked(1) {
        Some(("0", text)) => Ok(text.to_owned()),
        Some((_, text)) => bail!("{text}"),
        None => bail!("the machine ended"),
    }
}

/// Starts a holder with the given arguments and waits until its machine is up; shows its progress meanwhile.
///
/// # Errors
/// When a machine already runs, or the new one does not come up.
pub fn start(arguments: &[String]) -> Result<()> {
    if ask("where").is_ok() {
        bail!("a machine is already running; `cargo lab shutdown` ends it");
    }
    let log = Cache::open()?.path("running.log");
    let file = File::create(&log)?;
    let mut holder = Command::new(std::env::current_exe()?)
        .arg("hold")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .process_group(0)
        .spawn()?;
    let mut shown = File::open(&log)?;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let mut more = Vec::new();
        shown.read_to_end(&mut more)?;
        std::io::stderr().write_all(&more)?;
        if let Some(status) = holder.try_wait()? {
            bail!("the machine did not come up ({status})");
        }
        if ask("where").is_ok() {
            return Ok(());
        }
    }
}
