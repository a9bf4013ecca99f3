//! The driver's core as a program: a debuggee for `standstill connect --socket PATH`, or for a recording.
//!
//! ```text
//! standstill-core serve SOCKET            wait for a host, and be its debuggee until it goes
//! standstill-core serve --net HOST:PORT --key KEY    call a host on the network with that key, or @ and a file, and be its
//!                                                    debuggee, until it is killed
//! standstill-core play FILE               play a recording to the core, and tell the first difference
//! ```

use debugger_host::recording::Recording;
use debugger_host::recording::trim::Report;
use debugger_host::transport::NetKey;
use standstill_tests::core::served::Orders;
use standstill_tests::core::{STACK_BYTES, played, served};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn run(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [word, socket] if word == "serve" => {
            let listener = UnixListener::bind(socket).map_err(|why| format!("{socket}: {why}"))?;

            let inputs = served::serve(listener, Orders::default())
                .map_err(|why| format!("{socket}: {why}"))?;
            println!("{} exits and pages taken in", inputs.len());
            Ok(())
        }
        [word, net, host, option, key]
            if word == "serve" && net == "--net" && option == "--key" =>
        {
            let key = NetKey::given(key).map_err(|why| why.to_string())?;
            served::serve_net(host, &key, Arc::default())
                .map_err(|why| format!("{host}: {why}"))?;
            Ok(())
        }
        [word, file] if word == "play" => {
            let recording =
                Recording::open(Path::new(file)).map_err(|why| format!("{file}: {why}"))?;
            let played = played::play(&recording, None).map_err(|why| {
                // For `standstill trim`.
                let report = Report {
                    packet: why.packet,
                    difference: format!("{}{}", why.under_way(), why.how),
                };
                println!("{}", report.to_line());
                format!("{file}: {why}")
            })?;
            println!(
                "the core answers as it was recorded: {} requests sent, {} messages compared",
                played.requests, played.compared
            );
            Ok(())
        }
        _ => Err("serve SOCKET, serve --net HOST:PORT --key KEY, or play FILE".to_owned()),
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
