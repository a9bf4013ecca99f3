//! The driver's core as a program: a debuggee for `standstill connect --socket PATH`, or for a recording.
//!
//! ```text
//! standstill-core serve SOCKET            wait for a host, and be its debuggee until it goes
//! standstill-core play FILE               play a recording to the core, and tell the first difference
//! standstill-core trim FILE NEW           cut a recording to what its first difference needs
//! ```

use debugger_host::recording::Recording;
use standstill_tests::core::served::Fault;
use standstill_tests::core::{STACK_BYTES, played, served, trim};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

fn run(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [word, socket] if word == "serve" => {
            let listener = UnixListener::bind(socket).map_err(|why| format!("{socket}: {why}"))?;

            let inputs = served::serve(listener, Fault::default())
                .map_err(|why| format!("{socket}: {why}"))?;
            println!("{} exits and pages taken in", inputs.len());
            Ok(())
        }
        [word, file] if word == "play" => {
            let recording =
                Recording::open(Path::new(file)).map_err(|why| format!("{file}: {why}"))?;
            let played = played::play(&recording, None).map_err(|why| format!("{file}: {why}"))?;
            println!(
                "the core answers as it was recorded: {} requests sent, {} messages compared",
                played.requests, played.compared
            );
            Ok(())
        }
        [word, file, new] if word == "trim" => {
            let recording =
                Recording::open(Path::new(file)).map_err(|why| format!("{file}: {why}"))?;
            let play = |recording: &Recording| played::play(recording, None).err();
            let Some((trimmed, difference)) = trim::trim(&recording, play) else {
                return Err(format!("{file}: the core answers as it was recorded"));
            };
            let (before, after) = (recording.packets.len(), trimmed.packets.len());
            let mut file = std::fs::OpenOptions::new();
            let file = file.write(true).create_new(true).open(new);
            let written = file.and_then(|mut file| file.write_all(&trimmed.to_bytes()));
            written.map_err(|why| format!("{new}: {why}"))?;
            println!("{before} packets cut to {after}: {difference}");
            Ok(())
        }
        _ => Err("serve SOCKET, play FILE, or trim FILE NEW".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let result = match thread
        .spawn(move || run(&arguments))
        .map(|thread| thread.join())
    {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("the core ended".to_owned()),
        Err(why) => Err(why.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("standstill-core: {why}");
            ExitCode::FAILURE
        }
    }
}
